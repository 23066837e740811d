"""Every way of being turned away, as OpenAI's clients know errors.

The official clients ask again after 408, 409, 429 and 5xx, whatever the reason. Where asking again cannot help,
`x-should-retry: false` tells them.
"""

import math
from datetime import UTC, datetime

from trueseed.access.faults import Fault, fault
from trueseed.access.keys import BudgetSpent, Unauthorised
from trueseed.core.redact import redact
from trueseed.errors import Paused, Refused
from trueseed.gateway.journal import Unwritten
from trueseed.teachers.account.limits import Exhausted
from trueseed.teachers.account.quotas import OutOfQuota
from trueseed.teachers.account.state import AccountUnavailable
from trueseed.teachers.api.actions import Action, Failure
from trueseed.terms.model import parse_source

NOT_AGAIN = {"x-should-retry": "false"}
SOON_S = 60  # the clients wait no longer than that by themselves
AGAIN_S = "1"


def ours(err: Exception) -> Fault:
    """What a client is told of our own refusals."""
    match err:
        case Unauthorised():
            code = "invalid_api_key" if err.fault == "unknown" else f"key_{err.fault}"
            return Fault(401, str(err), code=code, headers={"www-authenticate": "Bearer"})
        case Exhausted():
            return _exhausted(err)
        case OutOfQuota():
            return Fault(429, str(err), code="insufficient_quota", headers=NOT_AGAIN)
        case BudgetSpent():
            return Fault(429, str(err), code="budget_exceeded", headers=NOT_AGAIN)
        case Unwritten():
            return Fault(503, str(err), code="ledger_unavailable", headers={"retry-after": AGAIN_S})
        case AccountUnavailable():
            return Fault(503, str(err), code="account_unavailable", headers={"retry-after": AGAIN_S})
        case Refused():
            return Fault(403, str(err), code="refused", headers=NOT_AGAIN)
        case Paused():
            return Fault(503, str(err), code="paused", headers=NOT_AGAIN)
    return fault(err)


def _exhausted(err: Exhausted) -> Fault:
    """A limit of ours. One that opens again says when, in the headers that providers use."""
    headers: dict[str, str] = {}
    wait = None
    if err.until is not None:
        wait = max(1, math.ceil((err.until - datetime.now(UTC)).total_seconds()))
        headers["retry-after"] = str(wait)
    limited = {name: getattr(err.limit, name) for name in ("requests", "tokens")}
    for name, most in limited.items():
        if most is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(most)
            headers[f"x-ratelimit-remaining-{name}"] = "0"  # none for a call of this size
            if wait is not None:
                headers[f"x-ratelimit-reset-{name}"] = f"{wait}s"
    if wait is None or wait > SOON_S:
        headers |= NOT_AGAIN
    return Fault(429, str(err), code="rate_limit_exceeded" if wait else "allowance_exceeded", headers=headers)


def theirs(source: str, action: Action, failure: Failure, secret: str) -> Fault:
    """What a client is told when the provider declined its call. Of our key and account it hears nothing."""
    said = " ".join(redact(failure.message, [secret]).split())[:500]
    message = f"{source}: {action.because}"
    told = f"{message} ({said})" if said else message
    match action.kind:
        case "hold":
            maker = parse_source(source).maker
            return Fault(403, f"{message}; everything of {maker!r} is on hold", code="on_hold", headers=NOT_AGAIN)
        case "refuse_region":
            return Fault(403, told, code="unsupported_country_region_territory", headers=NOT_AGAIN)
        case "pause":
            return Fault(429, message, code="insufficient_quota", headers=NOT_AGAIN)
        case "wait":
            after = {"retry-after": str(math.ceil(action.after))} if action.after is not None else {}
            return Fault(429, told, code="rate_limit_exceeded", headers=after)
        case "skip":
            return Fault(400, told, code=failure.code or "not_answerable")
        case "fix" if failure.status in (400, 422):
            return Fault(400, told, code=failure.code or "invalid_request")
        case "fix":  # our key, address or model name: the client can do nothing about it
            operator = f"{message}; whoever runs this gateway must mend it"
            return Fault(502, operator, code="upstream_misconfigured", headers=NOT_AGAIN)
    return Fault(502, told, code="upstream_failed")
