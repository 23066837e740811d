"""A usage report for a maker: what it holds, and how it is signed (`usage_check` reads it again).

    signed = sign(report, signer)        # a DSSE envelope, as entries of the ledger are

It holds counts, names of sources, projects and uses, and digests; never what was asked or answered, and no secret.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from trueseed.core.settings import Settings
from trueseed.errors import ConfigError
from trueseed.ledger.signing import Signer
from trueseed.ledger.statement import USAGE, envelope, statement

SIGNER = "trueseed/usage"  # the signer's name in its verifier key: a report belongs to no log

Whole = Annotated[int, Field(ge=0, lt=2**53)]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Calls(Settings):
    """By what became of them. reconciled: nobody knew, until the maker's figures showed it."""

    answered: Whole = 0
    failed: Whole = 0
    cached: Whole = 0
    unknown: Whole = 0
    in_flight: Whole = 0
    reconciled: Whole = 0


class Charged(Settings):
    """Against our own limits: unknown calls and those in flight at the most that they can be. micros: millionths of a
    US dollar, by the price that was given.
    """

    requests: Whole = 0
    tokens: Whole = 0
    micros: Whole = 0


class Sums(Settings):
    calls: Calls = Calls()
    charged: Charged = Charged()


class Line(Sums):
    """One source, use and project on one day (UTC)."""

    day: str
    source: str
    use: str
    project: str


class Key(Settings):
    """A key of the gateway. owner: who holds it."""

    id: str
    owner: str


class Purpose(Settings):
    """keys: how many keys of the gateway may ask for this; owners: whose, None when that is not said."""

    use: str
    project: str
    keys: Whole
    owners: tuple[Key, ...] | None = None
    sums: Sums


class Narrowed(Settings):
    source: str | None = None
    project: str | None = None
    use: str | None = None


class LeftOut(Settings):
    """What lies outside of a narrowed report."""

    sums: Sums
    sources: Whole
    routes: tuple[str, ...]
    projects: Whole
    uses: tuple[str, ...]


class Hold(Settings):
    """evidence, released_for: SHA-256 of what shows the cause, and the reinstatement."""

    reason: str
    evidence: str
    placed_at: Moment
    released_at: Moment | None
    released_for: str | None


class Reconciliation(Settings):
    """A comparison with the maker's figures (sha256: of them). left: doubtful calls it could not settle. ledger, entry:
    where it is stated.
    """

    id: str
    at: Moment
    sources: str
    through: str | None
    figures: str
    sha256: Digest
    verdict: Literal["agrees", "differs", "outside", "past_stop"]
    outside: Whole
    missing: Whole
    settled: Whole
    left: int
    ledger: str
    entry: Whole | None


class Report(Settings):
    """The predicate. since, until: the month in UTC. counted_until: when it was made, if the month was not over. code:
    digest of the program that made it. narrowed, left_out: None when it is over everything.
    """

    entity: str
    maker: str
    month: str
    since: Moment
    until: Moment
    counted_until: Moment
    at: Moment
    code: Digest
    narrowed: Narrowed | None
    left_out: LeftOut | None
    unknown: Whole
    totals: Sums
    sources: dict[str, Sums]
    days: dict[str, Sums]
    purposes: tuple[Purpose, ...]
    lines: tuple[Line, ...]
    holds: tuple[Hold, ...]
    reconciliations: tuple[Reconciliation, ...]

    @property
    def is_partial(self) -> bool:
        return self.narrowed is not None

    @property
    def is_over(self) -> bool:
        return self.counted_until == self.until

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


def add(lines: Iterable[Sums]) -> Sums:
    found = list(lines)
    return Sums(
        calls=Calls(**{name: sum(getattr(line.calls, name) for line in found) for name in Calls.model_fields}),
        charged=Charged(**{name: sum(getattr(line.charged, name) for line in found) for name in Charged.model_fields}),
    )


def sign(report: Report, signer: Signer) -> dict[str, Any]:
    """The envelope. Raises `ConfigError` for a signer who may not: the operator answers for what was asked."""
    if signer.role != "operator":
        raise ConfigError(f"a usage report is signed by the operator's key, not the {signer.role}'s")
    return envelope(statement(USAGE, [], {**report.to_json(), "signed_by": str(signer.key(SIGNER))}), signer)


def left_out(report: Report) -> str:
    """What a narrowed report leaves out, as a sentence."""
    assert report.narrowed is not None and report.left_out is not None
    only = ", ".join(f"{name} {value!r}" for name, value in report.narrowed.model_dump().items() if value is not None)
    left, calls = report.left_out, sum(report.left_out.sums.calls.model_dump().values())
    if not calls:
        return f"narrowed to {only}; nothing else was asked of {report.maker!r} in {report.month}"
    return (
        f"narrowed to {only}; it leaves out {calls} calls and {left.sums.charged.tokens} tokens of {left.sources} "
        f"sources, on the routes {', '.join(left.routes)}, by {left.projects} projects, for {', '.join(left.uses)}"
    )
