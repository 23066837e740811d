"""What a rebuild without recalled records costs: exactly those records, and the steps that read them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.test_workspace import prompts
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.core.artifacts import Artifact, Kind
from trueseed.core.canonical import now
from trueseed.core.chat import Message
from trueseed.core.records import Origin, Record, read_parquet, write_parquet
from trueseed.errors import Refused
from trueseed.ledger.statement import REBUILD
from trueseed.rebuild import plan_rebuild, remains
from trueseed.rebuild.leave_out import leave_out
from trueseed.recall import Part, recall
from trueseed.report import verify
from trueseed.terms.model import Effect, Relation
from trueseed.workspace import Step, Workspace

ADA, BOB = "own/ada", "own/bob"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def record(text: str, source: str, at: str = "2026-02-10T00:00:00Z", **said: Any) -> Record:
    kind = "transform" if "parents" in said else "teacher"
    told = {"project": "seed", "use": "train", "terms": "", **said}
    origin = Origin(kind=kind, source=source, asked_at=at, **told)
    return Record(messages=(Message(role="assistant", content=text),), origin=origin)


def put(step: Step, kind: Kind, name: str, records: list[Record]) -> Artifact:
    return step.write(kind, lambda folder: write_parquet(records, folder / name) and None, {})


def river(workspace: Workspace) -> None:
    """Four records, one made from another's; a dataset of three of them; a student."""
    first, second = record("a", ADA), record("b", BOB, "2026-03-10T00:00:00Z", use="judge", asked_for="train")
    child = record("c", BOB, parents=(first.id,))
    grandchild = record("d", BOB, parents=(child.id,))
    brings = {ADA: Relation.OUTPUT, BOB: Relation.OUTPUT}
    with workspace.step("generate", inputs=[prompts(workspace)], brings=brings) as step:
        made = put(step, "records", "records.parquet", [grandchild, first, second, child])
    with workspace.step("curate", inputs=[made]) as step:
        data = put(step, "dataset", "train.parquet", [second, child, grandchild])
    with workspace.step("train", inputs=[data], effect=Effect.TRAIN) as step:
        put(step, "weights", "none.parquet", [])


def test_a_whole_source_takes_along_every_record_of_an_artifact_with_its_label(workspace):
    river(workspace)
    plan = plan_rebuild(workspace, ADA)
    assert [(each.records, each.reached, each.answers) for each in plan.records] == [(4, 4, 2), (3, 3, 1)]
    assert [each.step for each in plan.again] == ["curate", "train"]
    assert plan.missing == 4
    assert [name.partition(":")[0] for name in plan.reused] == ["prompts"]


def test_what_was_made_from_a_recalled_record_goes_with_it(workspace):
    river(workspace)
    plan = plan_rebuild(workspace, ADA, Part(use="train"))
    assert [(each.records, each.reached, each.answers) for each in plan.records] == [(4, 3, 1), (3, 2, 0)]
    assert plan.missing == 3


@pytest.mark.parametrize(
    ("part", "reached"),
    [
        (Part(), 4),
        (Part(asked=("2026-02-01", "2026-02-28")), 2),
        (Part(asked=("2026-03-01", "-")), 1),
        (Part(use="judge"), 1),
        (Part(use="train"), 3),
        (Part(project="another"), 0),
    ],
)
def test_a_part_counts_what_was_asked_so_by_record(workspace, part, reached):
    river(workspace)
    found = plan_rebuild(workspace, BOB, part).records
    assert sum(each.reached for each in found if each.artifact.startswith("records:")) == reached


def test_the_share_that_is_left_scales_the_time(workspace):
    river(workspace)
    for each in plan_rebuild(workspace, ADA, Part(use="train")).again:
        share = {"curate": 1 / 4, "train": 1 / 3}[each.step]
        assert each.likely_s == pytest.approx(each.took_s * share, abs=0.001)


def test_the_command_line_plans_and_changes_nothing(workspace):
    river(workspace)
    workspace.ledger.refresh()
    size = workspace.ledger.size
    where = ["--workspace", str(workspace.folder)]
    said = CliRunner().invoke(app, ["recall", ADA, "--plan", "--json", *where], catch_exceptions=False)
    assert json.loads(said.stdout)["missing"] == 4
    assert "4 of 4 records go" in CliRunner().invoke(app, ["recall", ADA, "--plan", *where]).stdout
    workspace.ledger.refresh()
    assert workspace.ledger.size == size


def test_verify_finds_recalled_records_where_a_step_said_it_left_them_out(workspace):
    river(workspace)
    recall(workspace, ADA, "x", Part(use="train"))
    (hit,) = remains.standing(workspace)
    records = next(a for a in workspace.store.all() if a.kind == "records")
    rest = leave_out(workspace, records, [hit.recall])
    assert [each.answer for each in read_parquet(rest.path("records.parquet"))] == ["b"]
    assert not verify.workspace(workspace.folder).broken
    with workspace.step("leave_out", inputs=[records], config={"without": [hit.recall.index], "x": 1}) as step:
        put(step, "records", "records.parquet", list(read_parquet(records.path("records.parquet")))[1:])
    (finding,) = verify.workspace(workspace.folder).findings
    assert "holds 2 such records" in finding


def test_nothing_is_left_out_of_weights_nor_hidden_beside_records_or_under_another_step(workspace):
    river(workspace)
    recall(workspace, ADA, "the terms", Part(use="train"))
    (hit,) = remains.standing(workspace)
    config = {"without": [hit.recall.index]}
    by_kind = {each.kind: each for each in workspace.store.all()}
    said = {"inputs": [by_kind["weights"]], "config": config, "effect": Effect.TRAIN}
    with pytest.raises(Refused, match="quarantined"), workspace.step("leave_out", **said):
        pass
    records = by_kind["records"]
    with workspace.step("leave_out", inputs=[records], config=config) as step:
        put(step, "records", "other.parquet", list(read_parquet(records.path("records.parquet"))))
    with workspace.step("generate", inputs=[prompts(workspace)], brings={BOB: Relation.OUTPUT}) as step:
        step.write("records", lambda folder: _copied(records, folder), {"without": [hit.recall.index]})
    found = " ".join(verify.workspace(workspace.folder).findings)
    assert ("holds more than records" in found, "holds 3 such records" in found) == (True, True)


def _copied(records: Artifact, folder: Path) -> None:
    (folder / "other.parquet").write_bytes(records.path("records.parquet").read_bytes())


@pytest.mark.parametrize(
    ("said", "finding"),
    [
        ({"without": [99]}, "entry 99, which recalls nothing"),
        ({"made": [{"kind": "dataset", "digest": "0" * 64}]}, "was made by no step"),
        ({}, "and that reaches dataset:"),
        ({"without": "all"}, "malformed"),
    ],
)
def test_verify_finds_a_rebuild_that_is_none(workspace, said, finding):
    river(workspace)
    recall(workspace, ADA, "x")
    (hit,) = remains.standing(workspace)
    dataset = next({"kind": a.kind, "digest": a.digest} for a in workspace.store.all() if a.kind == "dataset")
    link = {"without": [hit.recall.index], "replaces": [], "made": [dataset], "at": now(), **said}
    workspace.ledger.append(REBUILD, [], link)
    assert any(finding in found for found in verify.workspace(workspace.folder).findings)
