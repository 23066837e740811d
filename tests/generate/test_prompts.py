from contextlib import closing
from pathlib import Path

import pytest

from trueseed.core.prompts import Prompt
from trueseed.errors import Refused
from trueseed.generate.prompts import Imported, must_have_papers
from trueseed.similarity.remembered import Remembered

ANSWER = (
    "Soup stays hot until lunch when the flask was first filled with boiling water for five minutes and the soup went "
    "in right after."
)
MINE = Imported((Prompt("mine", "How do I keep soup warm?"), Prompt("theirs", f"Translate this: {ANSWER}")))


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    with closing(Remembered(tmp_path / "answers.sqlite")) as remembered:
        remembered.add(ANSWER, "openai/gpt-4@api", "relayed for judge on 2026-03-01")
    return tmp_path / "answers.sqlite"


def test_a_relayed_answer_does_not_come_in_as_ones_own(answers):
    with pytest.raises(Refused, match=r"'theirs' holds 100% of an answer of 'openai/gpt-4@api' \(relayed for judge"):
        must_have_papers(MINE, "own/me", answers)


def test_a_relayed_answer_comes_in_under_its_own_source(answers):
    must_have_papers(MINE, "openai/gpt-4@api", answers)


def test_where_nothing_was_relayed_nothing_is_looked_for(tmp_path):
    must_have_papers(MINE, "own/me", tmp_path / "answers.sqlite")
    assert not (tmp_path / "answers.sqlite").exists()
