"""One case for each rule of the table, and that no rule is without one."""

import pytest

from trueseed.teachers.api.actions import RULES, Failure, decide

NOW = 1_790_000_000.0


def failed(status: int | None = None, code: str = "", message: str = "", type: str = "", cause: str = "") -> Failure:
    return Failure(status=status, code=code, type=type, message=message, cause=cause)


CASES = [  # what came, and what is done; in the order of the table
    (failed(401, "account_deactivated", "The OpenAI account of this API key has been deactivated."), "hold"),
    (failed(401, type="access_terminated"), "hold"),
    (failed(401, "", "Your access was terminated due to violation of our policies, please check your email"), "hold"),
    (failed(403, "", "upstream: the account associated with this key has been deactivated"), "hold"),
    (failed(400, type="invalid_request_error", message="This organization has been disabled."), "hold"),
    (failed(403, "403", "Permission denied: Consumer 'api_key:x' has been suspended."), "hold"),
    (failed(403, "", "Your account has been suspended."), "hold"),
    (failed(403, "unsupported_country_region_territory", type="request_forbidden"), "refuse_region"),
    (failed(403, "", "Country, region, or territory not supported"), "refuse_region"),
    (failed(400, "400", "User location is not supported for the API use."), "refuse_region"),
    (failed(429, "429", "You exceeded your current quota, please check your plan and billing details.\n"
            "Please retry in 34.07s."), "wait"),
    (failed(429, "insufficient_quota", type="insufficient_quota"), "pause"),
    (failed(429, "credit_balance_exhausted"), "pause"),
    (failed(400, "billing_hard_limit_reached"), "pause"),
    (failed(429, "", "You exceeded your current quota, please check your plan and billing details."), "pause"),
    (failed(400, type="invalid_request_error", message="Your credit balance is too low to access the API."), "pause"),
    (failed(402, "", "Insufficient Balance"), "pause"),
    (failed(429, type="budget_exceeded"), "pause"),
    (failed(401, "invalid_api_key", "Incorrect API key provided"), "fix"),
    (failed(400, "400", "API key not valid. Please pass a valid API key."), "fix"),
    (failed(401, "", "You must be a member of an organization to use the API"), "fix"),
    (failed(401, "", "IP not authorized"), "fix"),
    (failed(401, "401", "Access denied due to invalid subscription key or wrong API endpoint."), "fix"),
    (failed(401), "fix"),
    (failed(404, "model_not_found", "The model `gpt-9` does not exist or you do not have access to it."), "fix"),
    (failed(404, "DeploymentNotFound", "The API deployment for this resource does not exist."), "fix"),
    (failed(404), "fix"),
    (failed(307), "fix"),
    (failed(400, "context_length_exceeded"), "skip"),
    (failed(400, "", "This model's maximum context length is 4096 tokens."), "skip"),
    (failed(413, type="request_too_large"), "skip"),
    (failed(400, "content_filter"), "skip"),
    (failed(400, "invalid_prompt"), "skip"),
    (failed(400, "", "The response was filtered due to the prompt triggering the content management policy."), "skip"),
    (failed(429, "rate_limit_exceeded", type="requests"), "wait"),
    (failed(429, "slow_down"), "wait"),
    (failed(429, type="rate_limit_error", message="This request would exceed your organization's rate limit"), "wait"),
    (failed(500, type="overloaded_error", message="Overloaded"), "wait"),
    (failed(529), "wait"),
    (failed(503, "3505", "Service tier capacity exceeded for this model."), "wait"),
    (failed(503, "", "The server is overloaded due to high traffic."), "wait"),
    (failed(429, "1300", "Rate limit exceeded", type="rate_limited"), "wait"),
    (failed(200, cause="NoLogprobs"), "fix"),
    (failed(cause="APIConnectionError", message="[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"), "fix"),
    (failed(cause="APIConnectionError", message="[Errno -2] Name or service not known"), "retry"),
    (failed(cause="APITimeoutError", message="Request timed out."), "retry"),
    (failed(cause="APIConnectionError", message="All connection attempts failed"), "retry"),
    (failed(200, cause="BadBody", message="<html>"), "retry"),
    (failed(409), "retry"),
    (failed(502), "retry"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "failure", "kind"), [(n, *case) for n, case in enumerate(CASES)])
def test_a_failure_is_decided_by_its_rule(number, failure, kind):
    first = next(n for n, rule in enumerate(RULES) if rule.matches(failure))
    assert (first, decide(failure, NOW).kind) == (number, kind)


def test_every_rule_has_a_case_and_says_what_to_do_next():
    assert len(CASES) == len(RULES)
    assert all(rule.because and rule.next for rule in RULES)


@pytest.mark.parametrize(("failure", "kind"), [
    (failed(422, "", "unknown field"), "fix"), (failed(520), "retry"), (failed(cause="ReadError"), "retry"),
])  # fmt: skip
def test_what_no_rule_knows_is_the_users_on_4xx_and_passing_otherwise(failure, kind):
    assert decide(failure, NOW).kind == kind


def test_a_budget_of_our_own_gateway_is_no_quota_of_the_providers():
    assert decide(Failure(status=429, code="insufficient_quota"), NOW).quota
    assert not decide(Failure(status=429, type="budget_exceeded"), NOW).quota
    assert not decide(Failure(status=429, code="rate_limit_exceeded"), NOW).quota


def test_a_terminal_429_is_never_waited_for_even_when_a_header_says_when():
    failure = Failure(status=429, code="insufficient_quota", headers={"retry-after": "1"})
    assert decide(failure, NOW).kind == "pause"


def test_an_overload_is_waited_for_as_long_as_the_provider_says():
    assert decide(Failure(status=529, headers={"retry-after": "7"}), NOW).after == 7.0


def test_a_negative_retry_after_is_unknown():
    assert decide(Failure(status=429, headers={"retry-after": "-1"}), NOW).after is None
