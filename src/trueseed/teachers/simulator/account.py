"""The account that is simulated: whom it lets in, how it refuses the others, what it bills. All its state is here."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypedDict

from trueseed.teachers.simulator.answers import Spoken, said
from trueseed.teachers.simulator.behaviour import BILLED, Behaviour, Fault
from trueseed.teachers.simulator.book import Book, Line, Sum, key_id
from trueseed.teachers.simulator.dialects import Dialect, Headers, Situation, duration, whole_seconds
from trueseed.teachers.simulator.limits import Limits
from trueseed.teachers.simulator.question import Question

_FALSE_ALARM_S = 1.0  # what the fault `rate_limited` asks to wait


class Refusal(Exception):  # noqa: N818
    """The call ends with this error instead of an answer."""

    def __init__(self, status: int, body: dict[str, Any], headers: Headers) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that was let in: what will be said, by which model, how it goes wrong, how long it takes. era: resets
    before it.
    """

    question: Question
    dialect: Dialect
    key: str
    number: int
    spoken: tuple[Spoken, ...]
    fault: Fault | None
    latency_s: float
    era: int
    model: str

    @property
    def completion_tokens(self) -> int:
        return sum(each.tokens for each in self.spoken)


class Counts(TypedDict):
    """What the provider saw. arrived: all chat calls, refused ones too. refused: by situation. faults: by kind.

    billed, prompt_tokens, completion_tokens: see `book`. distinct: different questions billed; repeated: bills beyond
    the first of a question. open: let in and not yet billed or failed. by_model, by_key, by_dialect: of the billed.
    reached_suspended: calls that came while the account was suspended, by dialect.
    """

    arrived: int
    admitted: int
    refused: dict[str, int]
    faults: dict[str, int]
    billed: int
    prompt_tokens: int
    completion_tokens: int
    distinct: int
    repeated: int
    open: int
    suspended: bool
    by_model: dict[str, int]
    by_key: dict[str, int]
    by_dialect: dict[str, int]
    reached_suspended: dict[str, int]


@dataclass(slots=True)
class _Tally:
    arrived: int = 0
    known: int = 0  # of those that arrived, with a valid key
    admitted: int = 0
    open: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    suspended: Counter[str] = field(default_factory=Counter)
    tries: Counter[bytes] = field(default_factory=Counter)
    promised: Sum = field(default_factory=Sum)  # billed, or let in and going to be


class Account:
    """clock: seconds that only go forward, for the limits. wall: Unix time, for the book."""

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self.wall, self._era = clock, wall, 0
        self.behave(behaviour)
        self.reset()

    def behave(self, behaviour: Behaviour) -> None:
        """From now on. Buckets start full again; a suspension lasts, what was counted stays."""
        self.behaviour = behaviour
        self._shares = behaviour.faults.shares()
        self._limits = Limits(
            requests=behaviour.requests_per_minute,
            tokens=behaviour.tokens_per_minute,
            minute_s=behaviour.minute_s,
            clock=self._clock,
        )
        self._suspend_at = behaviour.suspend_at

    def reset(self) -> None:
        """As new, with the same behaviour. Calls that are open will be answered and not be counted."""
        self._era += 1
        self.book, self._tally, self._suspended = Book(), _Tally(), False
        self.behave(self.behaviour)

    def suspend(self) -> None:
        self._suspended = True

    def lift(self) -> None:
        """Ends the suspension for good: the planned one does not come again."""
        self._suspended, self._suspend_at = False, 0

    def admit(self, question: Question, dialect: Dialect, key: str) -> Admitted:
        """Lets a call in that `recognise` let pass. Raises `Refusal`, and `Unreadable` for an impossible schema."""
        if question.model not in self.behaviour.models:
            raise self.refusal("no_model", dialect, model=question.model)
        if self.behaviour.filtered and self.behaviour.filtered in question.prompt:
            raise self.refusal("filtered", dialect)
        spoken = tuple(said(question, index, self.behaviour) for index in range(question.choices))
        tokens = sum(each.tokens for each in spoken)
        wanted = question.prompt_tokens + (question.choices * question.limit if question.limit else tokens)
        if self.behaviour.context_tokens and wanted > self.behaviour.context_tokens:
            raise self.refusal("context", dialect, limit=self.behaviour.context_tokens, wanted=wanted)
        self._within_quota(dialect)
        self._within_limits(question, dialect, wanted)
        fault, latency_s = self._fate(question)
        model = self.behaviour.served or question.model
        self._tally.admitted += 1
        self._tally.open += 1
        if fault is None or fault in BILLED:
            self._tally.promised.add(1, question.prompt_tokens, tokens)
        return Admitted(question, dialect, key, self._tally.admitted, spoken, fault, latency_s, self._era, model)

    def recognise(self, dialect: Dialect, key: str) -> None:
        """Looks at who calls. Raises `Refusal` when they may not. Not counted: `arrived` does that for chat calls."""
        if self.behaviour.region_refused:
            raise self.refusal("region", dialect)
        if not key:
            raise self.refusal("no_key", dialect)
        if self.behaviour.keys and key not in self.behaviour.keys:
            raise self.refusal("wrong_key", dialect, key=_masked(key))
        if self._suspended:
            raise self.refusal("suspended", dialect)

    def arrived(self, dialect: Dialect, key: str) -> None:
        """A chat call came. Raises `Refusal` when who calls may not."""
        tally = self._tally
        tally.arrived += 1
        if not self.behaviour.keys or key in self.behaviour.keys:
            tally.known += 1
            self._suspended = self._suspended or 0 < self._suspend_at <= tally.known
        if self._suspended:
            tally.suspended[dialect.name] += 1
        self.recognise(dialect, key)

    def bill(self, call: Admitted) -> None:
        """The answer exists."""
        if call.era != self._era:
            return
        minute = int(self.wall()) // 60 * 60
        line = Line(minute, call.question.model, key_id(call.key), call.dialect.name)
        self.book.bill(line, call.question.identity, call.question.prompt_tokens, call.completion_tokens)

    def ended(self, call: Admitted) -> None:
        """The call is billed now, or failed."""
        if call.era != self._era:
            return
        self._tally.open -= 1
        if call.fault:
            self._tally.faults[call.fault] += 1

    def failure(self, call: Admitted) -> Refusal:
        """The error of a call whose fault is one."""
        if call.fault == "rate_limited":
            limit = self.behaviour.requests_per_minute
            return self._short("requests", call.dialect, _FALSE_ALARM_S, model=call.question.model, limit=limit)
        return self._error("overloaded" if call.fault == "overloaded" else "server_error", call.dialect)

    def refusal(self, situation: Situation, dialect: Dialect, **given: object) -> Refusal:
        """What to raise; it is counted."""
        self._tally.refused[situation] += 1
        return self._error(situation, dialect, **given)

    def _error(self, situation: Situation, dialect: Dialect, **given: object) -> Refusal:
        saying = dialect.sayings[situation]
        disabled = situation == "suspended" and dialect.name == "anthropic"
        status = self.behaviour.disabled_status if disabled else saying.status
        return Refusal(status, saying.body(**given), [])

    def rate_headers(self, dialect: Dialect) -> Headers:
        if self.behaviour.rate_headers == "absent":
            return []
        rooms = self._limits.rooms
        if self.behaviour.rate_headers == "absurd":
            return dialect.absurd_headers(rooms)
        return dialect.rate_headers(rooms, self.wall())

    def counts(self) -> Counts:
        tally, book = self._tally, self.book
        return Counts(
            arrived=tally.arrived,
            admitted=tally.admitted,
            refused=dict(tally.refused),
            faults=dict(tally.faults),
            billed=book.total.calls,
            prompt_tokens=book.total.prompt_tokens,
            completion_tokens=book.total.completion_tokens,
            distinct=len(book.questions),
            repeated=book.total.calls - len(book.questions),
            open=tally.open,
            suspended=self._suspended,
            by_model=book.by("model"),
            by_key=book.by("key"),
            by_dialect=book.by("dialect"),
            reached_suspended=dict(tally.suspended),
        )

    def _within_quota(self, dialect: Dialect) -> None:
        promised = self._tally.promised
        calls, tokens = self.behaviour.quota_requests, self.behaviour.quota_tokens
        if (calls and promised.calls >= calls) or (
            tokens and promised.prompt_tokens + promised.completion_tokens >= tokens
        ):
            raise self.refusal("quota", dialect)

    def _within_limits(self, question: Question, dialect: Dialect, wanted: int) -> None:
        short = self._limits.take(wanted)
        if short is not None:
            kind, wait_s = short
            room = self._limits.rooms[kind]
            given = {"limit": room.limit, "used": room.limit - room.left, "wanted": wanted}
            situation: Situation = "requests" if kind == "requests" else "tokens"
            self._tally.refused[situation] += 1
            raise self._short(situation, dialect, wait_s, model=question.model, **given)

    def _short(self, situation: Situation, dialect: Dialect, wait_s: float, **given: object) -> Refusal:
        refusal = self._error(situation, dialect, **given, wait=duration(wait_s), seconds=whole_seconds(wait_s))
        if self.behaviour.retry_after:
            refusal.headers.append((b"retry-after", self.behaviour.retry_after.encode()))
        elif self.behaviour.rate_headers == "true":
            refusal.headers += dialect.retry_headers(wait_s)
        return refusal

    def _fate(self, question: Question) -> tuple[Fault | None, float]:
        """How this try of the question ends and how long it takes: the next try has another fate, the same each run."""
        tries = self._tally.tries
        tries[question.identity] += 1
        behaviour = self.behaviour
        if not self._shares and not behaviour.latency_spread_s:
            return None, behaviour.latency_s
        material = b"%d:%d:" % (behaviour.seed, tries[question.identity]) + question.identity
        drawn = blake2b(material, digest_size=16).digest()
        luck, late = (int.from_bytes(half) / 2**64 for half in (drawn[:8], drawn[8:]))
        latency_s = behaviour.latency_s + late * behaviour.latency_spread_s
        for kind, share in self._shares:
            luck -= share
            if luck < 0:
                return kind, latency_s
        return None, latency_s


def _masked(key: str) -> str:
    """As OpenAI shows a wrong key."""
    return f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}" if len(key) > 12 else "*" * len(key)
