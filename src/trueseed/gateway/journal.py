"""Calls that were settled, a line each in the journal of their step: now, or as soon as there is room again.

A call that cannot be journalled does not let its answer go, and until it is journalled no other leaves.
"""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trueseed.core.canonical import now
from trueseed.errors import Paused
from trueseed.gateway.door import Passage
from trueseed.gateway.ticket import Ended, Return, Ticket
from trueseed.similarity.remembered import Mark
from trueseed.teachers.account.amounts import Amount

TELL_EVERY_S = 60.0
_Back = tuple[Return, Amount]  # what came back, and what it is charged
_log = logging.getLogger(__name__)


class Unwritten(Paused):
    """The journal or the ledger cannot be written now (a full disk): nothing is forwarded until it can be."""


class Journal:
    """Of every step. done: tells that a call of a passage is through, when its line had to wait. said: takes in what
    was let go, to be remembered.
    """

    def __init__(self, done: Callable[[Passage], None], said: deque[Return]) -> None:
        self._done, self._said = done, said
        self._waiting: list[_Back] = []
        self._told_at = -TELL_EVERY_S

    def write(self, back: Sequence[_Back]) -> Mapping[int, Unwritten]:
        """Writes down what was committed; says of what could not be, by the `id` of its return, why. That waits."""
        stuck = self._write(back)
        self._waiting += [(_held_back(each), amount) for each, amount in back if id(each) in stuck]
        return stuck

    def write_late(self) -> Unwritten | None:
        """What waits; says why that cannot be done. Nothing leaves before."""
        if not self._waiting:
            return None
        stuck, waited = self._write(self._waiting), self._waiting
        self._waiting = [back for back in waited if id(back[0]) in stuck]
        for each, _ in waited:
            if id(each) not in stuck:
                self._done(each.ticket.passage)
        return next(iter(stuck.values()), None)

    def close(self) -> None:
        """The last time. What cannot be written then stands in the account alone."""
        if self.write_late():
            _log.error("%d calls that the account has are not in the journal", len(self._waiting))

    def cannot(self, err: Exception) -> Unwritten:
        """Where and why is for the operator, told now and then: a full disk need not be filled with that."""
        if time.monotonic() - self._told_at > TELL_EVERY_S:
            self._told_at = time.monotonic()
            _log.error("nothing is forwarded until calls can be written down: %s", err)
        return Unwritten("calls cannot be written down now, so nothing is forwarded; try again when there is room")

    def _write(self, back: Sequence[_Back]) -> Mapping[int, Unwritten]:
        by_passage, stuck, at = defaultdict[int, list[_Back]](list), dict[int, Unwritten](), now()
        for each, amount in back:
            by_passage[id(each.ticket.passage)].append((each, amount))
        for of_one in by_passage.values():
            calls = of_one[0][0].ticket.passage.calls
            try:
                calls.extend([_line(each.ticket, each.ended, amount, at) for each, amount in of_one])
            except Exception as err:
                stuck |= {id(each): self.cannot(err) for each, _ in of_one}
            else:
                self._count(of_one)
        return stuck

    def _count(self, back: Sequence[_Back]) -> None:
        for each, amount in back:
            counts = each.ticket.passage.step.counts
            counts["calls"] += 1
            counts[each.ended.end] += 1
            counts["tokens"] += amount.tokens
            counts["micros"] += amount.micros
            if each.ended.texts:
                self._said.append(each)


def marked(back: Return) -> list[tuple[str, Mark]]:
    """The texts of an answer that was let go, each with whose it is, to be remembered."""
    ticket = back.ticket
    about = f"relayed to {ticket.use.value} for {ticket.key.grant.project!r} on {ticket.at[:10]}"
    terms = ticket.passage.step.terms_of(ticket.wanted.source)
    mark = Mark(source=ticket.wanted.source, terms=terms, record=ticket.id, about=about)
    return [(text, mark) for text in back.ended.texts]


def _held_back(back: Return) -> Return:
    """As it is journalled later, when its answer was not let go. Its step stays open until then."""
    back.ticket.passage.in_flight += 1
    because = "it could not be journalled, so its answer was not let go"
    return Return(back.ticket, replace(back.ended, answer="", texts=(), because=because))


def _line(ticket: Ticket, ended: Ended, charged: Amount, at: str) -> dict[str, Any]:
    """What the journal says of a call."""
    return {
        "call": ticket.id,
        "asked_at": ticket.at,
        "settled_at": at,
        "source": ticket.wanted.source,
        "use": ticket.use.value,
        "project": ticket.key.grant.project,
        "key": ticket.key.id,
        "reservation": ticket.reservation.id,
        "request": ticket.wanted.request,
        "answer": ended.answer,
        "end": ended.end,
        "status": ended.status,
        "usage": "told" if ended.usage else "not told",
        "tokens": charged.tokens,
        "micros": charged.micros,
        "because": ended.because,
    }
