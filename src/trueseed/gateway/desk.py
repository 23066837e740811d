"""Admission before a call leaves, settlement before its answer does. All that is written is written here.

Everything goes through one desk, since every call writes to the same file and writers would only wait for each other.
Calls that wait together are worked on together: one transaction settles those that came back and admits those that want
to leave, each judged by itself and in order: the key, the model, the use, the terms, the key's budget, the allowance
with its holds. What is reserved is committed before the call leaves, so a killed gateway has charged whatever was in
flight.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from threading import Lock

from trueseed.access.faults import Fault
from trueseed.access.keys import Key, Keys, Unauthorised
from trueseed.core.canonical import now
from trueseed.core.driver import Driver
from trueseed.errors import ConfigError, TrueSeedError
from trueseed.gateway.door import Door, Passage, Wish
from trueseed.gateway.journal import Journal, marked
from trueseed.gateway.settings import Offered
from trueseed.gateway.ticket import Ask, End, Ended, Return, Ticket
from trueseed.similarity.remembered import Remembered, sketch
from trueseed.teachers.account.allowance import Allowance, Amount, Reservation
from trueseed.teachers.account.charging import Closed
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.lots import Shortly
from trueseed.teachers.account.state import Account, AccountUnavailable, Busy
from trueseed.teachers.api.actions import Action
from trueseed.teachers.api.forward import Upstream
from trueseed.teachers.api.suspension import suspended
from trueseed.teachers.api.wire import Usage
from trueseed.terms.model import Use, parse_source

AT_ONCE, REST_S, MANY = 4, 0.002, 500  # answers to remember: with more than these waiting, there is no rest
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Judged:
    """An ask that may leave once its reservation is committed."""

    ask: Ask
    key: Key
    wish: Wish
    upstream: Upstream
    passage: Passage
    surcharge: int


class _Unopened(Exception):  # noqa: N818
    """A step is yet to be opened, which takes a while."""


Verdict = Ticket | Amount | Exception


class Desk:
    """Used by one thread at a time, but for `keep` and `seal`."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        *,
        offered: Mapping[str, Offered] | None = None,
        account: Account,
        keys: Keys,
        door: Door,
        allowance: Allowance,
        holds: Holds,
        remembered: Remembered,
    ) -> None:
        self._upstreams, self._account, self._keys, self._door = upstreams, account, keys, door
        self._offered = offered or {}
        self._ways = {source: upstream.way for source, upstream in upstreams.items()}
        self._allowance, self._holds, self._remembered = allowance, holds, remembered
        self._is_on_a_server = not account.name.startswith("sqlite:")
        self._remembering = Lock()
        self._said: deque[Return] = deque()
        self._journal = Journal(door.done, self._said)

    def models(self, token: str) -> list[str]:
        """The sources that the key reaches. Raises `Unauthorised`."""
        key = self._keys.authenticate(token)
        return [source for source in self._upstreams if key.reaches(source)]

    def at_once(self, lot: Sequence[Ask | Return]) -> list[Verdict] | None:
        """As `work`, if nothing need be waited for: no other writer, no server, no disk, no step to be opened. Else
        None, and nothing was done; nor was it when it raises `Shortly`.
        """
        if not self._door.is_current:
            return None
        try:
            verdicts = self._together(lot, wait=False)
        except Busy as err:
            if self._is_on_a_server:
                return None
            raise Shortly from err
        except Exception:  # nothing was committed, and `work` finds out why
            return None
        self._done(lot)
        return verdicts

    def work(self, lot: Sequence[Ask | Return]) -> list[Verdict]:
        """What becomes of each: of an ask its `Ticket`, of a call that came back the `Amount` that it is charged; on
        return both are committed, and those that came back journalled. Or the reason why not:

        of an ask `Unauthorised`, `Fault` for a model or use that the key does not permit, `Refused` for terms, recalls
        and holds, `BudgetSpent`, `Exhausted`, `OutOfQuota`, `AccountUnavailable`, `Unwritten`; then nothing is charged
        for it and nothing may be forwarded. Of a call that came back `AccountUnavailable`, when it cannot be committed:
        it stays reserved; or `Unwritten`, when it cannot be journalled: it is settled, and journalled when that can be
        done again. The answer must not be let go then.
        """
        if not lot:
            return []
        try:
            verdicts = self._together(lot)
        except TrueSeedError as err:  # the account cannot be had
            verdicts = [err] * len(lot)
        except Exception as err:
            if len(lot) > 1:  # nothing was committed: whose fault it is shows when each goes alone
                return [verdict for each in lot for verdict in self.work([each])]
            verdicts = [err]
        self._done(lot)
        return verdicts

    def _done(self, lot: Sequence[Ask | Return]) -> None:
        for each in lot:
            if isinstance(each, Return):
                self._door.done(each.ticket.passage)

    def _together(self, lot: Sequence[Ask | Return], *, wait: bool = True) -> list[Verdict]:
        """One transaction. After an exception nothing of it was committed."""
        returns = [(place, each) for place, each in enumerate(lot) if isinstance(each, Return)]
        asks = [(place, each) for place, each in enumerate(lot) if isinstance(each, Ask)]
        verdicts: dict[int, Verdict] = {}
        charged = [self._charged(each.ticket, each.ended) for _, each in returns]
        if asks and (because := self._journal.write_late() or self._recalls_unknown()):
            verdicts |= {place: because for place, _ in asks}
            asks = []
        with self._account.turn(wait=wait) as driver:
            if returns:
                self._settle(driver, [each for _, each in returns], charged)
            told = self._admit(driver, [ask for _, ask in asks]) if asks else []
            if None in told and not wait:
                raise _Unopened
        if returns:
            back = [(each, amount) for (_, each), amount in zip(returns, charged, strict=True)]
            stuck = self._journal.write(back)
            verdicts |= {
                place: stuck.get(id(each), amount) for (place, each), (_, amount) in zip(returns, back, strict=True)
            }
        early: list[tuple[int, Ask]] = []
        for (place, ask), said in zip(asks, told, strict=True):
            if isinstance(said, Ticket):
                said.passage.in_flight += 1
            if said is None:
                early.append((place, ask))
            else:
                verdicts[place] = said
        if early:
            verdicts |= dict(zip((place for place, _ in early), self._opened([ask for _, ask in early]), strict=True))
        return [verdicts[place] for place in range(len(lot))]

    def _recalls_unknown(self) -> Exception | None:
        """Looks for recalls; says why that cannot be done."""
        try:
            self._door.look_again()
        except (ConfigError, OSError) as err:
            return self._journal.cannot(err)
        except TrueSeedError as err:
            return err
        return None

    def _opened(self, asks: list[Ask]) -> list[Verdict]:
        """Verdicts on asks that were judged but for a step, which is opened now, outside of any transaction."""
        failed: dict[int, Verdict] = {}
        for place, ask in enumerate(asks):
            try:
                key = self._keys.authenticate(ask.token)
                self._door.passage(self._wish(key, ask), key.grant.region)
            except (ConfigError, OSError) as err:
                failed[place] = self._journal.cannot(err)
            except Exception as err:
                failed[place] = err
        left = iter(self.work([ask for place, ask in enumerate(asks) if place not in failed]))
        return [failed[place] if place in failed else next(left) for place in range(len(asks))]

    # -- admission -------------------------------------------------------------------------------------------------

    def _admit(self, driver: Driver, asks: Sequence[Ask]) -> list[Ticket | Exception | None]:
        """None for an ask whose step is yet to be opened."""
        lot, keys, spent = self._allowance.lot(driver), dict[str, Key | Unauthorised](), Counter[str]()
        at_once, verdicts, judged = datetime.now(UTC), list[Exception | None](), list[_Judged | None]()
        for ask in asks:
            if ask.token not in keys:
                keys[ask.token] = self._keys.within(driver, ask.token, at_once)
            verdict: Exception | None = None
            found: _Judged | None = None
            try:
                found = self._judge(ask, keys[ask.token])
                if found:
                    most = _amount(found.upstream, ask.wanted.most, found.surcharge)
                    found.key.must_afford(most.micros, besides=spent[found.key.id])
                    lot.take(
                        source=ask.wanted.source,
                        use=found.wish.use,
                        project=found.key.grant.project,
                        request=ask.wanted.request,
                        upper=most,
                        way=self._ways[ask.wanted.source],
                    )
                    if found.key.grant.budget_micros is not None:
                        spent[found.key.id] += most.micros
            except (TrueSeedError, Fault) as err:
                verdict, found = err, None
            verdicts.append(verdict)
            judged.append(found)
        self._keys.count(driver, spent)
        reservations, at = iter(lot.write()), now()
        return [
            _ticket(found, next(reservations), at) if found else verdict
            for found, verdict in zip(judged, verdicts, strict=True)
        ]

    def _judge(self, ask: Ask, key: Key | Unauthorised) -> _Judged | None:
        """All but money; None when the step is yet to be opened. Raises what is against it."""
        if isinstance(key, Unauthorised):
            raise key
        upstream, wish = self._upstream(key, ask.wanted.source), self._wish(key, ask)
        passage = self._door.standing(wish, key.grant.region)
        return _Judged(ask, key, wish, upstream, passage, self._surcharge(wish, ask)) if passage else None

    def _wish(self, key: Key, ask: Ask) -> Wish:
        """What the terms are asked: with every feature that the request shows, or that it, its key or the upstream
        declares. A market is served by answers that are for people alone.
        """
        source, use = ask.wanted.source, _use(key, ask.use)
        offered = self._offered.get(source)
        features = {*ask.features, *key.grant.features, *(offered.features if offered else ())}
        features |= {each.feature for each in ask.wanted.features}
        market = key.grant.market if use in (Use.SERVE, Use.PUBLISH) else None
        return Wish(source, use, tuple(sorted(features)), market or "")

    def _surcharge(self, wish: Wish, ask: Ask) -> int:
        """Micros, for the features. Raises `Fault` when it is not known what one costs that the request asks for."""
        offered = self._offered.get(wish.source)
        for each in ask.wanted.features:
            if offered is None or each.feature not in offered.surcharges:
                raise Fault(
                    400,
                    f"{each.parameter}: it asks for {each.feature!r}, which is not billed by tokens of text, and its "
                    f"cost is not known here; leave it out, or have `surcharges: {{{each.feature}: …}}` given",
                    code="invalid_value",
                    param=each.parameter,
                )
        return offered.surcharge(wish.features) if offered else 0

    # -- settlement ------------------------------------------------------------------------------------------------

    def _settle(self, driver: Driver, returns: Sequence[Return], charged: Sequence[Amount]) -> None:
        ended, corrected = list[Closed](), Counter[str]()
        for each, amount in zip(returns, charged, strict=True):
            call = each.ticket.reservation
            if state := _STATES[each.ended.end]:
                ended.append(Closed(call, amount, state, self._ways[call.source], each.ended.refusal))
            if each.ticket.key.grant.budget_micros is not None:
                corrected[each.ticket.key.id] += amount.micros - call.upper.micros
        if ended:
            self._allowance.settle_all(driver, ended)
        self._keys.count(driver, corrected)

    # -- besides ---------------------------------------------------------------------------------------------------

    def suspended(self, ticket: Ticket, action: Action, said: str) -> None:
        """The maker suspended the account: it goes on hold, on every route and with every key."""
        source, workspace = ticket.wanted.source, ticket.passage.step.workspace
        told = {"source": source, "because": action.because, "said": said}
        suspended(workspace, self._holds, **told, way=self._ways[source])

    def keep(self) -> None:
        """What need not be done before an answer is let go, and may run beside: the disk has the journals and the
        account, and the answers since the last time are remembered. A kill forgets those of that time.
        """
        self._door.sync()
        with suppress(AccountUnavailable):  # the next call hears of it
            self._account.tidy()
        with self._remembering:  # the last time may still be at it when the gateway closes
            back = [self._said.popleft() for _ in range(len(self._said))]
            said = [answer for each in back for answer in marked(each)]
            sketches = []
            for number, answer in enumerate(said, start=1):
                sketches.append(sketch(*answer))
                # A few at once and a rest between: what computes here keeps the event loop from its turn.
                if number % AT_ONCE == 0 and len(said) < MANY:
                    time.sleep(REST_S)
            if sketches:
                self._remembered.keep(sketches)

    def seal(self) -> None:
        self._door.seal()
        self._write_quotas()

    def close(self) -> None:
        try:
            self.keep()
        except ConfigError as err:  # what was not kept is lost with the machine only
            _log.error("%s", err)
        self._journal.close()
        try:
            self._write_quotas()
        except (TrueSeedError, OSError) as err:  # they stand in the account, and are written by whoever comes next
            _log.error("quotas that were met are not in the ledger yet: %s", err)
        self._door.close()
        self._remembered.close()

    def _write_quotas(self) -> None:
        for maker in {parse_source(source).maker for source in self._upstreams}:
            self._allowance.quotas.write_down(self._door.workspace, maker)

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
                return _amount(ticket.upstream, ended.usage, ticket.surcharge)
            case "declined":
                return Amount(requests=1)
            case "unsent":
                return Amount()
        return ticket.reservation.upper


_STATES: Mapping[End, str] = {
    "answered": "answered",
    "declined": "failed",
    "garbled": "failed",
    "unsent": "released",
    "unknown": "",  # stays reserved
}


def _ticket(judged: _Judged, reservation: Reservation, at: str) -> Ticket:
    return Ticket(
        id=f"call-{token_hex(8)}",
        key=judged.key,
        use=judged.wish.use,
        wanted=judged.ask.wanted,
        upstream=judged.upstream,
        passage=judged.passage,
        reservation=reservation,
        at=at,
        surcharge=judged.surcharge,
    )


def _use(key: Key, declared: str | None) -> Use:
    """The use that is meant. Raises `Fault` when it is not said, is no use, or the key does not permit it."""
    if declared is None and len(key.grant.uses) == 1:
        return next(iter(key.grant.uses))
    permitted = sorted(key.grant.uses)
    if declared is None:
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


def _amount(upstream: Upstream, usage: Usage, surcharge: int) -> Amount:
    micros = upstream.price.micros(usage.prompt, usage.completion) + surcharge
    return Amount(requests=1, tokens=usage.tokens, micros=micros)
