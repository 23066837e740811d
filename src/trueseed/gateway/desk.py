"""Admission before a call leaves, settlement before its answer does. All that is written is written here.

Everything runs in one thread, since every call writes to the same file and writers would only wait for each other. In
order: the key, the model, the use, the terms, the key's budget, the allowance with its holds. What is reserved is
committed before the call leaves, so a killed gateway has charged whatever was in flight.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Literal

from trueseed.access.faults import Fault
from trueseed.access.keys import Key, Keys
from trueseed.core.canonical import now
from trueseed.gateway.door import Door, Passage
from trueseed.gateway.wanted import Wanted
from trueseed.similarity.remembered import Remembered
from trueseed.teachers.actions import Action
from trueseed.teachers.allowance import Allowance, Amount, Reservation
from trueseed.teachers.forward import Upstream
from trueseed.teachers.holds import Holds, hold
from trueseed.teachers.wire import Usage
from trueseed.terms.model import Use, parse_source

End = Literal["answered", "declined", "garbled", "unknown", "unsent"]


@dataclass(slots=True, kw_only=True)
class Ticket:
    """An admitted call. id: as the client and the journal know it. at: when it was admitted."""

    id: str
    key: Key
    use: Use
    wanted: Wanted
    upstream: Upstream
    passage: Passage
    reservation: Reservation
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call came back, and what it is charged.

    answered: by its usage, or without one as it was reserved. declined: the provider said no, and bills none. garbled:
    something came that is no answer, charged as reserved. unknown: nobody knows whether it arrived; it stays reserved
    until it is reconciled. unsent: it never left, and is charged nothing.

    status: of the provider's response, 0 without. answer: SHA-256 of the bytes that were relayed, '' for none. texts:
    what was said, for the memory of answers.
    """

    end: End
    status: int = 0
    usage: Usage | None = None
    answer: str = ""
    texts: tuple[str, ...] = ()
    because: str = ""


class Desk:
    """Used from one thread only, but for `keep`."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        *,
        keys: Keys,
        door: Door,
        allowance: Allowance,
        holds: Holds,
        remembered: Remembered,
    ) -> None:
        self._upstreams, self._keys, self._door = upstreams, keys, door
        self._ways = {source: upstream.way for source, upstream in upstreams.items()}
        self._allowance, self._holds, self._remembered = allowance, holds, remembered
        self._said: deque[tuple[str, str, str]] = deque()  # answers to remember: text, source, about

    def models(self, token: str) -> list[str]:
        """The sources that the key reaches. Raises `Unauthorised`."""
        key = self._keys.authenticate(token)
        return [source for source in self._upstreams if key.reaches(source)]

    def admit(self, token: str, use: str | None, wanted: Wanted) -> Ticket:
        """Room for the call, or the reason why not. use: as the client declared it, None when it did not.

        Raises `Unauthorised`, `Fault` for a model or use that the key does not permit, `Refused` for terms, recalls and
        holds, `BudgetSpent`, `Exhausted`, `AccountUnavailable`; then nothing is charged and nothing may be forwarded.
        """
        key = self._keys.authenticate(token)
        upstream = self._upstream(key, wanted.source)
        meant = _use(key, use)
        passage = self._door.passage(wanted.source, meant, key.grant.region)
        most = _amount(upstream, wanted.most)
        self._keys.charge(key, most.micros)
        try:
            reservation = self._allowance.reserve(
                source=wanted.source,
                use=meant,
                project=key.grant.project,
                request=wanted.request,
                upper=most,
                way=self._ways[wanted.source],
            )
        except BaseException:
            self._keys.correct(key, -most.micros)
            raise
        passage.in_flight += 1
        return Ticket(
            id=f"call-{token_hex(8)}",
            key=key,
            use=meant,
            wanted=wanted,
            upstream=upstream,
            passage=passage,
            reservation=reservation,
            at=now(),
        )

    def settle(self, ticket: Ticket, ended: Ended) -> Amount:
        """What the call is charged; on return it is committed and journalled.

        Raises `AccountUnavailable` when it cannot be committed; then it stays reserved, and the answer is not let go.
        """
        charged = self._charged(ticket, ended)
        try:
            match ended.end:
                case "unsent":
                    self._allowance.release(ticket.reservation)
                case "answered":
                    self._allowance.settle(ticket.reservation, charged, "answered")
                case "declined" | "garbled":
                    self._allowance.settle(ticket.reservation, charged, "failed")
            self._keys.correct(ticket.key, charged.micros - ticket.reservation.upper.micros)
            self._journal(ticket, ended, charged)
            about = f"relayed to {ticket.use.value} for {ticket.key.grant.project!r} on {ticket.at[:10]}"
            self._said.extend((text, ticket.wanted.source, about) for text in ended.texts)
        finally:
            self._door.done(ticket.passage)
        return charged

    def suspended(self, ticket: Ticket, action: Action, evidence: str) -> None:
        """The maker suspended the account: it goes on hold, on every route and with every key."""
        maker, way = parse_source(ticket.wanted.source).maker, self._ways[ticket.wanted.source]
        said = {"reason": action.because, "evidence": evidence}
        hold(ticket.passage.step.workspace.ledger, self._holds, maker=maker, **said, way=way)

    def keep(self) -> None:
        """What need not be done before an answer is let go, and may run beside: the disk has the journals, and the
        answers since the last time are remembered. A kill forgets those of that time.
        """
        self._door.sync()
        said = [self._said.popleft() for _ in range(len(self._said))]
        if said:
            self._remembered.add_all(said)

    def seal(self) -> None:
        self._door.seal()

    def reachable(self) -> None:
        """Raises `AccountUnavailable` when no call could be admitted now."""
        self._keys.list()

    def close(self) -> None:
        self.keep()
        self._door.close()
        self._remembered.close()

    def _upstream(self, key: Key, source: str) -> Upstream:
        if source not in self._upstreams:
            there = (
                ", ".join(repr(each) for each in self._upstreams if key.reaches(each)) or "none that this key reaches"
            )
            raise Fault(
                404, f"there is no model {source!r} here; there is {there}", code="model_not_found", param="model"
            )
        if not key.reaches(source):
            raise Fault(
                403,
                f"{key.id} reaches {', '.join(key.grant.sources)}, which {source!r} is not",
                code="model_not_permitted",
                param="model",
            )
        return self._upstreams[source]

    def _charged(self, ticket: Ticket, ended: Ended) -> Amount:
        match ended.end:
            case "answered" if ended.usage is not None:
                return _amount(ticket.upstream, ended.usage)
            case "declined":
                return Amount(requests=1)
            case "unsent":
                return Amount()
        return ticket.reservation.upper

    def _journal(self, ticket: Ticket, ended: Ended, charged: Amount) -> None:
        step = ticket.passage.step
        step.count("calls")
        step.count(ended.end)
        step.count("tokens", charged.tokens)
        step.count("micros", charged.micros)
        ticket.passage.calls.append(
            {
                "call": ticket.id,
                "asked_at": ticket.at,
                "settled_at": now(),
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
        )


def _use(key: Key, declared: str | None) -> Use:
    """The use that is meant. Raises `Fault` when it is not said, is no use, or the key does not permit it."""
    permitted = sorted(key.grant.uses)
    if declared is None:
        if len(permitted) == 1:
            return permitted[0]
        raise Fault(
            400,
            f"{key.id} permits {', '.join(permitted)}; say which is meant in the header X-TrueSeed-Use",
            code="use_not_declared",
            param="X-TrueSeed-Use",
        )
    if declared not in permitted:
        raise Fault(
            403,
            f"{key.id} permits {', '.join(permitted)}, not {declared!r}; ask for a key for that use",
            code="use_not_permitted",
            param="X-TrueSeed-Use",
        )
    return Use(declared)


def _amount(upstream: Upstream, usage: Usage) -> Amount:
    return Amount(requests=1, tokens=usage.tokens, micros=upstream.price.micros(usage.prompt, usage.completion))
