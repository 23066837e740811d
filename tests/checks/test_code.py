"""A function passes when its tests ran to their end in the sandbox."""

import itertools
import sys

import pytest

from trueseed.checks.code import Problem, fault, pass_at_k, solution

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's; elsewhere it refuses")

ADD = Problem(
    prompt='from math import floor\n\n\ndef add(a, b):\n    """Adds."""\n',
    tests="def check(candidate):\n    assert candidate(1, 2) == 3\n",
    entry="add",
)


@pytest.mark.parametrize(
    "answer",
    [
        "    return a + b\n",
        "    return a + b\n\nprint(add(1, 2))\nnonsense here",
        "Here it is:\n```python\ndef add(a, b):\n    return floor(a + b)\n```\nIt adds.",
        "```\n    return a + b\n```",
    ],
)
def test_a_right_function_passes(answer: str) -> None:
    assert fault(ADD, answer) == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("    return a - b", "AssertionError"),
        ("    raise SystemExit(0)", "it ended before its tests did"),
        ("    import os; os._exit(0)", "it ended before its tests did"),
        ("    return", "AssertionError"),
        ("I cannot help with that.", "SyntaxError: invalid syntax"),
        ("", "AssertionError"),
    ],
)
def test_a_wrong_one_does_not_and_says_why(answer: str, words: str) -> None:
    assert fault(ADD, answer).startswith(words)


def test_of_several_blocks_the_one_with_the_function_is_taken() -> None:
    answer = "```python\nprint(1)\n```\n```python\ndef add(a, b):\n    return 3\n```"
    assert "return 3" in solution(ADD, answer)
    assert "print(1)" not in solution(ADD, answer)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_answer(n: int) -> None:
    for right in range(n + 1):
        for k in range(1, n + 1):
            draws = list(itertools.combinations([i < right for i in range(n)], k))
            assert pass_at_k(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_more_answers_cannot_be_drawn_than_there_are() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        pass_at_k(2, 1, 3)
