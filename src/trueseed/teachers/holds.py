"""A maker on hold: it suspended us, or we were told to stop, and nothing of it is asked until a reviewer releases it.

A hold binds the maker and our legal entity on every route, with every key, through every aggregator: `openai/gpt-4` is
OpenAI's whether it is asked at `api`, `azure` or `openrouter`. It is kept in account state, where every workspace and
process looks before each call, and written to the ledger of the workspace that met it.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trueseed.ledger.signing import Signer
from trueseed.teachers.account import Account
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """evidence: SHA-256 of what shows the cause (the provider's error body, a letter)."""

    maker: str
    entity: str
    reason: str
    evidence: str
    placed_at: datetime


class Holds:
    """The holds of one legal entity on one account."""

    def __init__(self, account: Account, entity: str) -> None: ...

    def place(self, maker: str, reason: str, evidence: str) -> Hold:
        """Puts `maker` on hold; returns the standing hold when there is one."""

    def on(self, maker: str) -> Hold | None:
        """The hold that stands on `maker`."""

    def check(self, source: str) -> None:
        """Raises `Refused`, saying what to do, when the maker of `source` is on hold."""

    def lift(self, maker: str, evidence: str, signer: Signer) -> Hold:
        """Ends the hold. evidence: SHA-256 of what shows the reinstatement. Raises `Refused` unless `signer` is a
        reviewer, `ConfigError` when nothing is on hold.
        """


def hold(workspace: Workspace, holds: Holds, *, maker: str, reason: str, evidence: str) -> Hold:
    """Puts `maker` on hold in account state, then in the workspace's ledger."""


def release(workspace: Workspace, holds: Holds, *, maker: str, evidence: Path) -> Hold:
    """Ends the hold on `maker`: in the workspace's ledger, signed by the reviewer, then in account state.

    evidence: a file that shows the reinstatement; its digest is kept. Raises `ConfigError` when it cannot be read, this
    user does not hold the reviewer's key, or nothing is on hold.
    """
