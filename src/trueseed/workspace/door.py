"""The door: every stage passes through `Workspace.step`, and nothing is asked, read or written except inside one.

    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN, config=config) as step:
        student = step.earlier("weights") or sft.train(config, dataset, base, step)

Opening re-hashes the inputs, unions the labels upstream of them, asks the terms whether each *asked* source may be
asked for its use and whether the labels may go where this step's effect takes them, and refuses before anything is
spent. Closing appends one signed statement and only then do the artifacts appear.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trueseed.core.artifacts import Artifact, check
from trueseed.core.canonical import now
from trueseed.core.code import code_digest
from trueseed.errors import ConfigError, Paused, Refused
from trueseed.ledger.lineage import Lineage, Made, labels_of
from trueseed.ledger.log import Ledger
from trueseed.ledger.statement import STEP, subject
from trueseed.terms.admission import NOTHING, Admission, Question, admit, measured
from trueseed.terms.catalog import keep
from trueseed.terms.model import Effect, Label, Relation, Use
from trueseed.terms.rules import RULES_VERSION
from trueseed.workspace.opening import Opening
from trueseed.workspace.place import KEPT, Place, is_held_out
from trueseed.workspace.step import Step


class Workspace(Place):
    """A place with a door."""

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
        today = self.today
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
                if is_held_out(ancestor, lineage):
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
