"""Everything that TrueSeed raises on purpose.

    TrueSeedError
    ├── Refused       3  terms, a hold or a recall forbid it
    ├── Broken        4  bytes, a signature or a chain are not what the ledger says
    ├── ConfigError   2  the user's input or configuration must change
    ├── TeacherError  5  the teacher failed
    ├── Paused        6  stopped cleanly; the same command resumes
    └── Short         7  fewer accepted than asked (`judge check` ends so too, of a judge that failed its card)

Each says what happened, where, and what to do next; the command line prints the message without a traceback and exits
with `exit_code`. Anything else that escapes is a bug of ours and exits with 1.
"""

from datetime import datetime
from typing import ClassVar


class TrueSeedError(Exception):
    """Root of the tree. `str(error)` is the sentence shown to the user."""

    exit_code: ClassVar[int] = 1


class Refused(TrueSeedError):  # noqa: N818  the tree is named for what happened
    """Terms, a hold or a recall forbid it. Nothing was asked, spent or written."""

    exit_code = 3


class Broken(TrueSeedError):  # noqa: N818
    """Bytes, a signature or a chain differ from what the ledger says."""

    exit_code = 4


class ConfigError(TrueSeedError):
    """The user's input or configuration must change."""

    exit_code = 2


class TeacherError(TrueSeedError):
    """The teacher failed in a way that waiting does not mend."""

    exit_code = 5


class Paused(TrueSeedError):  # noqa: N818
    """Stopped cleanly; the same command resumes. until: from when on (UTC); None when nobody knows."""

    exit_code = 6

    def __init__(self, message: str, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


class Short(TrueSeedError):  # noqa: N818
    """Fewer were accepted than asked for."""

    exit_code = 7
