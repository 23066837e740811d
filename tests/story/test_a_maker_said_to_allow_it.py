"""Another maker is said to allow training since December 2023: reported then, permitted by the text of 2024-02-27."""

import json

import pytest
from tests.story.people import MISTRAL

from trueseed.errors import Refused


def asked(place, day: str) -> dict:
    _, said = place.trueseed("may", "train", MISTRAL, "--at", day, "--json")
    return json.loads(said)


@pytest.mark.parametrize("day", ["2023-12-10", "2023-12-20", "2024-02-07"])
def test_in_december_2023_it_is_reported_permitted_and_not_established(place, day):
    verdict = asked(place, day)
    assert (verdict["verdict"], verdict["established"]) == ("refuse", False)
    assert "nothing is established; reported: training is permitted" in verdict["because"]
    assert "against it, the first text that was read" in verdict["because"]


@pytest.mark.parametrize("day", ["2024-02-08", "2024-02-25", "2024-02-26"])
def test_the_first_texts_that_were_read_forbid_it(place, day):
    verdict = asked(place, day)
    assert (verdict["verdict"], verdict["established"]) == ("refuse", True)


@pytest.mark.parametrize("day", ["2024-02-27", "2025-06-01"])
def test_from_the_text_of_february_27th_it_is_permitted(place, day):
    assert (asked(place, day)["verdict"], asked(place, day)["document"]) == ("permit", "mistral-terms-2024-02-27")


@pytest.mark.parametrize(("day", "answers"), [("2023-12-20", 0), ("2024-02-26", 0), ("2024-02-27", 3)])
def test_a_report_lets_nobody_ask_and_the_text_does(place, on, day, answers):
    on(day)
    if answers:
        place.ask(MISTRAL)
    else:
        with pytest.raises(Refused):
            place.ask(MISTRAL)
    assert place.provider.counts()["billed"] == answers


def test_what_was_asked_before_it_stays_under_the_text_it_was_asked_under(place, on):
    """Somebody brings answers of 20 February after the 27th; the later text frees none of them."""
    on("2024-02-20")
    came = place.told("import", place.rows("february.jsonl", "The tide follows the moon."), "--source", MISTRAL)
    on("2024-03-01")
    code, said = place.trueseed("why", came["records"], "train", "--at", "2024-03-01")
    assert (code, "as it was asked, refused" in said, "asked today, permitted" in said) == (3, True, True)
