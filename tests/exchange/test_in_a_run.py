"""Imported records in a run file: beside what is generated, or alone; planned, looked at by the doctor, reported."""

import json
from pathlib import Path

import pytest
import yaml
from tests.tiny_run import run_file

from trueseed import pipeline
from trueseed.doctor.examine import examine
from trueseed.errors import ConfigError, Refused
from trueseed.papers import card, dataset_card, dossier
from trueseed.plan import making, words
from trueseed.report import origins, verify
from trueseed.runfile import load
from trueseed.workspace import Workspace

DISHES = ("lentils", "noodles", "rice", "beans", "barley", "turnips", "carrots", "leeks", "peas", "kale")
RUN = pytest.mark.xdist_group("imports")


def written(folder: Path, *rows: dict) -> None:
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def alone(folder: Path, model: Path, **more: object) -> Path:
    """A run file on imported records alone."""
    path = run_file(folder, model)
    content = yaml.safe_load(path.read_text())
    del content["teacher"], content["generate"]
    content |= {"import": [{"file": "mine.jsonl", "source": "own/cook"}], **more}
    path.write_text(yaml.safe_dump(content))
    return path


def told_by(plan: making.Plan) -> str:
    return "\n".join((*words.imports(plan), *words.flags(plan), words.rows(plan)))


def recipes() -> list[dict]:
    rest = "cover them with cold water, and let them simmer until they taste of more than water."
    return [
        {"prompt": f"How do I cook {dish} for {n}?", "completion": f"Wash {n} handfuls of {dish}, {rest}"}
        for n, dish in enumerate(DISHES, start=2)
    ]


def test_imports_are_looked_for_beside_the_run_file_and_come_in(tmp_path):
    written(tmp_path, {"prompt": "Soup?", "completion": "Heat it well."})
    path = run_file(tmp_path, tmp_path)
    path.write_text(path.read_text() + "import: [{file: mine.jsonl, source: own/cook}]\n")
    (records,) = pipeline.import_records(load(path), Workspace.open(tmp_path / "work", create=True))
    assert records.meta["records"] == 1


def test_records_that_may_not_be_trained_on_end_the_run_before_anybody_is_asked(tmp_path):
    written(tmp_path, {"prompt": "Soup?", "completion": "Heat it well."})
    path = run_file(tmp_path, tmp_path)
    path.write_text(path.read_text() + "import: [{file: mine.jsonl, source: openai/gpt-4@api}]\n")
    with pytest.raises(Refused, match="may not be trained on: openai/gpt-4@api"):
        pipeline.import_records(load(path), Workspace.open(tmp_path / "work", create=True))


@RUN
def test_a_run_on_imported_records_alone_is_planned_done_and_reported_and_asks_nobody(tmp_path, tiny_llama):
    written(tmp_path, *recipes())
    file = load(alone(tmp_path, tiny_llama, curate={"near_duplicate": 1.0, "identity_filter": True}))
    workspace = Workspace.open(tmp_path / "work", create=True)
    plan = making.make(file, workspace, rows=8)
    told = told_by(plan)
    assert "10 rows; looked for what contradicts it" in told
    assert "flag       identity_filter" in told
    assert "compared with its own base" in told
    assert (plan.exit_code, plan.teachers) == (0, ())
    assert {step.step for step in plan.estimate.steps} == {"curate", "baseline", "train", "evaluate"}

    outcome = pipeline.run(file, workspace)
    report = pipeline.write_report(workspace, outcome).to_json()
    (brought,) = report["imports"]
    assert (brought["source"], brought["rows"], brought["inherited"]) == ("own/cook", 10, [])
    assert brought["contradictions"] == {"known": 0, "column": 0, "identity": 0}
    assert brought["refused"] == {"train": "", "serve": "", "publish": ""}
    assert report["teachers"] == []
    assert report["records"]["asked"] == 0
    assert report["records"]["imported"] == 10
    assert report["flags"] == ["identity_filter"]
    page = (workspace.folder / "report.html").read_text()
    assert "its base on" in page
    assert "Records of others" in page
    assert "taken out of the data" in page
    known = dossier.of(workspace, outcome.student, "cook")
    for paper in (card.render(known), dataset_card.render(known, known.corpora[0])):
        assert "identity_filter: true" in paper
        assert "(declared identity filter)" in paper
    assert "| 95 % intervals | base | student | difference |" in card.render(known)
    assert not verify.workspace(workspace.folder).broken
    asked = [entry.predicate["asks"] for entry in workspace.ledger.entries() if entry.predicate.get("step")]
    assert not any(asked)
    size = workspace.ledger.size
    pipeline.run(file, workspace)
    assert workspace.ledger.size == size


@RUN
def test_records_are_rewritten_before_they_are_curated_and_plan_and_report_show_it(tmp_path, tiny_llama, make_llama):
    written(tmp_path, *recipes()[:6])
    teacher = {"weights": str(make_llama(tmp_path / "brief", brief=True)), "source": "own/rewriter"}
    sampling = {"temperature": 1.0, "max_tokens": 300}
    transform = [{"rewrite": "Say it shorter.", "keep": True, "teacher": teacher, "sampling": sampling}]
    file = load(alone(tmp_path, tiny_llama, transform=transform, curate={"near_duplicate": 1.0}))
    workspace = Workspace.open(tmp_path / "work", create=True)
    plan = making.make(file, workspace, rows=0)
    assert plan.estimate.steps[0].to_json()["numbers"]["requests"]["likely"] == 6
    ruling = next(ruling for ruling in plan.rulings if ruling.step == "rewrite")
    assert {verdict.source for verdict in ruling.verdicts} == {"own/cook", "own/rewriter"}
    assert [each.of for each in plan.teachers] == ["transform 1"]
    records, held_out = pipeline.import_records(file, workspace), pipeline.freeze_sets(file, workspace)
    cast = pipeline._Cast(file, workspace)
    assert cast.take_their_places() == []
    made = pipeline.transforming.transform(file, workspace, records, cast.voice_of)
    dataset = pipeline.curate(file, workspace, made, held_out)
    (anew,) = origins.said_anew(workspace, dataset)
    assert (anew.step, anew.source, anew.accepted + anew.rejected) == ("rewrite", "own/rewriter", 6)
    assert {label.source for label in workspace.labels(dataset)} >= {"own/cook", "own/rewriter"}
    doctors = {check.of for check in examine(file, tmp_path / "work").checks}
    assert doctors >= {"import", "transform 1", "base"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Soup?", "completion": "Heat it.", "model": "gpt-4"}, "column 'model' says 'gpt-4'"),
        ({"text": "words"}, "line 1: there is no chat in it"),
    ],
)
def test_plan_and_doctor_tell_what_the_run_would_end_with(tmp_path, tiny_llama, row, said):
    written(tmp_path, row)
    file = load(alone(tmp_path, tiny_llama))
    (failed,) = [c for c in examine(file, tmp_path / "work").checks if c.of == "import" and c.status == "fails"]
    assert said in failed.meaning
    assert not (tmp_path / "work").exists()
    workspace = Workspace.open(tmp_path / "work", create=True)
    plan = making.make(file, workspace, rows=0)
    assert said in str(plan.failure)
    assert said in told_by(plan)
    with pytest.raises(type(plan.failure), match=said.split(":")[-1].strip().replace("(", r"\(")):
        pipeline.import_records(file, workspace)


def test_plan_and_doctor_show_what_is_inherited_and_refused_for_it(tmp_path, tiny_llama):
    written(tmp_path, {"prompt": "Soup?", "completion": "Heat it.", "model": "gpt-4"})
    content = {"import": [{"file": "mine.jsonl", "source": "own/cook", "inherit": True}]}
    file = load(alone(tmp_path, tiny_llama, **content))
    plan = making.make(file, Workspace.open(tmp_path / "work", create=True), rows=0)
    (seen,) = plan.to_json()["imports"]
    assert [label["source"] for label in seen["inherited"]] == ["openai/gpt-4@reported"]
    assert plan.exit_code == 3
    checks = [each for each in examine(file, tmp_path / "work").checks if each.of == "import"]
    assert {(each.name, each.status) for each in checks} >= {("origin", "warning"), ("terms to train", "fails")}


@pytest.mark.parametrize(
    ("take", "add", "said"),
    [
        (["teacher", "generate", "import"], {}, "there are no records to learn from"),
        (["generate"], {}, "'generate' is missing"),
        (["teacher"], {}, "'teacher' is missing"),
        (["teacher", "generate"], {"prompts": {"source": "own/me"}}, "'prompts' belongs to `generate`"),
        (["teacher", "generate"], {"transform": [{"translate": "German"}]}, "does not say whom to ask"),
        ([], {"transform": [{"translate": "German", "rewrite": "Shorter."}]}, "give either `rewrite`"),
    ],
)
def test_a_run_file_that_no_run_could_follow_says_what_to_do(tmp_path, take, add, said):
    written(tmp_path, *recipes())
    path = run_file(tmp_path, tmp_path)
    content = yaml.safe_load(path.read_text()) | {"import": [{"file": "mine.jsonl", "source": "own/cook"}]} | add
    path.write_text(yaml.safe_dump({name: each for name, each in content.items() if name not in take}))
    with pytest.raises(ConfigError, match=said):
        load(path)
