"""An open step for every source and use that is asked for, opened at the first call and anew every day.

The step asks the terms, and stands in the ledger with its verdict; a refusal too, once. A long-lived step must look
again: for recalls whenever the ledger grew, and on a new day for documents that came into force.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from secrets import token_hex

from trueseed.errors import Refused
from trueseed.ledger.calls import CALLS, Calls, seal_left
from trueseed.terms.model import Use
from trueseed.terms.rules import judge_use
from trueseed.workspace import RELATION_OF_USE, Step, Workspace


@dataclass(slots=True, kw_only=True)
class Passage:
    """An open step and its journal. in_flight: admitted calls that are not settled; it stays open for them."""

    step: Step
    calls: Calls
    day: date
    closing: ExitStack
    in_flight: int = 0
    looked_at: int = -1  # size of the ledger when recalls were last looked for


@dataclass(slots=True)
class Door:
    """Used from one thread only, but for `sync`. workspace: whose terms, facts and ledger. today: in UTC."""

    workspace: Workspace
    today: Callable[[], date] = lambda: datetime.now(UTC).date()
    _open: dict[tuple[str, Use], Passage] = field(default_factory=dict)
    _leaving: list[Passage] = field(default_factory=list)  # of yesterday, or recalled, with calls in flight
    _refused: dict[tuple[str, Use, date], str] = field(default_factory=dict)
    _elsewhere: dict[tuple[str, Use, str, date], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seal_left(self.workspace.ledger, self.workspace.folder / CALLS)

    def passage(self, source: str, use: Use, region: str | None) -> Passage:
        """The step under which `source` may be asked for `use` now. region: where the asker is, if not where we are.

        Raises `Refused` when the terms, the region or a recall forbid it.
        """
        day = self.today()
        if because := self._refused.get((source, use, day)):
            raise Refused(because)
        found = self._open.get((source, use))
        if found and found.day != day:
            self._leave(source, use)
            found = None
        try:
            found = found or self._enter(source, use, day)
            self._look_again(found)
        except Refused as err:
            self._refused[source, use, day] = str(err)
            if (source, use) in self._open:
                self._leave(source, use, err)
            raise
        self._must_serve(region, source, use, day)
        return found

    def done(self, passage: Passage) -> None:
        """A call admitted under it was settled."""
        passage.in_flight -= 1
        if passage in self._leaving and not passage.in_flight:
            self._leaving.remove(passage)
            _close(passage)

    def sync(self) -> None:
        """Waits until the disk has the journals."""
        for passage in (*self._open.values(), *self._leaving):
            with suppress(ValueError):  # closed meanwhile, and thereby synced
                passage.calls.sync()

    def seal(self) -> None:
        """Covers the calls so far by one statement for each open step that had any."""
        for passage in (*self._open.values(), *self._leaving):
            _seal(passage)

    def close(self) -> None:
        for passage in (*self._open.values(), *self._leaving):
            _close(passage)
        self._open.clear()
        self._leaving.clear()

    def _enter(self, source: str, use: Use, day: date) -> Passage:
        config = {"day": day.isoformat(), "passage": token_hex(8)}  # no two alike: each is a step of its own
        with ExitStack() as stack:
            step = stack.enter_context(self.workspace.step("gateway", ask={source: use}, config=config))
            calls = Calls(self.workspace.folder / CALLS, step.run)
            stack.callback(calls.close)
            passage = Passage(step=step, calls=calls, day=day, closing=stack.pop_all())
        self._open[source, use] = passage
        return passage

    def _look_again(self, passage: Passage) -> None:
        ledger = self.workspace.ledger
        ledger.refresh()
        if ledger.size != passage.looked_at:
            passage.step.look_again()
            passage.looked_at = ledger.size

    def _must_serve(self, region: str | None, source: str, use: Use, day: date) -> None:
        """The step was admitted for the workspace's region; a key may be used from another."""
        if region is None:
            return
        known = (source, use, region, day)
        if known not in self._elsewhere:
            facts = replace(self.workspace.facts, region=region)
            document = self.workspace.catalog.governing(source, day)
            verdict = judge_use(source, document, use, RELATION_OF_USE[use], facts, day)
            self._elsewhere[known] = "" if verdict.permitted else str(verdict)
        if because := self._elsewhere[known]:
            raise Refused(f"from region {region!r}: {because}")

    def _leave(self, source: str, use: Use, err: Refused | None = None) -> None:
        passage = self._open.pop((source, use))
        if passage.in_flight:
            self._leaving.append(passage)
        else:
            _close(passage, err)


def _seal(passage: Passage) -> None:
    if batch := passage.calls.unsealed:
        with suppress(Refused):  # recalled: the next call hears of it, and these stand sealed all the same
            passage.step.seal(batch)
        passage.calls.sealed(batch)


def _close(passage: Passage, err: Refused | None = None) -> None:
    _seal(passage)
    with suppress(Refused):  # the step's own last look; its closing statement says so
        passage.closing.__exit__(type(err) if err else None, err, err.__traceback__ if err else None)
