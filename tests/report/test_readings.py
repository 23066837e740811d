"""What report.json and the page say of terms that changed since, and of scores that may not leave the house."""

import json
from pathlib import Path

import pytest
from tests.test_workspace import put

from trueseed.core.artifacts import Artifact
from trueseed.report import gather
from trueseed.report.details import Details
from trueseed.report.html import render
from trueseed.report.summary import Report
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.model import Effect, Facts, Relation, Use
from trueseed.workspace import Workspace

OWN = (SHIPPED / "own/own-work.toml").read_text("utf-8")
ACME, MISTRAL = "acme/large@api", "mistral/mistral-large@api"
VALUE = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 40}
SCORES = {
    **{side: {"held_out_prompts": VALUE, "held_out_kinds": VALUE} for side in ("teacher", "student", "difference")},
    "p": {},
}


def version(folder: Path, identity: str, begins: str, verdict: str, until: str = "") -> None:
    """A text of the operator's own for Acme."""
    text = (
        OWN.replace('"own-work"', f'"{identity}"')
        .replace('"own/*"', '"acme/*@api"')
        .replace('"permit"', f'"{verdict}"')
    )
    days = f"effective_from = {begins}" + (f"\neffective_until = {until}" if until else "")
    (folder / "terms").mkdir(parents=True, exist_ok=True)
    (folder / "terms" / f"{identity}.toml").write_text(text.replace('effective_from = "unknown"', days), "utf-8")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Details]:
    """Of a student of Acme's, whose terms became stricter since, measured beside Mistral's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUESEED_STATE", str(tmp_path_factory.mktemp("state")))
        folder = tmp_path_factory.mktemp("report") / "work"
        version(folder, "acme-1", "2024-01-01", "permit")
        workspace = Workspace.open(folder, create=True)
        workspace.declare("seed", Facts())
        made = grown(workspace)
        version(folder, "acme-1", "2024-01-01", "permit", "2026-01-01")
        version(folder, "acme-2", "2026-01-01", "refuse")
        workspace.read_terms()
        records, dataset, student, baseline, scores = made
        report = gather.report(
            workspace, teacher=ACME, student=student, records=[records], dataset=dataset, scores=scores
        )
        return report, gather.page(workspace, baseline=baseline, student=student, scores=scores, sources=report.sources)


def test_so_does_a_page_whose_tasks_alone_measured_others(tmp_path):
    version(tmp_path / "work", "acme-1", "2024-01-01", "permit")
    workspace = Workspace.open(tmp_path / "work", create=True)
    workspace.declare("seed", Facts())
    _, _, student, baseline, _ = grown(workspace)
    with workspace.step("evaluate", inputs=[student]) as step:
        alone = step.write("scores", measured("alone"), {})
    say = {"baseline": alone, "student": student, "scores": alone, "sources": ()}
    assert gather.page(workspace, **say).withheld == ()
    (why,) = gather.page(workspace, **say, tasks=(baseline,)).withheld
    assert why.startswith(MISTRAL)


def grown(workspace: Workspace) -> tuple[Artifact, ...]:
    with workspace.step("generate", ask={ACME: Use.TRAIN}) as step:
        records = put(step, "records")
    with workspace.step("curate", inputs=[records]) as step:
        dataset = put(step, "dataset")
    with workspace.step("weights", brings={"own/base": Relation.WEIGHTS}) as step:
        base = put(step, "weights", "base")
    curve = json.dumps({"curve": [], "validation_loss_before": None, "validation_loss_after": None})
    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN) as step:
        student = step.write("weights", lambda folder: (folder / "curve.json").write_text(curve) and None, {})
    with workspace.step("baseline", ask={MISTRAL: Use.BENCHMARK_TEACHER}) as step:
        baseline = step.write("scores", measured("baseline"), {})
    with workspace.step("evaluate", inputs=[baseline, student]) as step:
        scores = step.write("scores", measured("scores"), {})
    return records, dataset, student, baseline, scores


def measured(name: str):
    def fill(folder: Path) -> None:
        (folder / "scores.json").write_text(json.dumps({**SCORES, "name": name}))
        (folder / "samples.jsonl").write_text("")

    return fill


def test_both_readings_are_in_report_json(told):
    report, _ = told
    [reading] = [each for each in report.to_json()["readings"] if each["then"]["use"] == "train"]
    assert (reading["label"]["source"], reading["then"]["verdict"], reading["now"]["verdict"]) == (
        ACME,
        "permit",
        "refuse",
    )
    assert reading["now"]["document"] == "acme-2"


def test_and_on_the_page_with_whose_text_it_is(told):
    page = render(*told)
    assert "asked today, refused by acme-2 (acme-2: the operator&#39;s own document)" in page


def test_report_json_says_whether_the_teachers_scores_may_leave_the_house(told):
    report, _ = told
    [verdict] = report.to_json()["may_be_published"]
    assert (verdict["source"], verdict["use"], verdict["verdict"]) == (MISTRAL, "publish_benchmark", "refuse")


def test_and_the_page_warns_of_it(told):
    assert "may not be made public:</strong> mistral/mistral-large@api may not" in render(*told)
