"""A quota of the maker's own that is used up, as its refusal told: no other way of that maker is a way past it.

Of a limit of ours we know before a call, of a provider's own only its refusal tells. It leaves a mark on the maker and
our legal entity, in the transaction that settles the refused call, so that whoever asks next meets it: every other
route, key, account and aggregator of the maker is refused, from every workspace and process, as with a hold. But it is
a pause: the way on which it was met may be tried again, since the provider is who renews a quota. An answer on it, to
the same model and asked after the last refusal, ends the mark; so does the reviewer, with what permits another way.

An answer out of the cache asks nobody, and goes on.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from trueseed.core.canonical import canonical, now, sha256
from trueseed.core.driver import Driver, Statement
from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError, Paused
from trueseed.evidence import EVIDENCE, keep
from trueseed.ledger.log import Ledger
from trueseed.ledger.quotas import Said, said, written
from trueseed.ledger.statement import QUOTA, QUOTA_RELEASE, envelope, statement
from trueseed.teachers.account.clock import Clock, tick
from trueseed.teachers.account.holds import reviewer
from trueseed.teachers.account.state import Account
from trueseed.teachers.account.way import Way, known_again
from trueseed.terms.model import parse_source
from trueseed.workspace import Place

MOST_KEPT = 2_000  # characters of the provider's words
MOST_SHOWN = 200


class OutOfQuota(Paused):
    """The maker's own quota is used up for our legal entity, and this is another way than that on which it was met."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a provider said that a quota is used up. because: as the table of actions has it. said: in its own words,
    without keys.
    """

    because: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A quota that was met, on `way`. met_at, ended_at: account time, milliseconds since 1970. released: by the
    reviewer.
    """

    id: int
    maker: str
    entity: str
    model: str
    reason: str
    said: str
    way: Way
    met_at: int
    last_at: int
    ended_at: int | None
    released: bool

    @property
    def at(self) -> str:
        """When it was met, as RFC 3339 with milliseconds."""
        return _written(self.met_at)

    def __str__(self) -> str:
        told = f" ({self.said[:MOST_SHOWN]})" if self.said else ""
        key = f"the key {self.way.key[:8]}…" if self.way.key else "no key"
        return (
            f"{self.maker!r} said at {self.at} that {self.reason}{told}, on the route {self.way.route!r} at "
            f"{self.way.address} with {key}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "maker": self.maker,
            "entity": self.entity,
            "model": self.model,
            "reason": self.reason,
            "said": self.said,
            "way": asdict(self.way),
            "at": self.at,
        }


_ANY = Statement("SELECT 1 FROM quotas WHERE ended_at IS NULL LIMIT 1")
_COLUMNS = "id, maker, entity, model, reason, said, route, address, key, met_at, last_at, ended_at, release"
_STANDING = Statement(
    f"SELECT {_COLUMNS} FROM quotas WHERE entity = :entity AND maker = :maker AND ended_at IS NULL ORDER BY id"
)
_EVERY = Statement(f"SELECT {_COLUMNS} FROM quotas WHERE entity = :entity AND maker = :maker ORDER BY id")
_MET = Statement(
    "SELECT entity, maker, met_at, reason, route, address, key FROM quotas"
    " WHERE ended_at IS NULL AND ((address = :address AND entity = :entity) OR (key = :key AND key <> ''))"
    " ORDER BY id"
)
_AGAIN = Statement(
    "UPDATE quotas SET last_at = :at WHERE entity = :entity AND maker = :maker AND model = :model"
    " AND route = :route AND address = :address AND key = :key AND ended_at IS NULL"
)
_MEET = Statement(
    "INSERT INTO quotas (entity, maker, model, reason, said, route, address, key, met_at, last_at)"
    " VALUES (:entity, :maker, :model, :reason, :said, :route, :address, :key, :at, :at)"
)
_END = Statement("UPDATE quotas SET ended_at = :at WHERE id = :id")
_RELEASE = sql.text(
    "UPDATE quotas SET ended_at = :at, release = :release"
    " WHERE entity = :entity AND maker = :maker AND ended_at IS NULL"
)


def must_have_quota(driver: Driver, entity: str, source: str, way: Way | None) -> list[Mark]:
    """Raises `OutOfQuota`, saying what to do, when asking `source` this way would go past a mark, as of the transaction
    that `driver` is in. Else the marks that were met on this very way, which may be tried again. way: None is no way
    that could be known again.
    """
    if not driver.all(_ANY, {}):  # the usual case, at the cost of one look
        return []
    marks = _marks(driver, _STANDING, entity, parse_source(source).maker)
    own = [mark for mark in marks if mark.way == way]
    if marks and not own:
        raise OutOfQuota(f"{source!r} may not be asked this way: {marks[0]}; {_next(marks[0].maker)}")
    for met, because in known_again(driver, _MET, entity, source, way) if way and not own else ():
        if met.way != way:
            raise OutOfQuota(
                f"{source!r} may not be asked this way: {because} of which {met.maker!r} said at {_written(met.at)} "
                f"that {met.reason}, whatever name it is given; {_next(met.maker)}"
            )
    return own


def meet(driver: Driver, entity: str, source: str, way: Way, refusal: Refusal, at: int) -> None:
    """Marks the maker of `source`, in the writing transaction that `driver` is in. at: account time."""
    of = parse_source(source)
    about = {"entity": entity, "maker": of.maker, "model": of.model, **asdict(way), "at": at}
    if not driver.each(_AGAIN, [about]):
        driver.each(_MEET, [{**about, "reason": refusal.because, "said": refusal.said[:MOST_KEPT]}])


def answered(driver: Driver, entity: str, asked: Mapping[tuple[str, Way], int], clock: Clock) -> None:
    """Answers came: ends the marks that they show to be past, in the writing transaction that `driver` is in. asked: by
    source and way, when the last call that was answered was reserved, in account time.

    Of one model on every way: a maker that answers again where it had refused is not passed by.
    """
    if not asked or not driver.all(_ANY, {}):
        return
    for (source, way), at in asked.items():
        of = parse_source(source)
        marks = [mark for mark in _marks(driver, _STANDING, entity, of.maker) if mark.model == of.model]
        past = [mark for mark in marks if mark.last_at < at]
        if any(mark.way == way for mark in past):
            ended_at = tick(driver, clock)
            driver.each(_END, [{"id": mark.id, "at": ended_at} for mark in past])


class Quotas:
    """The marks of one legal entity on one account. Safe to share between threads."""

    def __init__(self, account: Account, entity: str, clock: Clock | None = None) -> None:
        self.entity = entity
        self._account, self._clock = account, clock or Clock()
        self._said: set[Said] = set()  # known to stand in the ledger

    def standing(self, maker: str) -> list[Mark]:
        """Oldest first. Raises `AccountUnavailable`."""
        with self._account.reading() as connection:
            return _marks(Driver.of(connection), _STANDING, self.entity, maker)

    def check(self, source: str, way: Way) -> list[Mark]:
        """As `must_have_quota`. Raises `AccountUnavailable` too."""
        with self._account.reading() as connection:
            return must_have_quota(Driver.of(connection), self.entity, source, way)

    def release(self, workspace: Place, maker: str, evidence: Path) -> list[Mark]:
        """Ends the marks on `maker`: in the ledger, signed by the reviewer, then in account state. evidence: a file
        that shows why other ways may be gone (a contract for a second account), which is kept in the workspace.

        A kill in between leaves them standing, and the same command ends them. Raises `ConfigError` when the file
        cannot be read or is empty, this user does not hold the reviewer's key, or none stands; `AccountUnavailable`.
        """
        marks = self.standing(maker)
        if not marks:
            raise ConfigError(f"no quota of {maker!r} is marked as used up for {self.entity!r}; there is none to end")
        signer = reviewer()
        self.write_down(workspace, maker)
        (document,) = keep(workspace.folder, [evidence])
        released = {"maker": maker, "entity": self.entity, "evidence": document.sha256, "at": now()}
        workspace.ledger.append(QUOTA_RELEASE, [], released, role="reviewer")
        signed = canonical(envelope(statement(QUOTA_RELEASE, [], released), signer)).decode()
        with self._account.writing() as connection:
            at = tick(Driver.of(connection), self._clock)
            connection.execute(_RELEASE, {"entity": self.entity, "maker": maker, "release": signed, "at": at})
        return marks

    def write_down(self, workspace: Place, maker: str) -> None:
        """Brings into the ledger what the account knows of the maker's quotas and the ledger does not: a kill between
        the two is made up for by whoever comes next. What the provider said is kept beside it, as evidence.

        Raises as `Ledger.append`, `AccountUnavailable`, and `OSError` when the words cannot be written.
        """
        with self._account.reading() as connection:
            marks = _marks(Driver.of(connection), _EVERY, self.entity, maker)
        told = {key: predicate for mark in marks for key, predicate in _statements(mark)}
        if told.keys() <= self._said:
            return
        for mark in marks:
            words = workspace.folder / EVIDENCE / f"{_evidence(mark)}.txt"
            if not words.exists():
                write_atomic(words, _words(mark))
        there = written(workspace.ledger)
        fresh = {key: (QUOTA, (), predicate) for key, predicate in told.items() if key not in there}

        def not_there(ledger: Ledger) -> None:
            if not fresh.keys().isdisjoint(written(ledger)):
                raise _Written

        with suppress(_Written):
            if fresh:
                workspace.ledger.append_all(fresh.values(), unless=not_there)
            self._said |= told.keys()


class _Written(Exception):  # noqa: N818
    """Another process wrote some of it meanwhile; the rest is written by whoever comes next."""


def _marks(driver: Driver, which: Statement, entity: str, maker: str) -> list[Mark]:
    return [_mark(row) for row in driver.all(which, {"entity": entity, "maker": maker})]


def _mark(row: Iterable[Any]) -> Mark:
    id_, maker, entity, model, reason, words, route, address, key, met_at, last_at, ended_at, release = row
    return Mark(
        id=int(id_),
        maker=maker,
        entity=entity,
        model=model,
        reason=reason,
        said=words,
        way=Way(route=route, address=address, key=key),
        met_at=int(met_at),
        last_at=int(last_at),
        ended_at=None if ended_at is None else int(ended_at),
        released=release is not None,
    )


def _statements(mark: Mark) -> Iterable[tuple[Said, dict[str, Any]]]:
    """What the ledger is to have of it, each by what it is known again; a release was written by who released."""
    whose = {"maker": mark.maker, "entity": mark.entity, "model": mark.model}
    way = asdict(mark.way)

    def known(event: str) -> Said:
        return said(event, **whose, met_at=mark.at, address=mark.way.address, key=mark.way.key)

    met = {"event": "met", **whose, "reason": mark.reason, "evidence": _evidence(mark), "way": way, "at": mark.at}
    yield known("met"), met
    if mark.ended_at is not None and not mark.released:
        ended = {"event": "renewed", **whose, "way": way, "met_at": mark.at, "at": _written(mark.ended_at)}
        yield known("renewed"), ended


def _words(mark: Mark) -> bytes:
    return mark.said.encode(errors="replace")


def _evidence(mark: Mark) -> str:
    return sha256(_words(mark))


def _written(ms: int) -> str:
    return datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _next(maker: str) -> str:
    return (
        f"another route, key or account of {maker!r} is no way past it: go on by that way when the provider has "
        f"renewed the quota or you raised it with them, which ends this by itself, or have the reviewer run "
        f"`trueseed release {maker} --evidence FILE` with what permits another way, such as a contract for a second "
        f"account"
    )
