"""An open step for every source and use that is asked for, opened at the first call and anew every day.

The step asks the terms, and stands in the ledger with its verdict; a refusal too, once. A long-lived step must look
again: for recalls whenever the ledger grew, and on a new day for documents that came into force.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from secrets import token_hex
from threading import Lock

from filelock import FileLock

from trueseed.errors import Refused
from trueseed.ledger.calls import CALLS, Calls, seal_left
from trueseed.ledger.log import CHECKPOINT
from trueseed.ledger.statement import RECALL_RELEASE, WITHDRAWAL
from trueseed.terms.model import Use
from trueseed.terms.rules import may_ask
from trueseed.workspace import Step, Workspace

OPENING = "opening.lock"
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Passage:
    """An open step and its journal. in_flight: admitted calls that are not settled; it stays open for them."""

    step: Step
    calls: Calls
    day: date
    closing: ExitStack
    in_flight: int = 0
    sealing: Lock = field(default_factory=Lock)


@dataclass(slots=True)
class Door:
    """Used by one thread at a time, but for `sync` and `seal`.

    workspace: whose terms, facts and ledger. today: in UTC. market: whose people are served, '' for none but us.
    """

    workspace: Workspace
    today: Callable[[], date] = lambda: datetime.now(UTC).date()
    market: str = ""
    _open: dict[tuple[str, Use], Passage] = field(default_factory=dict)
    _leaving: list[Passage] = field(default_factory=list)  # of yesterday, or recalled, with calls in flight
    _refused: dict[tuple[str, Use, date], str] = field(default_factory=dict)
    _elsewhere: dict[tuple[str, Use, str, date], str] = field(default_factory=dict)
    _seen: tuple[int, int] = (0, 0)  # the ledger's checkpoint, by inode and time
    _looked_at: int = 0  # size of the ledger when recalls were last looked for

    def __post_init__(self) -> None:
        folder = self.workspace.folder / CALLS
        folder.mkdir(exist_ok=True)
        with FileLock(folder / OPENING):  # two that begin together would seal the same calls twice
            seal_left(self.workspace.ledger, folder)

    def passage(self, source: str, use: Use, region: str | None) -> Passage:
        """The step under which `source` may be asked for `use` now, opened if need be. region: where the asker is, if
        not where we are.

        Raises `Refused` when the terms, the region or a recall forbid it.
        """
        self.look_again()
        found = self.standing(source, use, region)
        if found is None:
            try:
                self._enter(source, use, self.today())
            except Refused as err:
                self._refused[source, use, self.today()] = str(err)
                raise
            found = self.standing(source, use, region)
            assert found is not None  # a day is longer than this takes; else the next call opens it
        return found

    def standing(self, source: str, use: Use, region: str | None) -> Passage | None:
        """As `passage`, of steps that are open; None when it is yet to be opened. Nothing is written or read."""
        day = self.today()
        if because := self._refused.get((source, use, day)):
            raise Refused(because)
        found = self._open.get((source, use))
        if found is None or found.day != day:
            return None
        self._must_serve(region, source, use, day)
        return found

    @property
    def is_current(self) -> bool:
        """Whether `look_again` would find nothing to do and `done` nothing to close, neither of which then waits."""
        day = self.today()
        return (
            not self._leaving
            and self._checkpoint() == self._seen
            and all(found.day == day for found in self._open.values())
        )

    def _checkpoint(self) -> tuple[int, int]:
        """The ledger's, by inode and time: every entry replaces it."""
        try:
            about = (self.workspace.ledger.folder / CHECKPOINT).stat()
        except OSError:
            return (-1, 0)  # `refresh` says what is wrong
        return (about.st_ino, about.st_mtime_ns)

    def look_again(self) -> None:
        """Closes steps of another day, and those of a source that was recalled since. Cheap while nothing happened."""
        day = self.today()
        for source, use in [asked for asked, found in self._open.items() if found.day != day]:
            self._leave(source, use)
        checkpoint = self._checkpoint()
        if checkpoint == self._seen:
            return
        ledger = self.workspace.ledger
        ledger.refresh()
        looked_at, self._looked_at = self._looked_at, ledger.size
        new = {entry.predicate_type for entry in ledger.entries(looked_at)}
        if RECALL_RELEASE in new:
            self._refused.clear()  # each is refused again, or no longer
        if WITHDRAWAL in new:
            self._leave_what_was_recalled(day)
        self._seen = checkpoint

    def done(self, passage: Passage) -> None:
        """A call admitted under it was settled."""
        passage.in_flight -= 1
        if passage in self._leaving and not passage.in_flight:
            try:
                _close(passage)
            except Exception:  # the call is settled all the same
                _log.exception("step %s cannot be closed; it is when the gateway stops", passage.step.run)
            else:
                self._leaving.remove(passage)

    def sync(self) -> None:
        """Waits until the disk has the journals."""
        for passage in (*self._open.values(), *self._leaving):
            with suppress(ValueError):  # closed meanwhile, and thereby synced
                passage.calls.sync()

    def seal(self) -> None:
        """Covers the calls so far by one statement for each open step that had any. Waits for the disk, so it has a
        thread of its own.
        """
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
            market = self.market if use is Use.SERVE else ""
            step = stack.enter_context(self.workspace.step("gateway", ask={source: use}, config=config, market=market))
            calls = Calls(self.workspace.folder / CALLS, step.run)
            stack.callback(calls.close)
            passage = Passage(step=step, calls=calls, day=day, closing=stack.pop_all())
        self._open[source, use] = passage
        return passage

    def _leave_what_was_recalled(self, day: date) -> None:
        for (source, use), passage in list(self._open.items()):
            try:
                passage.step.look_again()
            except Refused as err:
                self._refused[source, use, day] = str(err)
                self._leave(source, use, err)

    def _must_serve(self, region: str | None, source: str, use: Use, day: date) -> None:
        """The step was admitted for the workspace's region; a key may be used from another."""
        if region is None:
            return
        known = (source, use, region, day)
        if known not in self._elsewhere:
            facts = replace(self.workspace.facts, region=region)
            verdict = may_ask(source, use, facts, day, self.workspace.catalog)
            self._elsewhere[known] = "" if verdict.permitted else str(verdict)
        if because := self._elsewhere[known]:
            raise Refused(f"from region {region!r}: {because}")

    def _leave(self, source: str, use: Use, err: Refused | None = None) -> None:
        passage = self._open.pop((source, use))
        self._leaving.append(passage)
        if not passage.in_flight:
            _close(passage, err)
            self._leaving.remove(passage)


def _seal(passage: Passage) -> None:
    with passage.sealing:
        if batch := passage.calls.unsealed:
            with suppress(Refused):  # recalled: the next call hears of it, and these stand sealed all the same
                passage.step.seal(batch)
            passage.calls.sealed(batch)


def _close(passage: Passage, err: Refused | None = None) -> None:
    while passage.calls.unsealed:
        _seal(passage)
    with suppress(Refused):  # the step's own last look; its closing statement says so
        passage.closing.__exit__(type(err) if err else None, err, err.__traceback__ if err else None)
