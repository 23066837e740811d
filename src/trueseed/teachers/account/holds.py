"""A maker on hold: it suspended us, or we were told to stop, and nothing of it is asked until a reviewer releases it.

A hold binds the maker and our legal entity on every route, with every key, through every aggregator: `openai/gpt-4` is
OpenAI's whether it is asked at `api`, `azure` or `openrouter`. It is kept in account state, where every workspace and
process looks in the same transaction that reserves a call, and written to the ledger of the workspace that met it. The
address and the key that it was met with are held too (`way`), so that no other name is a way on; when it is met on a
further way while it stands, that one as well, until the same release.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from trueseed.core.canonical import canonical, file_digest, now
from trueseed.core.driver import Driver, Statement
from trueseed.core.durable import state_folder
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.hold_files import forget, remember, remembered
from trueseed.ledger.holds import WAY, held
from trueseed.ledger.holds import ways as written_ways
from trueseed.ledger.log import Ledger
from trueseed.ledger.signing import Signer, decode, load
from trueseed.ledger.statement import HOLD, RELEASE, envelope, statement
from trueseed.teachers.account import way as ways
from trueseed.teachers.account.state import Account
from trueseed.teachers.account.way import Way
from trueseed.terms.model import parse_source


class OnHold(Refused):
    """The maker is on hold for our legal entity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """evidence: SHA-256 of what shows the cause (the provider's error body, a letter). placed_at: UTC, RFC 3339."""

    maker: str
    entity: str
    reason: str
    evidence: str
    placed_at: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.maker!r} is on hold for {self.entity!r} since {self.placed_at} ({self.reason}), on every route and "
            f"with every key; when {self.maker!r} has reinstated the account, the reviewer runs "
            f"`trueseed release {self.maker} --evidence FILE` with what shows it"
        )


@dataclass(frozen=True, slots=True)
class Spell:
    """A hold, and when the reviewer ended it (UTC, RFC 3339) on what evidence (SHA-256); None while it stands."""

    hold: Hold
    released_at: str | None
    released_for: str | None


_STANDING = Statement(
    "SELECT reason, evidence, placed_at FROM holds WHERE entity = :entity AND maker = :maker AND release IS NULL"
)
_ANY = Statement("SELECT 1 FROM holds WHERE release IS NULL LIMIT 1")
_MET = Statement(
    "SELECT h.entity, h.maker, h.placed_at, h.reason, w.route, w.address, w.key FROM hold_ways w JOIN holds h"
    " ON h.entity = w.entity AND h.maker = w.maker AND h.placed_at = w.placed_at"
    " WHERE h.release IS NULL AND ((w.address = :address AND h.entity = :entity) OR (w.key = :key AND w.key <> ''))"
    " ORDER BY h.id"
)
_EVERY = sql.text(
    "SELECT maker, entity, reason, evidence, placed_at, release FROM holds"
    " WHERE entity = :entity AND maker = :maker ORDER BY id"
)
_PLACE = sql.text(
    "INSERT INTO holds (entity, maker, reason, evidence, placed_at)"
    " VALUES (:entity, :maker, :reason, :evidence, :placed_at)"
)
_LIFT = sql.text("UPDATE holds SET release = :release WHERE entity = :entity AND maker = :maker AND release IS NULL")
_KNOWN = sql.text("SELECT count(*) FROM holds WHERE entity = :entity AND maker = :maker AND placed_at >= :placed_at")


def standing(driver: Driver, entity: str, maker: str) -> Hold | None:
    """The hold that stands, as of the transaction that `driver` is in."""
    found = driver.all(_STANDING, {"entity": entity, "maker": maker})
    if not found:
        return None
    reason, evidence, placed_at = found[0]
    return Hold(maker=maker, entity=entity, reason=reason, evidence=evidence, placed_at=placed_at)


def must_be_free(driver: Driver, entity: str, source: str, way: Way | None = None) -> None:
    """Raises `OnHold`, saying what to do, when a hold forbids asking `source`, or asking it this way, as of the
    transaction that `driver` is in.
    """
    if not driver.all(_ANY, {}):  # the usual case, at the cost of one look
        return
    if found := standing(driver, entity, parse_source(source).maker):
        raise OnHold(f"{source!r} may not be asked: {found}")
    for met, because in ways.known_again(driver, _MET, entity, source, way) if way else ():
        raise OnHold(
            f"{source!r} may not be asked: {because} that {met.maker!r} suspended; it is on hold for {met.entity!r} "
            f"since {met.at} ({met.reason}), whatever name the run file gives it; when {met.maker!r} has reinstated "
            f"the account, the reviewer runs `trueseed release {met.maker} --evidence FILE` with what shows it"
        )


class Holds:
    """The holds of one legal entity on one account."""

    def __init__(self, account: Account, entity: str) -> None:
        self.entity = entity
        self._account = account

    def place(self, maker: str, reason: str, evidence: str, way: Way | None = None) -> Hold:
        """Puts `maker` on hold; returns the standing hold when there is one. evidence: a SHA-256. way: by which it was
        reached, held under every name, also when the hold stood before.

        Raises `ConfigError` when `maker` is no maker, `AccountUnavailable`.
        """
        made = Hold(maker=_maker(maker), entity=self.entity, reason=reason, evidence=evidence, placed_at=now())
        with self._account.writing() as connection:
            found = standing(Driver.of(connection), self.entity, maker)
            if found is None:
                connection.execute(_PLACE, asdict(made))
            stands = found or made
            is_further = bool(way and ways.keep(connection, self.entity, maker, stands.placed_at, way))
        if found is None or is_further:
            remember({**asdict(stands), **(asdict(way) if way else {})})
        return stands

    def on(self, maker: str) -> Hold | None:
        """The hold that stands on `maker`. Raises `AccountUnavailable`."""
        with self._account.reading() as connection:
            return standing(Driver.of(connection), self.entity, _maker(maker))

    def spells(self, maker: str) -> list[Spell]:
        """Every hold there was on `maker`, oldest first. Raises `AccountUnavailable`."""
        with self._account.reading() as connection:
            rows = connection.execute(_EVERY, {"entity": self.entity, "maker": _maker(maker)}).mappings().all()
        return [_spell(dict(row)) for row in rows]

    def check(self, source: str, way: Way | None = None) -> None:
        """Raises `OnHold`, saying what to do, when `source` may not be asked this way; `AccountUnavailable`."""
        with self._account.reading() as connection:
            must_be_free(Driver.of(connection), self.entity, source, way)

    def lift(self, maker: str, evidence: str, signer: Signer) -> Hold:
        """Ends the hold, keeping the reviewer's signed statement. evidence: SHA-256 of what shows the reinstatement.

        Raises `Refused` unless `signer` is a reviewer, `ConfigError` when nothing is on hold, `AccountUnavailable`.
        """
        if signer.role != "reviewer":
            raise Refused(f"the hold on {maker!r} is lifted by the reviewer's key, not the {signer.role}'s")
        with self._account.writing() as connection:
            found = standing(Driver.of(connection), self.entity, _maker(maker))
            if found is None:
                raise _not_on_hold(maker, self.entity)
            signed = envelope(statement(RELEASE, [], _released(found, evidence)), signer)
            said = {"release": canonical(signed).decode(), "entity": self.entity, "maker": maker}
            connection.execute(_LIFT, said)
        forget(asdict(found))
        return found

    def restore(self, ledger: Ledger | None) -> list[Hold]:
        """Places again what `ledger` has on hold, or the user's state folder for whatever entity, and the account, lost
        or replaced, knows nothing of. ledger: None where there is none yet. Raises `Broken`, `AccountUnavailable`.
        """
        found: list[tuple[Hold, list[Way]]] = []
        for kept in remembered():
            way = [Way(**{name: kept.pop(name) for name in WAY})] if kept.keys() >= WAY else []
            found.append((Hold(**kept), way))
        for (maker, entity), entry in held(ledger or ()).items():
            if ledger and entity == self.entity:
                said, at = entry.predicate, str(entry.predicate["at"])
                lost = Hold(
                    maker=maker, entity=entity, reason=str(said["reason"]), evidence=str(said["evidence"]), placed_at=at
                )
                found.append((lost, [Way(**way) for way in written_ways(ledger, maker, entity, at)]))
        return [hold for hold, ways in found if self._place_again(hold, ways)]

    def _place_again(self, lost: Hold, met: list[Way]) -> bool:
        known = {"entity": lost.entity, "maker": lost.maker, "placed_at": lost.placed_at}
        with self._account.writing() as connection:
            stands = standing(Driver.of(connection), lost.entity, lost.maker)
            is_new = stands is None and not connection.scalar(_KNOWN, known)
            if is_new:
                connection.execute(_PLACE, asdict(lost))
            if is_new or (stands and stands.placed_at == lost.placed_at):
                for way in met:
                    ways.keep(connection, lost.entity, lost.maker, lost.placed_at, way)
        return is_new


def hold(ledger: Ledger, holds: Holds, *, maker: str, reason: str, evidence: str, way: Way | None = None) -> Hold:
    """Puts `maker` on hold in account state, where it binds at once, then in the ledger; a further way on which a
    standing hold is met is written there too, with what it was met by. Raises as `Holds.place`.
    """
    placed = holds.place(maker, reason, evidence, way)
    written = held(ledger).get((placed.maker, holds.entity))
    said = {"maker": placed.maker, "entity": placed.entity, "at": placed.placed_at}
    met = {"way": asdict(way)} if way else {}
    if written is None or written.predicate["at"] != placed.placed_at:
        own = met if evidence == placed.evidence else {}
        ledger.append(HOLD, [], {**said, "reason": placed.reason, "evidence": placed.evidence, **own})
    if way and asdict(way) not in written_ways(ledger, **said):
        ledger.append(HOLD, [], {**said, "reason": reason, "evidence": evidence, **met})
    return placed


def release(ledger: Ledger, holds: Holds, *, maker: str, evidence: Path) -> Hold:
    """Ends the hold on `maker`: in the ledger, signed by the reviewer, then in account state.

    evidence: a file that shows the reinstatement; its digest is kept. A kill in between leaves the hold standing, and
    the same command ends it. Raises `ConfigError` when the file cannot be read or is empty, this user does not hold the
    reviewer's key, or nothing is on hold; `AccountUnavailable`.
    """
    found = holds.on(maker)
    if found is None:
        raise _not_on_hold(maker, holds.entity)
    try:
        if not evidence.stat().st_size:
            raise ConfigError(f"{evidence} is empty; give the message by which {maker!r} reinstated the account")
        digest = file_digest(evidence)
    except OSError as err:
        raise ConfigError(
            f"the evidence {evidence} cannot be read ({err.strerror}); give the file that shows the reinstatement"
        ) from err
    signer = reviewer()
    ledger.append(RELEASE, [], _released(found, digest), role="reviewer")
    return holds.lift(maker, digest, signer)


def reviewer() -> Signer:
    """Who ends what stands on a maker. Raises `ConfigError` when this user does not hold that key."""
    signer = load("reviewer", state_folder() / "keys")
    if signer is None:
        raise ConfigError(
            f"there is no reviewer's key in {state_folder() / 'keys'}; ask whoever reviews to run the command"
        )
    return signer


def _spell(row: dict[str, Any]) -> Spell:
    """A release was signed by the reviewer when it was kept; here it is read, and believed as the account is."""
    release = row.pop("release")
    said = json.loads(decode(json.loads(release)["payload"]))["predicate"] if release else {}
    return Spell(Hold(**row), said.get("at"), said.get("evidence"))


def _released(found: Hold, evidence: str) -> dict[str, Any]:
    return {
        "maker": found.maker,
        "entity": found.entity,
        "evidence": evidence,
        "placed_at": found.placed_at,
        "at": now(),
    }


def _not_on_hold(maker: str, entity: str) -> ConfigError:
    return ConfigError(f"{maker!r} is not on hold for {entity!r}; there is nothing to release")


def _maker(text: str) -> str:
    """Raises `ConfigError` for what names no maker, a whole source for instance."""
    try:
        return parse_source(f"{text}/any@api").maker
    except ConfigError as err:
        raise ConfigError(
            f"{text!r} is not a maker; give the part of a source before its '/', such as 'openai'"
        ) from err
