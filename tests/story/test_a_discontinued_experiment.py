"""A small group's use in an experimental model, discontinued in April 2023, as the company said: a recall of that part.

The operator here has a text that permits what was asked; without one, none of it would have been asked at all.
"""

from dataclasses import dataclass

import pytest
from tests.story.conftest import On
from tests.story.people import DEEPSEEK, GPT, Place

from trueseed.core.artifacts import Artifact
from trueseed.errors import Refused
from trueseed.recall import Part, reach
from trueseed.terms.model import Facts

EXPERIMENT = ("--project", "experiment", "--asked-between", "2023-01-01", "2023-04-30")


@dataclass(kw_only=True)
class Spring:
    """early, late: records of what GPT-4 said to the experiment in March and to the main model in May, with the dataset
    and the student of each. other: the same of another maker.
    """

    place: Place
    early: tuple[Artifact, ...]
    late: tuple[Artifact, ...]
    other: tuple[Artifact, ...]

    def recall(self) -> dict:
        return self.place.told("recall", GPT, *EXPERIMENT, "--why", "discontinued under the new protocol")


def in_spring(place: Place, on: On) -> None:
    for maker in ("openai", "deepseek"):
        place.reads(f"{maker}-contract", f"{maker}/*@api", "permit train serve")
    for day, project, source, count in (
        ("2023-03-20", "experiment", GPT, 2),
        ("2023-05-20", "main", GPT, 3),
        ("2023-05-21", "main", DEEPSEEK, 4),
    ):
        on(day)
        place.workspace.declare(project, Facts())
        place.grow(place.ask(source, count))


@pytest.fixture
def spring(begun, on) -> Spring:
    place = begun(in_spring)
    on("2023-12-18")
    records = [tuple(place.made()[n : n + 3]) for n in (0, 3, 6)]
    return Spring(place=place, early=records[0], late=records[1], other=records[2])


def test_a_recall_by_project_and_date_names_what_it_touched_and_what_not(spring):
    said = spring.recall()
    assert said["touched"] == said["stops"]
    assert set(said["stops"]) == {str(each) for each in spring.early}
    assert {str(each) for each in (*spring.late, *spring.other)} <= set(said["stands"])


def test_a_look_beforehand_changes_nothing(spring):
    size = spring.place.workspace.ledger.size
    would = spring.place.told("recall", GPT, *EXPERIMENT, "--dry-run")
    assert set(would["stops"]) == {str(each) for each in spring.early}
    assert spring.place.workspace.ledger.size == size


def test_what_it_touched_goes_no_further_and_is_not_deleted(spring):
    spring.recall()
    records, *_ = spring.early
    with pytest.raises(Refused, match=r"discontinued under the new protocol.*quarantined"):
        spring.place.grow(records, spring.other[0])
    assert records.folder.exists()


def test_the_rest_goes_on(spring):
    spring.recall()
    spring.place.grow(spring.late[0], spring.other[0])
    spring.place.ask(GPT, 5)  # the project that is declared now is not the experiment


def test_the_experiment_may_not_ask_again(spring, on):
    spring.recall()
    before = spring.place.provider.counts()
    spring.place.workspace.declare("experiment", Facts())
    with pytest.raises(Refused, match="may not be asked to train any more"):
        spring.place.ask(GPT, 6)
    assert spring.place.provider.counts() == before


def test_why_tells_it_of_each_students_own_line(spring):
    spring.recall()
    code, said = spring.place.trueseed("why", f"weights:{spring.early[2].digest}", "serve")
    assert (code, "discontinued under the new protocol" in said) == (3, True)
    assert spring.place.trueseed("why", f"weights:{spring.late[2].digest}", "serve")[0] == 0


def test_the_plan_counts_the_records_of_the_experiment_alone(spring):
    said = spring.place.told("recall", GPT, *EXPERIMENT, "--plan")
    counted = {each["artifact"]: (each["reached"], each["records"]) for each in said["records"]}
    assert counted == {str(each): (2, 2) for each in spring.early[:2]}
    assert said["missing"] == 2


@pytest.mark.parametrize(
    ("part", "touches"),
    [
        (Part(project="experiment", asked=("2023-05-01", "-")), ""),
        (Part(project="main", asked=("-", "2023-04-30")), ""),
        (Part(project="main"), "late"),
        (Part(asked=("-", "2023-04-30")), "early"),
    ],
)
def test_project_and_date_narrow_it_each_by_itself(spring, part, touches):
    found = reach(spring.place.workspace, GPT, part)
    expected = getattr(spring, touches) if touches else ()
    assert {str(each) for each in found.touched} == {str(each) for each in expected}
