"""The door: every stage passes through `Workspace.step`, and nothing is asked, read or written except inside one.

    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN, config=config) as step:
        student = step.earlier("weights") or sft.train(config, dataset, base, step)

Opening re-hashes the inputs, unions the labels upstream of them, asks the terms whether each *asked* source may be
asked for its use and whether the labels may go where this step's effect takes them, and refuses before anything is
spent. Closing appends one signed statement and only then do the artifacts appear. Folder layout (`work/` by default):

    format   ledger/   store/   terms/   cache/   calls/   steps/<fingerprint>/{lock, checkpoints}   report.json, .html
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trueseed.core.artifacts import Artifact, Kind, Store, check
from trueseed.core.canonical import digest, now
from trueseed.core.code import code_digest
from trueseed.core.durable import state_folder, write_atomic
from trueseed.core.journal import Journal
from trueseed.core.records import Origin, OriginKind
from trueseed.errors import Broken, ConfigError, Paused, Refused
from trueseed.ledger.calls import Batch
from trueseed.ledger.entered import Entered, Tally
from trueseed.ledger.lineage import Lineage, Made, labels_of
from trueseed.ledger.log import Ledger
from trueseed.ledger.permitted import relied_on
from trueseed.ledger.reading import Reading
from trueseed.ledger.statement import DECLARATION, SEAL, STEP, subject
from trueseed.ledger.steps import WORDS
from trueseed.ledger.withdrawals import Asking, Passing, Recalls, taken_out
from trueseed.retained import Retained
from trueseed.similarity.held_out import HeldOut, learned_from
from trueseed.terms.admission import NOTHING, Admission, Question, admit, measured
from trueseed.terms.catalog import Catalog, keep
from trueseed.terms.model import Effect, Facts, Label, Obligation, Relation, Use
from trueseed.terms.rules import RELATION_OF_USE, RULES_VERSION, Verdict, judge_earlier, may_flow

FORMAT = 1
KEPT = "ledger/terms"  # the documents that labels name by digest, as they were when the door relied on them
SHOWN = 3  # records that a refusal names
FLAGS = ("identity_filter", "redacted")  # what was taken out of a dataset is said of all that comes of it

Progress = Callable[[str, int, int, str, str], None]  # step, done, total, unit, note


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a step says of itself before it may begin."""

    name: str
    inputs: tuple[Artifact, ...]
    against: tuple[Artifact, ...]  # only decide what is kept: their labels arrive as filters
    effect: Effect
    ask: Mapping[str, Use]
    brings: Mapping[str, Relation]  # sources that enter here from outside: prompts, base weights
    carries: tuple[Label, ...]  # what that is known to carry from earlier: answers that come back
    config: Mapping[str, Any]
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # with which a source's service is asked
    market: str = ""  # whose people are served; '' when nobody outside is
    shows: tuple[Label, ...] = ()  # of models whose measures are made public

    @property
    def fingerprint(self) -> str:
        return digest({**self.to_json(), "config": dict(self.config), "code": code_digest()})

    def to_json(self) -> dict[str, Any]:
        used = [{"kind": a.kind, "digest": a.digest, "role": "input"} for a in self.inputs]
        beside = [{"kind": a.kind, "digest": a.digest, "role": "against"} for a in self.against]
        carried = {"carries": [label.to_json() for label in self.carries]} if self.carries else {}
        features = {source: list(names) for source, names in sorted(self.features.items()) if names}
        return {
            **({"features": features} if features else {}),
            **({"market": self.market} if self.market else {}),
            **({"shows": [label.to_json() for label in self.shows]} if self.shows else {}),
            "step": self.name,
            "effect": self.effect.value,
            "asks": [{"source": source, "use": use.value} for source, use in sorted(self.ask.items())],
            "brings": [{"source": source, "relation": rel.value} for source, rel in sorted(self.brings.items())],
            **carried,
            "inputs": used + beside,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How an answer came about. at: when it was asked. terms: digest of the document in force then. use, project: asked
    for and by. log: name of the ledger it was asked under, '' for this one.
    """

    at: str
    terms: str
    use: Use
    project: str = ""
    log: str = ""


class Step:
    """An open step. All that a stage may do with the outside goes through here."""

    def __init__(self, workspace: "Workspace", opening: Opening, admission: Admission, folder: Path) -> None:
        self.workspace = workspace
        self.name = opening.name
        self.run = secrets.token_hex(8)
        self.began, self._began_at = time.monotonic(), now()
        self.counts: Counter[str] = Counter()
        self.outputs: list[Artifact] = []
        self._opening, self._admission, self._folder = opening, admission, folder
        self._staging = Store(folder / "staged")
        self._journals: dict[str, Journal] = {}
        self._told: dict[str, list[Callable[[str], Told | None]]] = {}  # by source
        self._heard_of = Tally()
        self._learned: dict[Label, Verdict] = {}
        self._ends: list[Callable[[], None]] = []
        self._looked_on = admission.on
        self._looked_at = -1  # size of the ledger when recalls were last looked for
        self._cut_short = ""
        self._handed_out: dict[str, str] = {}
        self._earlier: tuple[Artifact, ...] = ()

    # reading and writing

    def earlier(self, kind: Kind) -> Artifact | None:
        """The output of this kind that an identical step left before, if it is still whole."""
        return next((artifact for artifact in self._earlier if artifact.kind == kind), None)

    def read(self, artifact: Artifact) -> Path:
        """Folder of an input. Raises `Refused` for anything that was not named when the step opened."""
        if artifact not in self._opening.inputs + self._opening.against:
            raise Refused(f"step {self.name!r} reads {artifact}, which is not among its inputs; name it when opening")
        return artifact.folder

    def write(self, kind: Kind, fill: Callable[[Path], None], meta: Mapping[str, Any]) -> Artifact:
        """Stages an artifact: `fill` writes its files into the folder it is given. It appears when the step closes."""
        self._must_be_writable(kind)
        with self._staging.staged(kind) as folder:
            fill(folder)
            staged = self._staging.put(kind, folder, {**self._flags(), **meta})
        artifact = replace(staged, folder=self.workspace.store.folder / kind / staged.digest)
        self.outputs.append(artifact)
        return artifact

    def _flags(self) -> dict[str, Any]:
        """What inputs declare of themselves and every descendant shows. without: recalls (by entry) after which it was
        made again, so that it is another artifact than before even where not a byte of it differs.
        """
        inputs = [artifact.meta for artifact in self._opening.inputs]
        without = {index for said in (*inputs, self._opening.config) for index in said.get("without", ())}
        flags: dict[str, Any] = {flag: True for flag in FLAGS if any(meta.get(flag) for meta in inputs)}
        return {**flags, "without": sorted(without)} if without else flags

    def _must_be_writable(self, kind: Kind) -> None:
        """Raises `Refused` when weights would come of words in a step that does not say that it trains; and when scores
        shape what is learned from, and may not be used as reward.
        """
        if kind not in ("records", "dataset", "signals", "weights"):
            return
        if kind == "weights" and self._opening.effect is not Effect.TRAIN:
            for words in (each for each in self._opening.inputs if each.kind in WORDS):
                raise Refused(
                    f"step {self.name!r} would write weights and reads {words}; to train is for a step that says so "
                    f"(effect=Effect.TRAIN), where the terms are asked about it"
                )
        if kind == "weights":
            self.workspace.must_not_repeat_held_out(self.name, self._opening.inputs)
        scores = [label for label in self.labels if label.relation is Relation.SCORE]
        for verdict in may_flow(
            scores, self.workspace.catalog, Effect.TRAIN, self._admission.facts, self._admission.on
        ):
            if not verdict.permitted:
                raise Refused(
                    f"step {self.name!r} would write {kind} shaped by scores of {verdict.source!r}, asked for judging "
                    f"only: {verdict.because} {verdict.settle_by}".strip()
                )

    def journal(self, name: str) -> Journal:
        """Durable lines of this step; a killed step finds them again."""
        if name not in self._journals:
            self._journals[name] = Journal(self._folder / f"{name}.jsonl")
        return self._journals[name]

    def let_go(self, path: Path) -> None:
        """Deletes what this step left in its own folder and needs no more; kept while a case or hold touches it."""
        self.workspace.retained.let_go(path, self._sources)

    @property
    def _sources(self) -> frozenset[str]:
        return frozenset(label.source for label in self.labels)

    def checkpoint(self, name: str) -> Path:
        """A folder that survives a kill and goes when the step is done."""
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def labels(self) -> tuple[Label, ...]:
        """What the inputs carry, what this step asks and brings, and what it learned since it opened."""
        return tuple(sorted(self._admission.labels | self._learned.keys()))

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return (*self._admission.verdicts, *(self._learned[label] for label in sorted(self._learned)))

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        """What the terms ask of whoever takes this step's outputs further."""
        return tuple(sorted({duty for verdict in self.verdicts for duty in verdict.obligations}))

    def look_again(self) -> None:
        """For long-lived steps. Raises `Refused` when something of this step was recalled since."""
        self.workspace.look_for_recalls(self.labels, self._passing)

    def look_if_grown(self) -> None:
        """As `look_again`, when the ledger grew since: cheap enough for every answer."""
        self.workspace.ledger.refresh()
        size = self.workspace.ledger.size  # before looking: another thread may read on meanwhile
        if size != self._looked_at:
            self.look_again()
            self._looked_at = size

    def look_on_a_new_day(self) -> None:
        """For steps that stand open for days. Raises `Refused` when the terms of today do not let its labels go where
        it takes them, since a written permission ended or a text came into force that reaches back.
        """
        if (today := _today()) == self._looked_on:
            return
        flows = may_flow(self.labels, self.workspace.catalog, self._opening.effect, self._admission.facts, today)
        for verdict in flows:
            if not verdict.permitted:
                raise Refused(f"step {self.name!r} may not go on today: {verdict}")
        self._looked_on = today

    @property
    def _passing(self) -> Passing:
        opening, terms = self._opening, self._admission.terms
        return Passing(
            inputs=tuple(artifact.digest for artifact in opening.inputs + opening.against),
            asks=tuple(
                Asking(source, use, terms.get(source, ""), self._project) for source, use in opening.ask.items()
            ),
            entered=(*self._heard_of.lines(), *self._brought()),
            taken_out=taken_out(opening.to_json() | {"config": dict(opening.config)}),
        )

    @property
    def entered(self) -> tuple[Entered, ...]:
        """What came in from outside so far. Of an asked source that was not heard by way of a bound teacher, no more is
        known than when the step began.
        """
        asked = self._opening.ask.items() - {(source, self._opening.ask[source]) for source in self._heard_of.sources()}
        unheard = (self._line(source, use.value, self._began_at) for source, use in sorted(asked))
        return (*self._heard_of.lines(), *unheard, *self._brought())

    def _brought(self) -> Iterator[Entered]:
        """Weights are not asked for a use; what else is brought may have been asked before, by whomever."""
        for source, relation in sorted(self._opening.brings.items()):
            is_weights = relation is Relation.WEIGHTS
            yield self._line(source, "" if is_weights else None, self._began_at if is_weights else None)

    def _line(self, source: str, use: str | None, first: str | None) -> Entered:
        terms = self._admission.terms.get(source, "")
        return Entered(source=source, terms=terms, use=use, project=self._project, first=first, last=now())

    @cached_property
    def _project(self) -> str:
        return self.workspace.project  # read off the whole ledger, and wanted for every record

    @cached_property
    def fingerprint(self) -> str:
        """The same for every try of this step."""
        return self._opening.fingerprint

    def at_end(self, finish: Callable[[], None]) -> None:
        """`finish` is called once, just before the closing statement, however the step ends."""
        self._ends.append(finish)

    def _end(self) -> None:
        while self._ends:
            self._ends.pop()()

    # asking and origins

    def admits(self, source: str) -> Use:
        """The use under which this step may ask `source`. Raises `Refused` when the step did not name it."""
        if source not in self._opening.ask:
            raise Refused(
                f"step {self.name!r} did not name {source!r}, so it may not be asked here; "
                f"open the step with ask={{{source!r}: Use.…}}"
            )
        return self._opening.ask[source]

    def terms_of(self, source: str) -> str:
        """Digest of the document under which `source` is asked here."""
        return self._admission.terms[source]

    def admits_earlier(self, source: str, terms: str, asked_on: date) -> Verdict:
        """Whether an answer that `source` gave on that day, under the document with digest `terms`, may be used here
        in place of a new one. If so, the step carries its label from here on, into its closing statement.

        Raises `Refused` when the step did not name the source.
        """
        use = self.admits(source)
        label = Label(source=source, relation=RELATION_OF_USE[use], terms=terms)
        facts, carried = self._admission.facts, self.labels
        verdict = judge_earlier(
            label, carried, self.workspace.catalog,
            use=use, effect=self._opening.effect, facts=facts, at=asked_on, today=_today(),
        )  # fmt: skip
        if verdict.permitted and label not in carried:
            self._learned[label] = verdict
        return verdict

    def hears(self, source: str, told: Callable[[str], Told | None]) -> bool:
        """A bound teacher says how the answer to a request came about, by the request's digest.

        Returns whether the step heard one before.
        """
        before = bool(self._told)
        self._told.setdefault(source, []).append(told)
        return before

    def heard(self, source: str, told: Told) -> None:
        """An answer was handed out in this step. It entered for what it was asked for, and for what it is used here."""
        uses = {(told.use.value, told.project), (self.admits(source).value, self._project)}
        for use, project in uses:
            self._heard_of.add(source=source, terms=told.terms, use=use, project=project, at=told.at)

    def origin(
        self, *, source: str, request: str = "", parents: Sequence[str] = (), transformed: bool = False
    ) -> Origin:
        """Mints the origin of a record: a teacher's answer, what a rule made of one (`transformed`), a person's words,
        or a row of a dataset.

        Raises `Refused` for a source that this step neither asks nor brings, and for an answer that was never asked.
        """
        if source in self._opening.ask:
            kind: OriginKind = "transform" if transformed else "teacher"
            use, told = self._opening.ask[source].value, self._heard(source, request)
        elif source in self._opening.brings:
            kind, use = ("human" if source.startswith("own/") else "dataset"), ""
            told = None
        else:
            raise Refused(f"step {self.name!r} neither asks nor brings {source!r}: no record may claim it as origin")
        return Origin(
            kind=kind,
            source=source,
            project=self._project,
            use=use,
            terms=told.terms if told else self._admission.terms[source],
            asked_at=told.at if told else now(),
            request=request,
            parents=tuple(parents),
            asked_for=told.use.value if told and told.use.value != use else "",
            asked_in=told.log if told else "",
            asked_by=told.project if told and told.project != self._project else "",
        )

    def handed_on(self, earlier: Origin, parent: str) -> Origin:
        """Mints the origin of what was made of a record, or is an answer that came back from outside: the source, use
        and terms of the `earlier` one stay. parent: id of the record, '' when it is not known.

        Raises `Refused` when this step does not carry that source under those terms.
        """
        if (earlier.source, earlier.terms) not in {(label.source, label.terms) for label in self.labels}:
            raise Refused(f"step {self.name!r} does not carry {earlier.source!r}: no record may claim it as origin")
        return replace(earlier, kind="transform", project=self._project, parents=(parent,) if parent else ())

    def _heard(self, source: str, request: str) -> Told:
        for teacher in reversed(self._told.get(source, [])):
            if told := teacher(request):
                return told
        raise Refused(f"no answer of {source!r} to request {request[:12]!r} passed through step {self.name!r}")

    # telling

    def count(self, name: str, n: int = 1) -> None:
        self.counts[name] += n

    def cut_short(self, reason: str) -> None:
        """The step will be done although less was done than it set out to; its statement says why."""
        self._cut_short = reason

    def hands_out(self, files: Mapping[str, str]) -> None:
        """What leaves the workspace, by path: SHA-256 of each file. Its closing statement is about them too."""
        self._handed_out.update(files)

    def progress(self, done: int, total: int, unit: str, note: str = "") -> None:
        self.workspace.report(self.name, done, total, unit, note)

    def seal(self, calls: Batch | None = None) -> None:
        """Writes what a long-lived step did so far, recalled or not; then raises `Refused` when one of its sources
        was recalled. calls: those it relayed since the last seal.
        """
        said = {"step": self.name, "run": self.run, "counts": dict(self.counts), "at": now()}
        self.workspace.ledger.append(
            SEAL,
            [subject(artifact.kind, artifact.digest) for artifact in self._opening.inputs],
            {**said, "calls": calls.to_json()} if calls else said,
        )
        self.look_again()


def _silent(step: str, done: int, total: int, unit: str, note: str) -> None:
    pass


@dataclass(kw_only=True)
class Workspace:
    """A folder with a ledger, a store, and the facts its owner declared."""

    folder: Path
    ledger: Ledger
    store: Store
    catalog: Catalog
    report: Progress = field(default=_silent)
    _reading: Reading = field(default_factory=Reading, init=False, repr=False)
    _compared: set[tuple[str, ...]] = field(default_factory=set, init=False, repr=False)  # that repeat nothing held out

    @classmethod
    def open(cls, folder: Path, *, create: bool = False, report: Progress = _silent) -> "Workspace":
        """Opens a workspace. Raises `ConfigError` when there is none here, or one of a newer format."""
        marker = folder / "format"
        if not marker.exists():
            if not create:
                raise ConfigError(f"there is no workspace at {str(folder)!r}; `trueseed run FILE` makes one")
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(marker, f"{FORMAT}\n")
        found = marker.read_text().strip()
        if not found.isdecimal() or int(found) > FORMAT:
            raise ConfigError(
                f"workspace {str(folder)!r} is of format {found!r}, this TrueSeed reads up to {FORMAT}; upgrade it"
            )
        ledger = Ledger.open(folder / "ledger", state=state_folder(), create=create)
        catalog = _catalog(folder, ledger)
        return cls(folder=folder, ledger=ledger, store=Store(folder / "store"), catalog=catalog, report=report)

    def read_terms(self) -> None:
        """Anew, after a document was added, or a reviewer signed a letter."""
        self.catalog = _catalog(self.folder, self.ledger)

    @cached_property
    def retained(self) -> Retained:
        """By which everything here is deleted, or kept while a case or hold is open."""
        return Retained(self.folder, self.ledger)

    # declared facts

    def declare(self, project: str, facts: Facts) -> None:
        """Ledgers what the owner says of project, student and operator, when it differs from what was said last."""
        said = {"project": project, "facts": replace(facts, project=None).to_json()}
        if self.read().declared != said:
            self.ledger.append(DECLARATION, [], {**said, "at": now()})

    def rename_student(self, name: str | None) -> None:
        """Declares that the student goes by `name` from now on, or by none; the terms judge by it."""
        self.declare(self.project, replace(self.facts, student=replace(self.facts.student, name=name)))

    @property
    def project(self) -> str:
        return str((self.read().declared or {"project": ""})["project"])

    @property
    def facts(self) -> Facts:
        said = self.read().declared
        return replace(Facts.from_json(said["facts"]), project=said["project"]) if said else Facts()

    # labels

    def lineage(self) -> Lineage:
        """As of the entries that are known; each is read once. Raises `Broken` when one is not what it was."""
        return self.read().lineage

    def read(self) -> Reading:
        """What the ledger amounts to, as of the entries that are known. Raises as `lineage`."""
        self._reading.catch_up(self.ledger)
        return self._reading

    @property
    def recalls(self) -> Recalls:
        return self.read().recalls

    def labels(self, artifact: Artifact) -> frozenset[Label]:
        """Labels that an artifact carries. Raises `Broken` when no step of this ledger made it."""
        lineage = self.lineage()
        if lineage.maker(artifact.digest) is None:
            raise Broken(
                f"{artifact} was made by no step in the ledger of {str(self.folder)!r}; import it through a step"
            )
        return frozenset(
            Label(source=source, relation=Relation(relation), terms=terms)
            for source, relation, terms in lineage.labels(artifact.digest)
        )

    def look_for_recalls(self, labels: Iterable[Label], passing: Passing | None = None) -> None:
        """Raises `Refused` when a source among the labels was recalled, or a part of one that `passing` would take
        further or ask again.
        """
        self.ledger.refresh()
        named = frozenset((label.source, label.relation.value, label.terms) for label in labels)
        if stop := self.recalls.stop(replace(passing or Passing(), labels=named)):
            raise Refused(
                f"{stop.withdrawal}; {stop.because}. `trueseed recall {stop.withdrawal.source} --dry-run` shows what "
                f"that touches, and `trueseed run FILE --rebuild` runs again from what remains"
            )

    def may_be_asked(self, source: str, uses: Iterable[Use], relation: Relation = Relation.OUTPUT) -> None:
        """Raises `Refused` when a recall forbids asking, or bringing, this source today."""
        document = self.catalog.governing(source, _today())
        terms, project = document.digest if document else "", self.project
        asks = tuple(Asking(source, use.value, terms, project) for use in uses)
        self.look_for_recalls([Label(source=source, relation=relation, terms=terms)], Passing(asks=asks))

    # held out from training

    def held_out(self) -> HeldOut:
        """All that any step here froze for evaluation, as far as it is in the store."""
        lineage = self.lineage()
        frozen = (made for made in lineage.artifacts() if _is_held_out(made.digest, lineage))
        here = (made for made in frozen if (self.store.folder / made.kind / made.digest).is_dir())
        return HeldOut.of(self.store.get(f"{made.kind}:{made.digest}") for made in here)

    def must_not_repeat_held_out(self, step: str, inputs: Iterable[Artifact]) -> None:
        """Raises `Refused` when a record among the inputs is a held-out sample, or nearly is (`similarity.leaks`)."""
        held = self.held_out()
        for artifact in inputs if held.artifacts else ():
            known = (artifact.digest, *held.digests)
            if known in self._compared or not (found := _repeated(artifact, held)):
                self._compared.add(known)
                continue
            shown = "; ".join(found[:SHOWN]) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
            raise Refused(
                f"step {step!r}: {len(found)} of the records of {artifact} are held-out samples, or nearly are, and no "
                f"score on these would be worth anything: {shown}. Give `trueseed run` again, whose curation leaves "
                f"such records out and counts them; in Python, hand `workspace.held_out()` to `curate`"
            )

    # the door

    @contextmanager
    def step(
        self,
        name: str,
        *,
        inputs: Sequence[Artifact] = (),
        against: Sequence[Artifact] = (),
        effect: Effect = Effect.NONE,
        ask: Mapping[str, Use] | None = None,
        brings: Mapping[str, Relation] | None = None,
        carries: Iterable[Label] = (),
        config: Mapping[str, Any] | None = None,
        features: Mapping[str, Sequence[str]] | None = None,
        market: str = "",
        shows: Sequence[Artifact] = (),
    ) -> Iterator[Step]:
        """Opens a step, and closes it with one signed statement whatever happens inside.

        features: by source, those of its service it is asked with (a search, say), since they may have terms of their
        own. market: the country whose people are served (ISO 3166). shows: scores that are made public.

        Raises `Refused` (after writing the refusal) when terms, a recall or held-out data forbid it, `Broken` when an
        input is not what it was, `ConfigError` when the same step is running elsewhere.
        """
        opening = Opening(
            name=name,
            inputs=tuple(inputs),
            against=tuple(against),
            effect=effect,
            ask=dict(ask or {}),
            brings=dict(brings or {}),
            carries=tuple(sorted(set(carries))),
            config=dict(config or {}),
            features={source: tuple(names) for source, names in (features or {}).items()},
            market=market,
            shows=measured(label for scores in shows for label in self.labels(scores)),
        )
        folder = self.folder / "steps" / opening.fingerprint[:16]
        with _locked(folder, name):
            self._abandon_the_dead(opening)
            step = Step(self, opening, self._admit(opening), folder)
            step._earlier = self._done_before(opening)
            if step._earlier:
                yield step
                return
            self._append("opened", step, unless=lambda _: self._must_still_carry(opening, step.labels))
            try:
                yield step
            except BaseException as err:
                step._end()
                self._append(_ending(err), step, reason=_reason(err))
                step.let_go(folder / "staged")
                raise
            self._close(step)
            step.let_go(folder)

    def _admit(self, opening: Opening) -> Admission:
        today = _today()
        try:
            self._must_not_be_destroyed(opening)
            for artifact in opening.inputs + opening.against:
                check(artifact)
            admission = self._read_terms(opening, today)
            Step(self, opening, admission, self.folder).look_again()
            self._held_out_stays_out(opening)
            if verdict := admission.refusal:
                raise Refused(f"step {opening.name!r} refused: {verdict}")
        except Refused as err:
            refused = Step(self, opening, replace(NOTHING, on=today), self.folder)
            self._append("refused", refused, reason=str(err))
            raise
        return admission

    def _must_not_be_destroyed(self, opening: Opening) -> None:
        """What was destroyed is not read from a copy, nor made again by the same step."""
        known = self.read()
        gone, again = known.destroyed.artifacts, known.tries(opening.fingerprint).outputs
        for each in (*(Made(a.kind, a.digest) for a in opening.inputs + opening.against), *again):
            if stone := gone.get(each.digest):
                raise Refused(
                    f"step {opening.name!r}: {each.kind}:{each.digest[:12]} was {stone}; it is not used or made again. "
                    f"Change what the step is made from, and a new one is made"
                )

    def _read_terms(self, opening: Opening, today: date) -> Admission:
        carried = {label for artifact in opening.inputs for label in self.labels(artifact)}
        carried |= {replace(label, relation=Relation.FILTER) for a in opening.against for label in self.labels(a)}
        question = Question(
            ask=opening.ask,
            brings=opening.brings,
            effect=opening.effect,
            features=opening.features,
            market=opening.market,
            shows=opening.shows,
        )
        admission = admit(question, carried | set(opening.carries), self.catalog, self.facts, today)
        for document in admission.documents:
            keep(document, self.folder / KEPT)
        return admission

    def _must_still_carry(self, opening: Opening, labels: Sequence[Label]) -> None:
        """Another process may have made the same bytes from other sources since the labels were read."""
        carried = {label for artifact in opening.inputs for label in self.labels(artifact)}
        if not carried <= set(labels):
            raise ConfigError(f"the inputs of step {opening.name!r} gained labels meanwhile; give the command again")

    def _held_out_stays_out(self, opening: Opening) -> None:
        if opening.effect is not Effect.TRAIN:
            return
        lineage = self.lineage()
        for artifact in opening.inputs:
            for ancestor in _made_from(artifact.digest, lineage):
                if _is_held_out(ancestor, lineage):
                    raise Refused(
                        f"{artifact} comes from held-out prompts (artifact {ancestor[:12]}), frozen for evaluation; "
                        f"training on them is refused. Train on a dataset made from other prompts"
                    )
        if any(artifact.kind in ("dataset", "weights") for artifact in opening.inputs):  # else nothing is trained yet
            self.must_not_repeat_held_out(opening.name, opening.inputs)

    def _abandon_the_dead(self, opening: Opening) -> None:
        """We hold this step's lock, so an opening without a closing belongs to a process that died."""
        self.ledger.refresh()
        left = tuple(self.read().tries(opening.fingerprint).open.values())
        died = {"event": "abandoned", "at": now(), "reason": "the process died"}
        if left:
            self.ledger.append_all((STEP, [], {**entry.predicate, **died}) for entry in left)
        sources = {source for entry in left for source, _, _ in labels_of(entry.predicate)}
        self.retained.let_go(self.folder / "steps" / opening.fingerprint[:16] / "staged", sources)

    def _done_before(self, opening: Opening) -> tuple[Artifact, ...]:
        before = self.read().tries(opening.fingerprint).outputs
        outputs = tuple(self.store.get(f"{made.kind}:{made.digest}") for made in before)
        for artifact in outputs:
            check(artifact)
        return outputs

    def _close(self, step: Step) -> None:
        step._end()
        appeared = [artifact for artifact in step.outputs if self.store.adopt(artifact, step._staging)]

        try:
            for artifact in step.outputs if step._learned else ():
                step._must_be_writable(artifact.kind)
            self._append("done", step, reason=step._cut_short, unless=lambda _: self._may_close(step))
        except Refused as err:
            for artifact in appeared:
                step.let_go(artifact.folder)
            self._append("refused", step, reason=str(err))
            raise

    def _may_close(self, step: Step) -> None:
        """Asked under the ledger's lock. Raises `Refused` for what was recalled, or destroyed before."""
        step.look_again()
        gone = self.read().destroyed.artifacts
        for artifact in step.outputs:
            if stone := gone.get(artifact.digest):
                raise Refused(f"step {step.name!r} made {artifact} again, which was {stone}")

    def _append(
        self, event: str, step: Step, *, reason: str = "", unless: Callable[[Ledger], None] | None = None
    ) -> None:
        for journal in step._journals.values():
            journal.close()
        opening, admission = step._opening, step._admission
        learned = {"learned": [label.to_json() for label in sorted(step._learned)]} if step._learned else {}
        outputs = step.outputs if event == "done" else []
        handed = {"handed_out": dict(step._handed_out)} if event == "done" and step._handed_out else {}
        subjects: Sequence[Artifact] = opening.inputs if event == "opened" else outputs
        self.ledger.append(
            STEP,
            [subject(artifact.kind, artifact.digest) for artifact in subjects]
            + [subject(path, found) for path, found in handed.get("handed_out", {}).items()],
            {
                **opening.to_json(),
                "event": event,
                "run": step.run,
                "fingerprint": opening.fingerprint,
                "outputs": [{"kind": a.kind, "digest": a.digest} for a in outputs],
                "labels": [label.to_json() for label in step.labels],
                **learned,
                **handed,
                **({"entered": [each.to_json() for each in step.entered]} if event == "done" else {}),
                "terms": dict(admission.terms),
                "judged_on": admission.on.isoformat(),
                "rules": RULES_VERSION,
                "verdicts": [verdict.to_json() for verdict in step.verdicts],
                "config": dict(opening.config),
                "code": code_digest(),
                "counts": dict(step.counts),
                "cost": {"seconds": round(time.monotonic() - step.began, 3)},
                "at": now(),
                "reason": reason,
            },
            unless=unless,
        )


def _catalog(folder: Path, ledger: Ledger) -> Catalog:
    """The documents in a workspace, with the letters in use that a reviewer signed."""
    catalog = Catalog.load(folder / "terms", folder / KEPT)
    return catalog.relying_on(relied_on(ledger)) if catalog.has_letters else catalog


def _today() -> date:
    return datetime.now(UTC).date()


def _is_held_out(digest: str, lineage: Lineage) -> bool:
    """Whether any step that made it said so."""
    return any(maker.predicate["config"].get("held_out") for maker in lineage.makers(digest))


def _repeated(artifact: Artifact, held: HeldOut) -> list[str]:
    """Each record that is, or nearly is, held out, in words."""
    return [
        f"record {record.id[:12]} is {'nearly ' if leak.how == 'near' else ''}sample {leak.sample!r} of "
        f"{of.meta.get('task', of)} ({leak.where} like {leak.part})"
        for record in learned_from(artifact)
        for of, leak in held.leaks(record)[:1]
    ]


def _made_from(digest: str, lineage: Lineage) -> Iterator[str]:
    """The artifact and everything that became part of it, without what it was only held against."""
    seen, queue = {digest}, [digest]
    for current in queue:
        yield current
        maker = lineage.maker(current)
        for used in maker.predicate["inputs"] if maker else ():
            if used["role"] == "input" and used["digest"] not in seen:
                seen.add(used["digest"])
                queue.append(used["digest"])


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f"{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as err:
        raise ConfigError(f"step {name!r} is already running in another process; wait for it, or stop it") from err
    try:
        yield
    finally:
        lock.release()


def _ending(err: BaseException) -> str:
    if isinstance(err, Refused):
        return "refused"
    return "paused" if isinstance(err, (Paused, KeyboardInterrupt)) else "failed"


def _reason(err: BaseException) -> str:
    return "stopped by the user" if isinstance(err, KeyboardInterrupt) else f"{type(err).__name__}: {err}"
