"""What a provider's headers say of its limits, and what they do not."""

import pytest

from trueseed.teachers.api.headers import MONTH_S, live, retry_after, seconds

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("200ms", 0.2),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("20", 20.0),
        ("0", 0.0),
        (" 0.25 ", 0.25),
        ("2026-09-21T14:13:50Z", 30.0),
        ("2026-09-21T16:13:50+02:00", 30.0),
        ("Mon, 21 Sep 2026 14:13:50 GMT", 30.0),
        ("1790000030", 30.0),
        ("1790000030000", 30.0),
    ],
)
def test_a_time_is_read_in_every_form_that_providers_use(text, expected):
    assert seconds(text, NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "-1s",
        "soon",
        "nan",
        "inf",
        "9" * 30,
        "1s later",
        "2020-01-01T00:00:00Z",
        "400d",
        str(MONTH_S + 1),
        "1e9",
    ],
)
def test_what_is_negative_absurd_or_unreadable_is_unknown(text):
    assert seconds(text, NOW) is None


def test_the_limits_of_openai_are_read():
    found = live(
        {
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        NOW,
    )
    assert (found["requests"].limit, found["requests"].remaining, found["requests"].resets_in) == (500, 499, 0.12)
    assert (found["tokens"].limit, found["tokens"].remaining, found["tokens"].resets_in) == (None, 0, 360.0)


def test_the_limits_of_anthropic_are_read():
    found = live(
        {
            "anthropic-ratelimit-input-tokens-limit": "30000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-09-21T14:13:50Z",
        },
        NOW,
    )["input-tokens"]
    assert (found.limit, found.remaining, found.resets_in) == (30000, 0, 30.0)


def test_azures_minus_one_says_nothing():
    found = live({"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "-1",
                  "x-ratelimit-reset-requests": "0"}, NOW)["requests"]  # fmt: skip
    assert (found.limit, found.remaining, found.resets_in) == (None, None, 0.0)


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({"retry-after": "20", "retry-after-ms": "250"}, "", 0.25),
        ({"retry-after": "20"}, "Please try again in 3s.", 20.0),
        ({"retry-after": "-5"}, "Please try again in 3s.", 3.0),
        ({"retry-after": "-5"}, "", None),
        ({"retry-after": "Mon, 21 Sep 2026 14:13:50 GMT"}, "", 30.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7s",
          "x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "99s"}, "", 7.0),
        ({}, "Rate limit reached on requests per day (RPD): Limit 200. Please try again in 7m12s.", 432.0),
        ({}, "Please retry in 34.07s.", 34.07),
        ({}, "Please try again in 200ms.", 0.2),
        ({}, "Rate limit exceeded", None),
        ({"retry-after": "0"}, "", None),
        ({"retry-after": "0"}, "Please try again in 3s.", 3.0),
        ({"retry-after-ms": "0", "retry-after": "2"}, "", 2.0),
        ({"retry-after": "Mon, 21 Sep 2026 14:13:20 GMT"}, "", None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "0s"}, "", None),
        ({}, "Please try again in 0s.", None),
    ],
)  # fmt: skip
def test_when_to_ask_again_is_found_by_header_then_limit_then_message(headers, message, expected):
    assert retry_after(headers, message, NOW) == (pytest.approx(expected) if expected is not None else None)
