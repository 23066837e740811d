"""Our 25 instructions beside lm-evaluation-harness's copy of the published checker, strictly and loosely."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.nltk_punkt import punkt_for_nltk
from tests.checks.test_ifeval import EDGES

from trueseed.checks.ifeval import INSTRUCTIONS, follows, follows_loosely, instruction

ANYTHING = [
    "",
    "Sure, here it is:\n\nThis is a lovely day, is it not? Dr. Smith said so. It will rain at 3.15 p.m.\n\nBye",
    '"THIS IS ALL IN CAPITALS, AND WE DON\'T MIND IT"',
    "this is all small, and it isn't long\n***\nit has two parts\n\np.s. and a bit more",
    "<<A day in May>>\n* one *bold* point\n* **another** [name] [place]\n- a third\nSection 1\na\nSection 2\nb",
    '```json\n{"sun": ["moon", 1, null]}\n```',
    "My answer is yes.\n******\nMy answer is no.",
    "So it goes.\n\nso ends the NASA report on COVID-19 and U.S. law.\n\nThe end.",
    "Das ist ein sehr schöner Tag, und wir gehen alle in den Garten.",
]


def wrapped(answer: str) -> list[str]:
    """As they are, and with what is left off loosely."""
    return [answer, f"Sure, this:\n{answer}", f"{answer}\nBye, then", f"**{answer}**"]


@pytest.fixture(scope="module")
def cases() -> list[tuple[str, dict, str]]:
    return [
        (name, args, answer)
        for name, args, right, wrong in EDGES
        if args.get("letter") != "!"  # for which the published checker draws a letter
        for answer in (*(each for edge in (*right, *wrong) for each in wrapped(edge)), *ANYTHING)
    ]


@pytest.fixture(scope="module")
def published(cases: list[tuple[str, dict, str]], tmp_path_factory: pytest.TempPathFactory) -> list[list[bool]]:
    worker = Path(__file__).with_name("published_ifeval.py")
    nltk = punkt_for_nltk(tmp_path_factory.mktemp("nltk"))
    ended = subprocess.run(
        [sys.executable, worker],
        input=json.dumps(cases),
        env={**os.environ, "NLTK_DATA": str(nltk)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[list[bool]] = json.loads(ended.stdout)
    return found


def test_every_verdict_is_the_published_checkers(cases, published):
    assert {name for name, _, _ in cases} == set(INSTRUCTIONS)
    told = [instruction(name, args) for name, args, _ in cases]
    ours = [[follows(it, said), follows_loosely(it, said)] for it, (_, _, said) in zip(told, cases, strict=True)]
    apart = [(*case, one, two) for case, one, two in zip(cases, ours, published, strict=True) if one != two]
    assert apart == []


def test_each_instruction_is_followed_by_some_and_not_by_others(cases, published):
    """Else the verdicts would be the same by chance."""
    for place, way in enumerate(("strict", "loose")):
        said = {(name, bool(verdict[place])) for (name, _, _), verdict in zip(cases, published, strict=True)}
        assert said == {(name, held) for name in INSTRUCTIONS for held in (True, False)}, way
