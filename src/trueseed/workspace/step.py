"""An open step: all that a stage may do with the outside goes through here.

with workspace.step("generate", inputs=[prompts], ask={source: Use.TRAIN}) as step:
    step.read(prompts)                          # only what was named when it opened
    step.origin(source=source, request=…)       # only of whom it asks, and of what was answered here
    step.write("records", fill, {…})            # appears when the step is closed
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact, Kind, Store
from trueseed.core.canonical import now
from trueseed.core.journal import Journal
from trueseed.core.records import Origin, OriginKind
from trueseed.errors import Refused
from trueseed.ledger.calls import Batch
from trueseed.ledger.entered import Entered, Tally
from trueseed.ledger.statement import SEAL, subject
from trueseed.ledger.steps import WORDS
from trueseed.ledger.withdrawals import Asking, Passing, taken_out
from trueseed.terms.admission import Admission
from trueseed.terms.model import Effect, Label, Obligation, Relation, Use
from trueseed.terms.rules import RELATION_OF_USE, Verdict, judge_earlier, may_flow
from trueseed.workspace.opening import Opening, Told
from trueseed.workspace.place import Place

FLAGS = ("identity_filter", "redacted")  # what was taken out of a dataset is said of all that comes of it


class Step:
    """An open step. All that a stage may do with the outside goes through here."""

    def __init__(self, workspace: Place, opening: Opening, admission: Admission, folder: Path) -> None:
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
        if (today := self.workspace.today) == self._looked_on:
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
            use=use, effect=self._opening.effect, facts=facts, at=asked_on, today=self.workspace.today,
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
