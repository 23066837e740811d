"""An open step for every source, use, features and market that are asked for, opened at the first call and anew daily.

The step asks the terms, and stands in the ledger with its verdict; a refusal too, once. A long-lived step must look
again: for recalls whenever the ledger grew, and on a new day for documents that came into force.
"""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from secrets import token_hex
from threading import Lock
from typing import NamedTuple

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


class Wish(NamedTuple):
    """What a step is opened for. features: of the service, sorted. market: of the people who are served, or ''."""

    source: str
    use: Use
    features: tuple[str, ...] = ()
    market: str = ""


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

    workspace: whose terms, facts and ledger. today: in UTC.
    """

    workspace: Workspace
    today: Callable[[], date] = lambda: datetime.now(UTC).date()
    _open: dict[Wish, Passage] = field(default_factory=dict)
    _leaving: list[Passage] = field(default_factory=list)  # of yesterday, or recalled, with calls in flight
    _refused: dict[tuple[Wish, date], str] = field(default_factory=dict)
    _elsewhere: dict[tuple[Wish, str, date], str] = field(default_factory=dict)
    _seen: tuple[int, int] = (0, 0)  # the ledger's checkpoint, by inode and time
    _looked_at: int = 0  # size of the ledger when recalls were last looked for
    _checkpoint_path: str = field(init=False)

    def __post_init__(self) -> None:
        self._checkpoint_path = str(self.workspace.ledger.folder / CHECKPOINT)
        folder = self.workspace.folder / CALLS
        folder.mkdir(exist_ok=True)
        with FileLock(folder / OPENING):  # two that begin together would seal the same calls twice
            seal_left(self.workspace.ledger, folder)

    def passage(self, wish: Wish, region: str | None = None) -> Passage:
        """The step under which the source may be asked so now, opened if need be. region: where the asker is, if not
        where we are.

        Raises `Refused` when the terms, the region, the market or a recall forbid it.
        """
        self.look_again()
        found = self.standing(wish, region)
        if found is None:
            self._must_be_known(wish)
            try:
                self._enter(wish, self.today())
            except Refused as err:
                self._refused[wish, self.today()] = str(err)
                raise
            found = self.standing(wish, region)
            assert found is not None  # a day is longer than this takes; else the next call opens it
        return found

    def standing(self, wish: Wish, region: str | None = None) -> Passage | None:
        """As `passage`, of steps that are open; None when it is yet to be opened. Nothing is written or read."""
        day = self.today()
        if because := self._refused.get((wish, day)):
            raise Refused(because)
        found = self._open.get(wish)
        if found is None or found.day != day:
            return None
        self._must_serve(region, wish, day)
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
            about = os.stat(self._checkpoint_path)  # noqa: PTH116  looked at for every lot
        except OSError:
            return (-1, 0)  # `refresh` says what is wrong
        return (about.st_ino, about.st_mtime_ns)

    def look_again(self) -> None:
        """Closes steps of another day, and those of a source that was recalled since. Cheap while nothing happened."""
        day = self.today()
        for wish in [wish for wish, found in self._open.items() if found.day != day]:
            self._leave(wish)
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

    def _must_be_known(self, wish: Wish) -> None:
        """A client may make up names of features without end, and the ledger need not hear of each."""
        for feature in wish.features:
            if feature not in self.workspace.catalog.features:
                raise Refused(
                    f"{wish.source} may not be asked with the feature {feature!r}: no text about it is known here. To "
                    f"settle it: read what the maker says of it, and add it to the workspace's terms folder with "
                    f"`features = [{feature!r}]`; or ask without it"
                )

    def _enter(self, wish: Wish, day: date) -> Passage:
        config = {"day": day.isoformat(), "passage": token_hex(8)}  # no two alike: each is a step of its own
        with ExitStack() as stack:
            step = stack.enter_context(
                self.workspace.step(
                    "gateway",
                    ask={wish.source: wish.use},
                    features={wish.source: wish.features},
                    market=wish.market,
                    config=config,
                )
            )
            calls = Calls(self.workspace.folder / CALLS, step.run)
            stack.callback(calls.close)
            passage = Passage(step=step, calls=calls, day=day, closing=stack.pop_all())
        self._open[wish] = passage
        return passage

    def _leave_what_was_recalled(self, day: date) -> None:
        for wish, passage in list(self._open.items()):
            try:
                passage.step.look_again()
            except Refused as err:
                self._refused[wish, day] = str(err)
                self._leave(wish, err)

    def _must_serve(self, region: str | None, wish: Wish, day: date) -> None:
        """The step was admitted for the workspace's region; a key may be used from another."""
        if region is None:
            return
        known = (wish, region, day)
        if known not in self._elsewhere:
            facts = replace(self.workspace.facts, region=region, market=wish.market or None)
            verdict = may_ask(wish.source, wish.use, facts, day, self.workspace.catalog, wish.features)
            self._elsewhere[known] = "" if verdict.permitted else str(verdict)
        if because := self._elsewhere[known]:
            raise Refused(f"from region {region!r}: {because}")

    def _leave(self, wish: Wish, err: Refused | None = None) -> None:
        passage = self._open.pop(wish)
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
