"""The door: every stage passes through `Workspace.step`, and nothing is asked, read or written except inside one.

    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN, config=config) as step:
        student = step.earlier("weights") or sft.train(config, dataset, base, step)

Opening re-hashes the inputs, unions the labels upstream of them, asks the terms whether each *asked* source may be
asked for its use and whether the labels may go where this step's effect takes them, and refuses before anything is
spent. Closing appends one signed statement and only then do the artifacts appear. Folder layout (`work/` by default):

    format   ledger/   store/   terms/   cache/   calls/   steps/<fingerprint>/{lock, checkpoints}   report.json, .html
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trueseed.core.artifacts import Artifact, Store, check
from trueseed.core.canonical import now
from trueseed.core.code import code_digest
from trueseed.core.durable import state_folder, write_atomic
from trueseed.errors import Broken, ConfigError, Paused, Refused
from trueseed.ledger.lineage import Lineage, Made, labels_of
from trueseed.ledger.log import Ledger
from trueseed.ledger.permitted import relied_on
from trueseed.ledger.reading import Reading
from trueseed.ledger.statement import DECLARATION, STEP, subject
from trueseed.ledger.withdrawals import Asking, Passing, Recalls
from trueseed.retained import Retained
from trueseed.similarity.held_out import HeldOut, learned_from
from trueseed.terms.admission import NOTHING, Admission, Question, admit, measured
from trueseed.terms.catalog import Catalog, keep
from trueseed.terms.model import Effect, Facts, Label, Relation, Use
from trueseed.terms.rules import RULES_VERSION
from trueseed.workspace.opening import Opening
from trueseed.workspace.step import Step

FORMAT = 1
KEPT = "ledger/terms"  # the documents that labels name by digest, as they were when the door relied on them
SHOWN = 3  # records that a refusal names

Progress = Callable[[str, int, int, str, str], None]  # step, done, total, unit, note


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

    @property
    def today(self) -> date:
        """By which terms are read, UTC."""
        return _today()

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
