"""One thing that was looked at, and what came of it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from trueseed.errors import Broken, ConfigError, Paused, Refused, TeacherError, TrueSeedError

Status = Literal["ok", "warning", "fails"]
WORST_FIRST = tuple(kind.exit_code for kind in (Refused, Broken, ConfigError, TeacherError, Paused))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """of: `teacher`, `failover 1`, `base`. meaning: what was found and what it means. next: what to do, '' for nothing.
    exit_code: of a failure; 0 otherwise.
    """

    of: str
    source: str
    name: str
    status: Status
    meaning: str
    next: str = ""
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """unchecked: what only a call that costs something would tell."""

    checks: tuple[Check, ...]
    unchecked: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or that of the worst failure: a refusal before what is broken, before what the user can mend, before a
        teacher that fails, before a quota that is used up.
        """
        met = {check.exit_code for check in self.checks if check.status == "fails"}
        return next((code for code in WORST_FIRST if code in met), 0)

    def to_json(self) -> dict[str, Any]:
        return {
            "exit_code": self.exit_code,
            "checks": [check.to_json() for check in self.checks],
            "unchecked": list(self.unchecked),
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom checks are of; makes them."""

    of: str
    source: str

    def ok(self, name: str, meaning: str) -> Check:
        return Check(of=self.of, source=self.source, name=name, status="ok", meaning=meaning)

    def warning(self, name: str, meaning: str, next_: str = "") -> Check:
        return Check(of=self.of, source=self.source, name=name, status="warning", meaning=meaning, next=next_)

    def fails(self, name: str, meaning: str, next_: str, kind: type[TrueSeedError]) -> Check:
        return Check(
            of=self.of,
            source=self.source,
            name=name,
            status="fails",
            meaning=meaning,
            next=next_,
            exit_code=kind.exit_code,
        )

    def error(self, name: str, error: TrueSeedError) -> Check:
        """An error of ours says what happened and then, after a semicolon or colon, what to do."""
        meaning, _, next_ = str(error).partition("; ")
        if not next_:
            meaning, _, next_ = meaning.rpartition(": ")
        return self.fails(name, meaning, next_, type(error))
