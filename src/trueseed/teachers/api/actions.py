"""What a failed call means and what to do about it: one table, pure.

    decide(Failure(status=429, code="insufficient_quota"), now=time.time()).kind == "pause"

Kinds, from the mildest:

    retry          a passing fault of network or server: ask again after a growing pause
    wait           a rate limit or overload: ask again, not before `after` seconds
    skip           this one question will never be answered: keep the reason, go on with the others
    fix            the user's key, model name or request must change
    pause          quota, credit or a budget is used up: waiting does not mend it, so the run stops and can be resumed
    refuse_region  the provider does not serve this region: never proxied around
    hold           the provider suspended the account: nothing of this maker's is asked again until it is released

A rule matches when everything it names matches; the first in the table that does decides. The order is: what ends the
relation, then what ends the run, then what ends one question, then what passes. So a 429 that says the quota is used up
is a pause although its status says "later". Names and sentences were read in providers' documentation and in logs that
users published; a sentence is matched because aggregators keep it where they lose the code.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trueseed.teachers.api.headers import retry_after

TOO_LONG = "the prompt is longer than the model's context"

Kind = Literal["retry", "wait", "skip", "fix", "pause", "refuse_region", "hold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that gave no answer. status: of the HTTP response, None when there was none. code, type, message: of the
    error in the body. headers: of the response, names in lower case. cause: name of the exception when there was no
    response.
    """

    status: int | None = None
    code: str = ""
    type: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """after: seconds, None when the provider did not credibly say. because, next: sentences for the user. quota: it is
    the provider's own that is used up, so no other way of its maker is a way on (`account.quotas`).
    """

    kind: Kind
    after: float | None = None
    because: str
    next: str
    quota: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """When all that is named here is found in a failure, this is what it means.

    status: any of these. named: the error's code or type is one of these. says: found in its message, in any case.
    cause: any of these exceptions. provider: whose wire it was seen on. own: what is used up is ours, not a provider's.
    """

    kind: Kind
    provider: str
    because: str
    next: str
    status: tuple[int, ...] = ()
    named: tuple[str, ...] = ()
    says: str = ""
    cause: tuple[str, ...] = ()
    own: bool = False

    def matches(self, failure: Failure) -> bool:
        return (
            (not self.status or failure.status in self.status)
            and (not self.named or not {failure.code, failure.type}.isdisjoint(self.named))
            and (not self.says or re.search(self.says, failure.message, re.IGNORECASE) is not None)
            and (not self.cause or failure.cause in self.cause)
        )


def decide(failure: Failure, now: float) -> Action:
    """What to do. now: seconds since 1970, for headers that give a time. What no rule knows is `fix` when the server
    refused the request (4xx), and `retry` otherwise.
    """
    rule = next((rule for rule in RULES if rule.matches(failure)), _unknown(failure))
    after = retry_after(failure.headers, failure.message, now) if rule.kind in ("wait", "retry", "pause") else None
    quota = rule.kind == "pause" and not rule.own
    return Action(kind=rule.kind, after=after, because=rule.because, next=rule.next, quota=quota)


def _unknown(failure: Failure) -> Rule:
    if failure.status is not None and 400 <= failure.status < 500:
        because = f"the server refused the request with status {failure.status}"
        return Rule("fix", "any", because, "read its message and change the run file; the same command resumes")
    what = f"status {failure.status}" if failure.status else failure.cause or "no answer"
    return Rule("retry", "any", f"the call failed in a way that may pass ({what})", _LATER)


_LATER = "nothing to do now; should it last, give the same command again later"
_TALK = (
    "settle it with the maker, then `trueseed release` with the reviewer's key and evidence of reinstatement; "
    "another key, account or route of the same maker will not be used"
)
_ELSEWHERE = "choose a teacher whose maker serves your region; asking through a proxy or another route is not done here"
_PAY = (
    "raise the quota or add credit with the provider, then give the same command again; another key, account or route "
    "of the same maker will not be used"
)
_KEY = "set the environment variable that holds this provider's key to a valid one"
_NAME = "correct `model` in the run file; `trueseed doctor` lists what the server offers"
_ONE = "nothing: the question is left out and counted, with this reason"
_SLOWER = "nothing: it is asked again when the provider allows"

RULES: tuple[Rule, ...] = (
    # the maker ended the relation
    Rule("hold", "openai", "the account of this key was deactivated", _TALK, named=("account_deactivated",)),
    Rule("hold", "openai", "access was terminated for a violation of policies", _TALK, named=("access_terminated",)),
    Rule("hold", "openai", "access was terminated for a violation of policies", _TALK,
         says=r"your access was terminated"),
    Rule("hold", "openai", "the account was deactivated", _TALK, (400, 401, 403), says=r"account .{0,60}deactivated"),
    Rule("hold", "anthropic", "the organisation was disabled", _TALK, (400, 401, 403),
         says=r"organi[sz]ation has been disabled"),
    Rule("hold", "google", "the project of this key was suspended", _TALK, (400, 403),
         says=r"consumer .{0,120}has been suspended|CONSUMER_SUSPENDED"),
    Rule("hold", "any", "the account was suspended", _TALK, (400, 401, 403),
         says=r"\b(account|organi[sz]ation|workspace|subscription|project) (has been |is |was )?(suspended|banned)"),
    # it does not serve this region
    Rule("refuse_region", "openai", "the provider does not serve the region that the call came from", _ELSEWHERE,
         named=("unsupported_country_region_territory",)),
    Rule("refuse_region", "openai", "the provider does not serve the region that the call came from", _ELSEWHERE,
         (400, 403), says=r"(country|region|territory)[\w, ]{0,30} not supported"),
    Rule("refuse_region", "google", "the provider does not serve the region that the call came from", _ELSEWHERE,
         (400, 403), says=r"user location is not supported"),
    # Google says the same of a quota per minute as of one that is used up, and then adds when to come back
    Rule("wait", "google", "the provider's rate limit is reached", _SLOWER, (429,),
         says=r"exceeded your current quota(.|\n)*retry in \d"),
    # what was paid for, or allowed, is used up: a 429 or 400 that no waiting mends
    Rule("pause", "openai", "the quota of the account is used up", _PAY, named=("insufficient_quota",)),
    Rule("pause", "openai", "the credit of the account is used up", _PAY, named=("credit_balance_exhausted",)),
    Rule("pause", "openai", "a billing limit of the account is reached", _PAY,
         named=("billing_hard_limit_reached", "billing_not_active")),
    Rule("pause", "openai", "the quota of the account is used up", _PAY, (402, 403, 429),
         says=r"exceeded your current quota.{0,40}(plan|billing)"),
    Rule("pause", "anthropic", "the credit of the account is used up", _PAY, (400, 402, 403, 429),
         says=r"credit balance is too low"),
    Rule("pause", "deepseek", "the balance of the account is used up", _PAY, (402,)),
    Rule("pause", "litellm", "a budget of your own gateway is used up, not the provider's",
         "raise that budget, or wait until it is renewed, then give the same command again",
         named=("budget_exceeded",), own=True),
    # the key
    Rule("fix", "openai", "the key is not valid", _KEY, named=("invalid_api_key", "authentication_error")),
    Rule("fix", "google", "the key is not valid", _KEY, (400, 401, 403), says=r"api[ _]key (not valid|not found)|"
         r"pass a valid api key|API_KEY_INVALID"),
    Rule("fix", "openai", "the key belongs to no organisation that may ask",
         "have it made a member of an organisation, or use a key of one", (401,), says=r"member of an organi[sz]ation"),
    Rule("fix", "openai", "the provider was told to accept this key from other addresses only",
         "ask from an address on the account's list, or change the list", (401, 403),
         says=r"ip (address )?not authori[sz]ed"),
    Rule("fix", "azure", "the key is not valid, or belongs to another endpoint",
         "check AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT: they belong together", (401,),
         says=r"subscription key"),
    Rule("fix", "any", "the key is not accepted", _KEY, (401,)),
    # the model
    Rule("fix", "openai", "the server does not know this model, or the key may not use it", _NAME,
         named=("model_not_found", "not_found_error")),
    Rule("fix", "azure", "there is no such deployment",
         "on Azure `model` is the name of your deployment, and a new one takes some minutes",
         named=("DeploymentNotFound",)),
    Rule("fix", "any", "the server does not know this address or model",
         "check `base_url` (it usually ends in /v1) and `model` in the run file", (404,)),
    Rule("fix", "any", "the server sends us to another address, and another address may be under other terms",
         "when it is the same route, give that address as `base_url`", (301, 302, 303, 307, 308)),
    # this one question
    Rule("skip", "openai", TOO_LONG, _ONE, named=("context_length_exceeded",)),
    Rule("skip", "any", TOO_LONG, _ONE, (400, 413, 422),
         says=r"(maximum|max) context length|prompt is too long|context (length|window|size)|exceed_context_size"),
    Rule("skip", "anthropic", "the request is larger than the provider takes", _ONE, (413,)),
    Rule("skip", "azure", "the provider's content filter declined the prompt", _ONE,
         named=("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")),
    Rule("skip", "openai", "the provider declined the prompt", _ONE, named=("invalid_prompt",)),
    Rule("skip", "any", "the provider's content filter declined the prompt", _ONE, (400, 403),
         says=r"content (management|filter)|flagged (as|by|for)\b.{0,60}(moderation|polic)|content exists risk"),
    # it passes
    Rule("wait", "openai", "the provider's rate limit is reached", _SLOWER, named=("rate_limit_exceeded",)),
    Rule("wait", "openai", "the provider asks to go slower", _SLOWER, named=("slow_down",)),
    Rule("wait", "anthropic", "the provider's rate limit is reached", _SLOWER, named=("rate_limit_error",)),
    Rule("wait", "anthropic", "the provider is overloaded", _SLOWER, named=("overloaded_error",)),
    Rule("wait", "anthropic", "the provider is overloaded", _SLOWER, (529,)),
    Rule("wait", "mistral", "the model's capacity is exceeded", _SLOWER, (429, 503), says=r"capacity exceeded"),
    Rule("wait", "deepseek", "the provider is overloaded", _SLOWER, (503,), says=r"overload"),
    Rule("wait", "any", "the provider's rate limit is reached", _SLOWER, (429,)),
    Rule("fix", "any", "log-probabilities were asked for and did not come with the answer",
         "choose a model that gives them, or a method that needs none", cause=("NoLogprobs",)),
    # trust
    Rule("fix", "network", "the server's certificate cannot be trusted",
         "check `base_url` and the machine's certificates; a certificate of your own goes into SSL_CERT_FILE",
         says=r"certificate[ _]verify[ _]failed|self[- ]signed certificate|hostname mismatch"),
    Rule("retry", "network", "the server's name cannot be found", "check `base_url` and the network",
         says=r"name or service not known|temporary failure in name resolution|nodename nor servname|"
         r"getaddrinfo failed|no address associated"),
    Rule("retry", "network", "the server took too long to answer", _LATER, cause=("APITimeoutError", "TimeoutError")),
    Rule("retry", "network", "the server cannot be reached, or broke off",
         "check `base_url` and that the server is running", cause=("APIConnectionError",)),
    Rule("retry", "any", "the server gave something that is not a chat completion",
         "check that `base_url` is an OpenAI-compatible address (it usually ends in /v1)", cause=("BadBody",)),
    Rule("retry", "any", "the request timed out or clashed on the server", _LATER, (408, 409, 425)),
    Rule("retry", "any", "the server failed", _LATER, (500, 502, 503, 504)),
)  # fmt: skip
