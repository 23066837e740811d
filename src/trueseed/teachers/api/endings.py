"""How asking a teacher ends before everything is answered: as which error, and whose doing it is.

What the teacher or its maker ended (`Gone`) may be gone on with at another maker; what the user has to mend (key,
model, address) may not, nor what is ours (the account, Ctrl-C).
"""

from datetime import UTC, datetime, timedelta

from trueseed.errors import ConfigError, Paused, Refused, TeacherError, TrueSeedError
from trueseed.teachers.account.holds import Holds, OnHold
from trueseed.teachers.account.quotas import OutOfQuota, Quotas
from trueseed.teachers.account.way import Way
from trueseed.teachers.api.actions import Action
from trueseed.teachers.api.call import Ended
from trueseed.teachers.api.suspension import suspended
from trueseed.terms.model import parse_source
from trueseed.workspace import Step


class NotServed(Refused):
    """The provider does not serve our region."""


class UsedUp(Paused):
    """The quota or credit at the provider is used up, or it asks for a longer wait than our patience."""


class StaysBroken(TeacherError):  # noqa: N818
    """The server failed again and again."""


# Beside `Exhausted`, where the limit is of that maker alone.
Gone = (OnHold, OutOfQuota, NotServed, UsedUp, StaysBroken)


class Endings:
    """The error that asking `source` ends with, after what has to be written down."""

    def __init__(self, source: str, step: Step, holds: Holds, quotas: Quotas, way: Way) -> None:
        self._source, self._step, self._holds, self._quotas, self._way = source, step, holds, quotas, way

    def of(self, ended: Ended) -> TrueSeedError:
        """Raises what is no error of ours, as it is."""
        if ended.error is not None:
            if isinstance(ended.error, OutOfQuota):
                self.quotas_written()
            if isinstance(ended.error, TrueSeedError):
                return ended.error
            raise ended.error
        assert ended.action is not None
        action, said = ended.action, f" ({ended.told})" if ended.told else ""
        message = f"{self._source}: {action.because}{said}. Next: {action.next}"
        match action.kind:
            case "hold":
                return self._held(message, action, ended)
            case "refuse_region":
                return NotServed(message)
            case "pause":
                self.quotas_written()
                return _used_up(message, "; the provider names a time", action.after)
            case "wait":
                return _used_up(f"{message}; the same command resumes", "", action.after)
            case "fix" | "skip":
                return ConfigError(message)
            case "retry":
                return StaysBroken(f"{message}. What was answered is kept; the same command resumes")

    def quotas_written(self) -> None:
        """In the ledger too, of this maker: those that were met, and those that an answer ended."""
        self._quotas.write_down(self._step.workspace, parse_source(self._source).maker)

    def _held(self, message: str, action: Action, ended: Ended) -> OnHold:
        """The hold in account state and ledger, and the words that it rests on beside the ledger."""
        told = {"source": self._source, "because": action.because, "said": ended.said}
        suspended(self._step.workspace, self._holds, **told, way=self._way)
        return OnHold(f"{message}. Everything of {parse_source(self._source).maker!r} is on hold for us")


def _used_up(message: str, before: str, after: float | None) -> UsedUp:
    """before: goes before the time. after: seconds, as the provider said."""
    if after is None:
        return UsedUp(message)
    until = datetime.now(UTC) + timedelta(seconds=after)
    return UsedUp(f"{message}{before}, from {until:%Y-%m-%d %H:%M} UTC", until=until)
