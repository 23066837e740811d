"""The maker's terms forbid using output to build competing models: training is refused before any call."""

import json

import pytest
from tests.gateway.conftest import OPENAI, Make, opened, refusal
from tests.story.people import DEEPSEEK, GPT

from trueseed.errors import Refused
from trueseed.terms.model import Use

__all__ = ["opened"]

TEXTS = {
    "2023-03-14": ("openai-tou-2023-03-14", True),
    "2023-08-27": ("openai-tou-2023-03-14", True),
    "2023-08-28": ("openai-business-2023-08-28", False),  # nobody here read it
    "2023-11-13": ("openai-business-2023-08-28", False),
    "2023-11-14": ("openai-business-2023-11-14", True),
    "2023-12-15": ("openai-business-2023-11-14", True),
}
each_day = pytest.mark.parametrize(("day", "text", "established"), [(day, *said) for day, said in TEXTS.items()])


@each_day
def test_the_text_in_force_on_the_day_forbids_it_or_is_not_established(place, day, text, established):
    code, said = place.trueseed("may", "train", GPT, "--at", day, "--json")
    verdict = json.loads(said)
    assert code == 3
    assert (verdict["document"], verdict["established"]) == (text, established)
    assert ("compete with" in verdict["because"]) is established
    assert ("nothing is established; reported" in verdict["because"]) is not established


@each_day
def test_a_run_is_refused_by_it_before_anybody_is_called(place, on, day, text, established):
    on(day)
    code, said = place.trueseed("run", place.run_file(GPT))
    assert code == 3
    assert text in said
    [(step, because)] = place.refusals()
    assert step == "generate" and text in because
    assert place.provider.counts()["arrived"] == 0


def test_before_its_first_text_that_is_known_nothing_is_established(place, on):
    on("2023-03-13")
    code, said = place.trueseed("run", place.run_file(GPT))
    assert (code, "no terms are established" in said) == (3, True)
    assert place.provider.counts()["arrived"] == 0


def test_so_it_is_through_the_gateway(opened: Make):
    with opened() as there:
        told = refusal(there.client(Use.TRAIN), model=OPENAI, extra_headers={"X-TrueSeed-Use": "train"})
        assert (told.status_code, told.code) == (403, "refused")
        assert "compete with" in told.message
        assert there.provider.counts()["arrived"] == 0


def test_answers_that_others_asked_for_come_in_under_its_name_and_train_nothing(place, tmp_path):
    (tmp_path / "theirs.jsonl").write_text(json.dumps({"prompt": "Soup?", "completion": "Heat it well."}) + "\n")
    came = place.told("import", tmp_path / "theirs.jsonl", "--source", GPT)
    assert [label["source"] for label in came["labels"]] == [GPT]
    code, said = place.trueseed("records", "export", came["records"], tmp_path / "out.jsonl")
    assert (code, "compete with" in said) == (3, True)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_maker_that_does_not_forbid_it_is_asked(place):
    """So that the others are not refused for another reason."""
    place.ask(DEEPSEEK)
    assert place.provider.counts()["billed"] == 3
    with pytest.raises(Refused, match="compete with"):
        place.ask(GPT)
    assert place.provider.counts()["billed"] == 3
