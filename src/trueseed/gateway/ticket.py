"""A call, from wanting to leave until it is settled, as desk, relay and journal pass it on."""

from dataclasses import dataclass
from typing import Literal

from trueseed.access.keys import Key
from trueseed.gateway.door import Passage
from trueseed.gateway.wanted import Wanted
from trueseed.teachers.account.allowance import Reservation
from trueseed.teachers.account.quotas import Refusal
from trueseed.teachers.api.forward import Upstream
from trueseed.teachers.api.wire import Usage
from trueseed.terms.model import Use

End = Literal["answered", "declined", "garbled", "unknown", "unsent"]


@dataclass(slots=True)
class Ask:
    """A call that wants to leave. use: as the client declared it, None when it did not. features: that it declared."""

    token: str
    use: str | None
    wanted: Wanted
    features: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Ticket:
    """An admitted call. id: as the client and the journal know it. at: when it was admitted. surcharge: micros, for the
    features that it is asked with.
    """

    id: str
    key: Key
    use: Use
    wanted: Wanted
    upstream: Upstream
    passage: Passage
    reservation: Reservation
    at: str
    surcharge: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call came back, and what it is charged.

    answered: by its usage, or without one as it was reserved. declined: the provider said no, and bills none. garbled:
    something came that is no answer, charged as reserved. unknown: nobody knows whether it arrived; it stays reserved
    until it is reconciled. unsent: it never left, and is charged nothing.

    status: of the provider's response, 0 without. answer: SHA-256 of the bytes that were relayed, '' for none. texts:
    what was said, for the memory of answers. refusal: of the provider's own quota.
    """

    end: End
    status: int = 0
    usage: Usage | None = None
    answer: str = ""
    texts: tuple[str, ...] = ()
    because: str = ""
    refusal: Refusal | None = None


@dataclass(slots=True)
class Return:
    """A call that came back."""

    ticket: Ticket
    ended: Ended
