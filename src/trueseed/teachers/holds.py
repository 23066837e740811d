"""A maker on hold: it suspended us, or we were told to stop, and nothing of it is asked until a reviewer releases it.

A hold binds the maker and our legal entity on every route, with every key, through every aggregator: `openai/gpt-4` is
OpenAI's whether it is asked at `api`, `azure` or `openrouter`. It is kept in account state, where every workspace and
process looks in the same transaction that reserves a call, and written to the ledger of the workspace that met it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from trueseed.core.canonical import canonical, file_digest, now
from trueseed.core.driver import Driver, Statement
from trueseed.core.durable import state_folder
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.holds import held
from trueseed.ledger.log import Ledger
from trueseed.ledger.signing import Signer, load
from trueseed.ledger.statement import HOLD, RELEASE, envelope, statement
from trueseed.teachers.account import Account
from trueseed.terms.model import parse_source


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


_STANDING = Statement(
    "SELECT reason, evidence, placed_at FROM holds WHERE entity = :entity AND maker = :maker AND release IS NULL"
)
_PLACE = sql.text(
    "INSERT INTO holds (entity, maker, reason, evidence, placed_at)"
    " VALUES (:entity, :maker, :reason, :evidence, :placed_at)"
)
_LIFT = sql.text("UPDATE holds SET release = :release WHERE entity = :entity AND maker = :maker AND release IS NULL")
_KNOWN = sql.text("SELECT count(*) FROM holds WHERE entity = :entity AND maker = :maker AND placed_at >= :placed_at")


def standing(connection: sql.Connection, entity: str, maker: str) -> Hold | None:
    """The hold that stands, as of the transaction that `connection` is in."""
    found = Driver(connection).all(_STANDING, {"entity": entity, "maker": maker})
    if not found:
        return None
    reason, evidence, placed_at = found[0]
    return Hold(maker=maker, entity=entity, reason=reason, evidence=evidence, placed_at=placed_at)


class Holds:
    """The holds of one legal entity on one account."""

    def __init__(self, account: Account, entity: str) -> None:
        self.entity = entity
        self._account = account

    def place(self, maker: str, reason: str, evidence: str) -> Hold:
        """Puts `maker` on hold; returns the standing hold when there is one. evidence: a SHA-256.

        Raises `ConfigError` when `maker` is no maker, `AccountUnavailable`.
        """
        made = Hold(maker=_maker(maker), entity=self.entity, reason=reason, evidence=evidence, placed_at=now())
        with self._account.writing() as connection:
            found = standing(connection, self.entity, maker)
            if found is None:
                connection.execute(_PLACE, asdict(made))
        return found or made

    def on(self, maker: str) -> Hold | None:
        """The hold that stands on `maker`. Raises `AccountUnavailable`."""
        with self._account.reading() as connection:
            return standing(connection, self.entity, _maker(maker))

    def check(self, source: str) -> None:
        """Raises `Refused`, saying what to do, when the maker of `source` is on hold; `AccountUnavailable`."""
        if found := self.on(parse_source(source).maker):
            raise Refused(f"{source!r} may not be asked: {found}")

    def lift(self, maker: str, evidence: str, signer: Signer) -> Hold:
        """Ends the hold, keeping the reviewer's signed statement. evidence: SHA-256 of what shows the reinstatement.

        Raises `Refused` unless `signer` is a reviewer, `ConfigError` when nothing is on hold, `AccountUnavailable`.
        """
        if signer.role != "reviewer":
            raise Refused(f"the hold on {maker!r} is lifted by the reviewer's key, not the {signer.role}'s")
        with self._account.writing() as connection:
            found = standing(connection, self.entity, _maker(maker))
            if found is None:
                raise _not_on_hold(maker, self.entity)
            signed = envelope(statement(RELEASE, [], _released(found, evidence)), signer)
            said = {"release": canonical(signed).decode(), "entity": self.entity, "maker": maker}
            connection.execute(_LIFT, said)
        return found

    def restore(self, ledger: Ledger) -> list[Hold]:
        """Places again what `ledger` has on hold and the account, lost or replaced, knows nothing of."""
        lost = []
        for (maker, entity), entry in held(ledger).items():
            if entity != self.entity:
                continue
            said = {key: str(entry.predicate[key]) for key in ("reason", "evidence")}
            made = Hold(maker=maker, entity=entity, placed_at=str(entry.predicate["at"]), **said)
            with self._account.writing() as connection:
                if not connection.scalar(_KNOWN, {"entity": entity, "maker": maker, "placed_at": made.placed_at}):
                    connection.execute(_PLACE, asdict(made))
                    lost.append(made)
        return lost


def hold(ledger: Ledger, holds: Holds, *, maker: str, reason: str, evidence: str) -> Hold:
    """Puts `maker` on hold in account state, where it binds at once, then in the ledger. Raises as `Holds.place`."""
    placed = holds.place(maker, reason, evidence)
    written = held(ledger).get((placed.maker, holds.entity))
    if written is None or written.predicate["at"] != placed.placed_at:
        said = {**asdict(placed), "at": placed.placed_at}
        del said["placed_at"]
        ledger.append(HOLD, [], said)
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
    signer = load("reviewer", state_folder() / "keys")
    if signer is None:
        raise ConfigError(
            f"there is no reviewer's key in {state_folder() / 'keys'}; ask whoever reviews to run the command"
        )
    ledger.append(RELEASE, [], _released(found, digest), role="reviewer")
    return holds.lift(maker, digest, signer)


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
