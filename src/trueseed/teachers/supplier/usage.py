"""What a maker was asked in a month by our legal entity: the figures of the report that `usage_report` signs.

Over all routes, keys and workspaces of the account. A report that is narrowed to some sources, a project or a use says
so and counts what it leaves out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, cast

from trueseed.access.keys import Keys
from trueseed.core.code import code_digest
from trueseed.errors import ConfigError
from trueseed.teachers.account.allowance import Allowance, Used
from trueseed.teachers.account.holds import Holds, Spell
from trueseed.teachers.account.state import Account
from trueseed.teachers.supplier.month import Month, written
from trueseed.teachers.supplier.reconciled import History
from trueseed.teachers.supplier.usage_report import (
    Calls,
    Charged,
    Hold,
    Key,
    LeftOut,
    Line,
    Narrowed,
    Purpose,
    Reconciliation,
    Report,
    Sums,
    add,
)
from trueseed.terms.model import Use, parse_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """source: a pattern. project, use: None for all. owners: whether the holders of the gateway's keys are named."""

    maker: str
    month: Month
    source: str | None = None
    project: str | None = None
    use: Use | None = None
    owners: bool = False

    @property
    def narrowed(self) -> Narrowed | None:
        if (self.source, self.project, self.use) == (None, None, None):
            return None
        return Narrowed(source=self.source, project=self.project, use=self.use.value if self.use else None)

    def holds(self, used: Used) -> bool:
        return (
            fnmatchcase(used.source, self.source or "*")
            and self.project in (None, used.project)
            and self.use in (None, used.use)
        )


def report(wanted: Wanted, *, account: Account, entity: str, now: datetime) -> Report:
    """Raises `ConfigError` for a maker that is none or a month to come, `AccountUnavailable`."""
    month, maker = wanted.month, parse_source(f"{wanted.maker}/any@api").maker
    if month.since > now:
        raise ConfigError(f"{month} has not begun; give a month in which something may have been asked")
    allowance = Allowance(account, (), entity)  # sweeps: calls of processes that died are unknown
    every = allowance.used(maker=maker, since=month.since, until=month.until)
    chosen = [used for used in every if wanted.holds(used)]
    keys = sorted((key for key in Keys(account).list() if _overlaps(key, month)), key=lambda key: key.grant.owner)
    lines = tuple(_line(used) for used in chosen)
    totals = add(lines)
    return Report(
        entity=entity,
        maker=maker,
        month=str(month),
        since=written(month.since),
        until=written(month.until),
        counted_until=written(min(month.until, now)),
        at=written(now),
        code=code_digest(),
        narrowed=wanted.narrowed,
        left_out=_left_out([used for used in every if not wanted.holds(used)]) if wanted.narrowed else None,
        unknown=totals.calls.unknown,
        totals=totals,
        sources=_grouped(lines, lambda line: line.source),
        days=_grouped(lines, lambda line: line.day),
        purposes=_purposes(lines, keys, wanted.owners),
        lines=lines,
        holds=_holds(Holds(account, entity).spells(maker), month),
        reconciliations=tuple(_reconciliation(said) for said in History(account).of(entity, maker, str(month))),
    )


def _line(used: Used) -> Line:
    return Line(
        day=used.day,
        source=used.source,
        use=used.use.value,
        project=used.project,
        calls=Calls(
            answered=used.answered,
            failed=used.failed,
            cached=used.cached,
            unknown=used.unknown,
            in_flight=used.reserved,
            reconciled=used.reconciled,
        ),
        charged=Charged(requests=used.charged.requests, tokens=used.charged.tokens, micros=used.charged.micros),
    )


def _grouped(lines: Sequence[Line], name: Callable[[Line], str]) -> dict[str, Sums]:
    names = sorted({name(line) for line in lines})
    return {each: add(line for line in lines if name(line) == each) for each in names}


def _purposes(lines: Sequence[Line], keys: Sequence[Any], owners: bool) -> tuple[Purpose, ...]:
    """Use by project; the gateway's keys of a project are those that may ask for it, which is not who did."""
    found = []
    for use, project in sorted({(line.use, line.project) for line in lines}):
        theirs = [
            key for key in keys if key.grant.project == project and use in {each.value for each in key.grant.uses}
        ]
        named = tuple(Key(id=key.id, owner=key.grant.owner) for key in theirs) if owners else None
        sums = add(line for line in lines if (line.use, line.project) == (use, project))
        found.append(Purpose(use=use, project=project, keys=len(theirs), owners=named, sums=sums))
    return tuple(found)


def _left_out(left: Iterable[Used]) -> LeftOut:
    lines = [_line(used) for used in left]
    return LeftOut(
        sums=add(lines),
        sources=len({line.source for line in lines}),
        routes=tuple(sorted({parse_source(line.source).route for line in lines})),
        projects=len({line.project for line in lines}),
        uses=tuple(sorted({line.use for line in lines})),
    )


def _overlaps(key: Any, month: Month) -> bool:
    ends = [at for at in (key.grant.expires_at, key.revoked_at) if at is not None]
    return bool(key.issued_at < month.until and all(at > month.since for at in ends))


def _holds(spells: Iterable[Spell], month: Month) -> tuple[Hold, ...]:
    """Those that stood at any time of the month."""
    return tuple(
        Hold(
            reason=spell.hold.reason,
            evidence=spell.hold.evidence,
            placed_at=spell.hold.placed_at,
            released_at=spell.released_at,
            released_for=spell.released_for,
        )
        for spell in spells
        if spell.hold.placed_at < written(month.until)
        and (spell.released_at is None or spell.released_at > written(month.since))
    )


def _reconciliation(said: dict[str, Any]) -> Reconciliation:
    settled = cast(dict[str, int], said["settled"])
    return Reconciliation(
        id=said["id"],
        at=said["at"],
        sources=said["sources"],
        through=said["through"],
        figures=said["figures"]["kind"],
        sha256=said["figures"]["sha256"],
        verdict=said["verdict"],
        outside=said["outside"],
        missing=said["missing"],
        settled=settled["billed"] + settled["not_billed"],
        left=settled["left"],
        ledger=said["origin"],
        entry=said["entry"],
    )
