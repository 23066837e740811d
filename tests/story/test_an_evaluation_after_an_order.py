"""The answers were used to evaluate the model too, also after an order to stop: judging is a use of its own."""

import json
from datetime import UTC, datetime

import httpx
import pytest
from tests.gateway.conftest import DEEPSEEK, Make, ask, judging, opened, refusal
from tests.story.people import GPT, trueseed

from trueseed.errors import Refused
from trueseed.terms.model import Use

__all__ = ["opened"]
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


def judge(place) -> None:
    with place.workspace.step("judge", ask={GPT: Use.JUDGE}):
        pass


@pytest.mark.parametrize("day", ["2023-05-01", "2023-10-01", "2023-12-15", TODAY])
def test_judging_is_refused_while_the_texts_are_silent_on_it(place, day):
    code, said = place.trueseed("may", "judge", GPT, "--at", day, "--json")
    assert (code, json.loads(said)["established"]) == (3, False)


def test_the_door_refuses_it_and_says_what_would_settle_it(place):
    with pytest.raises(Refused, match=r"silent on evaluating models.*written word on evaluation"):
        judge(place)
    assert [step for step, _ in place.refusals()] == ["judge"]


def test_a_text_that_establishes_it_permits_judging_and_no_training(place):
    place.reads("word-on-evaluation", "openai/*@api", "permit judge")
    judge(place)
    with pytest.raises(Refused, match="establishes train"):
        place.ask(GPT)


def test_what_was_asked_to_judge_trains_nothing(place):
    """Grades may not pick what is trained on either, where only judging is established."""
    place.reads("word-on-evaluation", "openai/*@api", "permit judge")
    with (
        pytest.raises(Refused, match="asked for judging only"),
        place.workspace.step("pick", ask={GPT: Use.JUDGE}, brings={}) as step,
    ):
        step.write("records", lambda folder: (folder / "picked.txt").write_text("the best") and None, {})


def test_an_approval_to_serve_people_permits_no_evaluation(place):
    approved = {"approvals": [{"market": "CN", "reference": "a registration"}]}
    place.told("facts", place.run_file(GPT, operator=approved))
    code, said = place.trueseed("may", "judge", GPT)
    assert (code, "not established" in said) == (3, True)


ORDER = ("--use", "judge", "--asked-between", TODAY, "-", "--why", "ordered to stop evaluating with it")


@pytest.fixture
def ordered(place):
    """It was permitted, as far as the operator had read; then came the order."""
    place.reads("word-on-evaluation", "openai/*@api", "permit judge train")
    place.ask(GPT)
    judge(place)
    place.told("recall", GPT, *ORDER)
    return place


def test_after_the_order_the_door_refuses_that_use_and_leaves_the_other(ordered):
    with pytest.raises(Refused, match=r"ordered to stop evaluating with it.*may not be asked to judge any more"):
        judge(ordered)
    ordered.ask(GPT, 4)
    assert ordered.provider.counts()["billed"] == 7


def test_a_gateway_that_was_running_refuses_it_at_the_next_call(opened: Make):
    with opened() as there:
        client = there.client(Use.JUDGE, Use.TRAIN)
        assert ask(client, extra_headers=judging("judge")).choices
        with there.workspace.step("generate", ask={DEEPSEEK: Use.TRAIN}) as step:
            step.write("records", lambda folder: (folder / "records.txt").write_text("words") and None, {})
        assert trueseed("recall", DEEPSEEK, *ORDER, "--workspace", there.folder)[0] == 0
        told = refusal(client, extra_headers=judging("judge"))
        assert (told.status_code, "ordered to stop" in told.message) == (403, True)
        assert ask(client, extra_headers=judging("train")).choices
        assert there.billed() == 2


def test_calls_that_were_made_past_the_order_are_found_by_the_makers_own_figures(ordered):
    """Somebody goes on with a key of their own, around the door: the maker counted it."""
    for n in range(2):
        body = {"model": "simulated", "messages": [{"role": "user", "content": f"Grade answer {n}."}]}
        headers = {"Authorization": "Bearer a-key-of-their-own"}
        httpx.post(f"{ordered.provider.openai}/chat/completions", json=body, headers=headers)
    bill = ordered.document("usage.csv", ordered.provider.usage_csv())
    figures = ("--csv", bill, "--model", f"simulated={GPT}", "--month", TODAY[:7], "--through", TODAY)
    code, said = ordered.trueseed("reconcile", "--maker", "openai", *figures, "--json")
    found = json.loads(said)
    assert (code, found["verdict"], found["outside"]) == (4, "past_stop", 2)
    [past] = found["past"]
    assert (past["stop"], past["of"], past["outside"], past["at_most"]) == ("recall", GPT, True, 2)


def test_without_such_calls_the_figures_agree(ordered):
    bill = ordered.document("usage.csv", ordered.provider.usage_csv())
    figures = ("--csv", bill, "--model", f"simulated={GPT}", "--month", TODAY[:7], "--through", TODAY)
    assert ordered.told("reconcile", "--maker", "openai", *figures)["past"] == []
