"""The account was suspended pending an investigation, "necessary changes or terminate": a hold, and a whole case."""

import json
from typing import Any

import pytest
from tests.story.conftest import On
from tests.story.people import DEEPSEEK, GPT, Place

from trueseed.errors import Refused
from trueseed.teachers.simulator import Behaviour


def suspended(place: Place, on: On) -> None:
    """Two answers were had of GPT-4, under a contract as the operator had read it; the third call was suspended."""
    place.reads("openai-contract", "openai/*@api", "permit train serve")
    place.grow(place.ask(GPT, 2))
    place.provider.suspend()
    with pytest.raises(Refused, match="Everything of 'openai' is on hold for us"):
        place.ask(GPT, 3)
    letter = place.document("letter.txt", "We suspended your account while we further investigate.")
    said = ("--said", "account suspended pending an investigation", "--document", letter)
    made = place.told("case", "open", "openai", *said)
    assert made["state"] == "opened"


@pytest.fixture
def case(begun) -> Place:
    """The provider would answer again, and we have not heard of it."""
    return begun(suspended)


ANOTHER_MODEL = "openai/gpt-3.5-turbo@api"


def number(place: Place) -> int:
    return place.told("case", "list")["cases"][0]["case"]


def note(place: Place, state: str, said: str) -> None:
    place.told("case", "note", number(place), "--state", state, "--said", said)


def close(place: Place, how: str) -> None:
    letter = place.document(f"{how}.txt", f"Your account: {how}.")
    place.told("case", "close", number(place), "--as", how, "--said", f"they wrote: {how}", "--document", letter)


def nobody_is_called(place: Place, source: str = GPT, because: str = "hold") -> None:
    before = place.provider.counts()
    with pytest.raises(Refused, match=because):
        place.ask(source, 4)
    assert place.provider.counts() == before


def changes_were_made(place: Place, elsewhere: dict[str, Any]) -> tuple[str, str]:
    """The necessary changes: what learned from it is withdrawn, and made anew with a maker that permits it."""
    plan = place.told("recall", GPT, "--plan")
    assert plan["missing"] == 2
    stopped = place.told("recall", GPT, "--why", "changes that the provider asked for")
    dataset, student = place.grow(place.ask(DEEPSEEK, plan["missing"], **elsewhere))
    assert not {str(dataset), str(student)} & set(stopped["touched"])
    return str(student), stopped["stops"][-1]


def test_while_it_is_open_what_it_is_about_stays(case):
    records = next(iter(case.workspace.store.all()))
    demand = case.document("demand.txt", "Delete it.")
    why = ("--why", "to be rid of it", "--evidence", demand)
    code, said = case.trueseed("destroy", f"{records.kind}:{records.digest}", *why)
    assert code == 3
    assert f"case {number(case)} about openai" in said
    assert records.folder.exists()


def test_the_case_shows_the_hold_and_what_it_touches(case):
    shown = case.told("case", "show", number(case))
    assert shown["holds"] == ["openai"]
    assert {each.partition(":")[0] for each in shown["touched"]} == {"records", "dataset", "weights"}
    assert shown["faults"] == []


def test_the_maker_is_asked_nothing_while_it_goes_on_and_others_are(case, elsewhere):
    nobody_is_called(case)
    note(case, "investigating", "we sent them our figures")
    nobody_is_called(case)
    case.ask(DEEPSEEK, 2, **elsewhere)


def test_the_changes_rebuild_on_a_permitted_teacher(case, elsewhere):
    note(case, "changes-requested", "no more training on their answers")
    anew, old = changes_were_made(case, elsewhere)
    assert case.trueseed("may", "serve", anew)[0] == 0
    code, said = case.trueseed("may", "serve", old)
    assert (code, "changes that the provider asked for" in said) == (3, True)


def test_a_run_that_still_names_the_maker_is_refused_and_one_that_names_another_is_not(case, elsewhere):
    """The second gets as far as its base, which is not there."""
    case.reads("openai-contract", "openai/*@api", "permit train serve benchmark_teacher")
    before = case.provider.counts()
    assert case.trueseed("doctor", case.run_file(GPT))[0] == 3
    code, said = case.trueseed("run", case.run_file(DEEPSEEK, remote=elsewhere))
    assert (code, "no-weights" in said) == (2, True)
    assert case.provider.counts() == before


def test_reinstated_the_case_ends_and_the_reviewer_releases_the_hold(case, elsewhere):
    note(case, "changes-requested", "no more training on their answers")
    changes_were_made(case, elsewhere)
    close(case, "reinstated")
    nobody_is_called(case, ANOTHER_MODEL)  # a case that ended lifts no hold
    assert case.trueseed("release", "openai", "--evidence", case.folder / "reinstated.txt")[0] == 0
    case.ask(ANOTHER_MODEL, 4)
    nobody_is_called(case, GPT, "changes that the provider asked for")  # nor does a release end the recall


def test_terminated_the_hold_stands_and_what_must_go_follows_from_the_licence(case):
    close(case, "terminated")
    nobody_is_called(case)
    code, said = case.trueseed("destroy", GPT, "--by-licence", "--dry-run")
    assert (code, "that must go by its licence" in said) == (2, True)  # the text orders no deletion
    assert case.told("case", "list")["cases"][0]["state"] == "terminated"


def test_every_word_of_it_is_signed_and_verifies(case, elsewhere):
    note(case, "changes-requested", "no more training on their answers")
    changes_were_made(case, elsewhere)
    close(case, "reinstated")
    code, said = case.trueseed("verify", "--json")
    assert (code, json.loads(said)["findings"]) == (0, [])


def test_a_suspension_amid_asking_opens_the_hold_by_itself(place):
    place.reads("openai-contract", "openai/*@api", "permit train")
    place.provider.behave(Behaviour(suspend_at=2))
    with pytest.raises(Refused):
        place.ask(GPT, 3, at_once=1)
    kinds = [entry.predicate_type.rsplit("/", 2)[1] for entry in place.workspace.ledger.entries()]
    assert "hold" in kinds
