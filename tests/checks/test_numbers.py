"""Numbers in answers, as GSM8K and lm-eval pick and compare them."""

from decimal import Decimal

import pytest

from trueseed.checks.numbers import flexible_match, last, marked, strict_match, value


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("She makes $18.", "18"), ("It is 70,000 in all", "70000"), ("-3 degrees", "-3"), ("3.50 dollars", "3.50"),
        ("from 1 to 2", "2"), ("about .5", "0.5"), ("−4", "-4"), ("5 + 3 = 8", "8"),
        ("1,234,567.8 people.", "1234567.8"),
    ],
)  # fmt: skip
def test_the_last_number_is_found(answer: str, number: str) -> None:
    assert last(answer) == Decimal(number)


def test_words_hold_no_numbers() -> None:
    assert last("no number in v2beta or nowhere") is None
    assert value("12a") is None
    assert value("NaN") is None


def test_a_marked_number_is_the_first_that_is_marked_and_not_one_that_was_cut() -> None:
    assert marked("#### 6,000\n#### 6,000\n#### 6") == Decimal(6000)
    assert marked("it is 3") is None


@pytest.mark.parametrize(
    ("answer", "strict", "flexible"),
    [
        ("So\n#### 18", True, True), ("It is 18.", False, True), ("It is $18", False, True), ("#### 18.", True, True),
        ("18 apples of 20", False, False), ("#### 18\nOr 19", True, False), ("It is 18.0", False, False),
        ("nothing", False, False), ("####18", False, True), ("#### 1,8", True, True),
    ],
)  # fmt: skip
def test_it_is_compared_as_lm_eval_does(answer: str, strict: bool, flexible: bool) -> None:
    target = "9 * 2 = <<9*2=18>>18 every day\n#### 18"
    assert (strict_match(answer, target), flexible_match(answer, target)) == (strict, flexible)
