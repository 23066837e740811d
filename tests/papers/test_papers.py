"""Each paper is what its own field's library reads, and says what the ledger says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, ModelCard
from tests.papers.grown import OWN, place, student
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.errors import ConfigError
from trueseed.papers import signature
from trueseed.papers.export import CARD, Wanted, export, papers_of
from trueseed.report import proof, verify_proof
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.model import Effect, Use
from trueseed.workspace import Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"
MISTRAL = "mistral/mistral-large@api"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that nobody loads."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def grown(tmp_path: Path, model: Path) -> Workspace:
    workspace = place(tmp_path)
    student(workspace, model, SMOL, base=SMOL)
    return workspace


@pytest.fixture
def owing_no_text(tmp_path: Path, model: Path) -> Workspace:
    """One whose export needs no text of terms."""
    workspace = place(tmp_path)
    student(workspace, model, MISTRAL)
    return workspace


def only(papers: dict[str, str], name: str) -> Any:
    found = [text for path, text in papers.items() if path.endswith(f"/{name}") or path == name]
    assert len(found) == 1
    return found[0]


def test_the_bill_of_materials_is_valid_cyclonedx_and_names_every_source(grown: Workspace):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = only(papers_of(grown), "bom.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    bom = json.loads(text)
    named = {each["bom-ref"] for each in bom["components"]}
    assert {f"source:{SMOL}", f"source:{OWN}"} < named
    learned = bom["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"]
    assert {each["ref"] for each in learned} == {ref for ref in named if ref.startswith("dataset:")}
    assert "UltraFeedback" in bom["metadata"]["component"]["pedigree"]["notes"]


def _at(source: dict[str, Any], row: dict[str, Any]) -> Any:
    """What a reader of the file finds where the metadata points."""
    return row[source["extract"]["column"]][source["transform"]["jsonPath"]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib, at each use by mlcroissant
def test_croissant_tells_the_origin_of_each_record_from_the_file_itself(owing_no_text: Workspace, tmp_path: Path):
    import mlcroissant

    export(owing_no_text, Wanted(folder=tmp_path / "out", records=True, signed=False, formats=()))
    [path] = (tmp_path / "out" / "datasets").glob("*/croissant.json")
    dataset = mlcroissant.Dataset(jsonld=str(path))
    assert not dataset.metadata.ctx.issues.errors
    told = json.loads(path.read_text())["recordSet"][0]["annotation"][0]["subField"]
    assert {each["equivalentProperty"] for each in told} >= {"prov:wasAttributedTo", "prov:wasDerivedFrom"}
    [annotation] = dataset.metadata.record_sets[0].annotations
    assert {each.id for each in annotation.sub_fields} == {each["@id"] for each in told}
    first = pq.read_table(path.parent / "train.parquet").to_pylist()[0]
    found = {each["equivalentProperty"]: _at(each["source"], first) for each in told}
    assert found["prov:wasAttributedTo"] == MISTRAL and found["prov:wasDerivedFrom"] == [f"{9:064x}"]
    rows = list(dataset.records("train"))
    assert [row["train/task"] for row in rows] == [f'{{"prompt":"question {n}"}}'.encode() for n in range(3)]


def test_the_eu_summary_names_the_models_that_made_the_synthetic_data(grown: Workspace):
    summary = json.loads(only(papers_of(grown), "training-content-summary.json"))
    synthetic = summary["2.5 synthetic data"]
    assert synthetic["made by the provider, or for it, to train the model"] == "yes"
    [model] = synthetic["models whose answers it learned from"]
    assert (model["model"], model["records"]) == (SMOL, 3)
    assert "UltraFeedback" in json.dumps(synthetic["declared to have taught those models"])
    assert summary["1.3 training data"]["size"] == "less than 1 billion tokens"
    assert SMOL in only(papers_of(grown), "training-content-summary.md")


def test_work_of_a_person_alone_is_not_synthetic(tmp_path: Path, model: Path):
    workspace = place(tmp_path)
    student(workspace, model)
    papers = papers_of(workspace)
    synthetic = json.loads(only(papers, "training-content-summary.json"))["2.5 synthetic data"]
    assert synthetic["made by the provider, or for it, to train the model"] == "no"
    [card] = [
        DatasetCard(text) for path, text in papers.items() if path.startswith("datasets/") and path.endswith(CARD)
    ]
    assert "synthetic" not in card.data.tags and card.data.annotations_creators == ["expert-generated"]


def test_the_dataset_card_has_front_matter_that_the_hub_reads_and_counts_who_wrote_what(grown: Workspace):
    [text] = [text for path, text in papers_of(grown).items() if path.startswith("datasets/") and path.endswith(CARD)]
    card = DatasetCard(text)
    assert card.data.annotations_creators == ["machine-generated", "expert-generated"]
    assert "synthetic" in card.data.tags and card.data.to_dict()["teachers"] == [SMOL]
    assert f"| train | `{SMOL}` | teacher | train |" in card.text and "duplicates 2" in card.text


def test_what_is_handed_out_verifies_with_model_signing_and_a_changed_byte_does_not(
    owing_no_text: Workspace, tmp_path: Path
):
    from model_signing import verifying

    handed = export(owing_no_text, Wanted(folder=tmp_path / "out"))
    assert {signature.SIGNATURE, signature.PUBLIC_KEY} <= handed.files.keys()

    def verify() -> None:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "out" / signature.PUBLIC_KEY)
        verifier.verify(tmp_path / "out", tmp_path / "out" / signature.SIGNATURE)

    verify()
    (tmp_path / "out" / CARD).write_text("something else")
    with pytest.raises(ValueError):
        verify()


def test_without_the_library_that_signs_nothing_is_handed_out(grown: Workspace, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "model_signing", None)
    with pytest.raises(ConfigError, match=r"trueseed\[papers\].*--unsigned"):
        export(grown, Wanted(folder=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def measured(workspace: Workspace, judge_of: str) -> None:
    """An evaluation of the newest student beside a teacher, as the pipeline makes one."""
    weights = next(a for a in workspace.store.all() if a.kind == "weights" and a.meta.get("method"))
    value = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 40}
    scores = {side: {"held_out_prompts": value} for side in ("teacher", "student", "difference")}
    with workspace.step("evaluate", ask={judge_of: Use.BENCHMARK_TEACHER}, effect=Effect.NONE) as step:
        base = step.write("scores", lambda folder: (folder / "samples.jsonl").write_text("") and None, {})
    with workspace.step("evaluate", inputs=[weights, base]) as step:
        step.write("scores", lambda folder: (folder / "scores.json").write_text(json.dumps(scores)) and None, {})


def test_scores_stand_in_every_paper_with_their_intervals(grown: Workspace):
    measured(grown, SMOL)
    papers = papers_of(grown)
    card = ModelCard(papers[CARD])
    assert card.data.eval_results[0].metric_value == 0.5
    assert "| held-out prompts, share right | 0.500 [0.250, 0.750] | 0.500 [0.250, 0.750] |" in card.text
    [metric] = json.loads(only(papers, "bom.cdx.json"))["metadata"]["component"]["modelCard"]["quantitativeAnalysis"][
        "performanceMetrics"
    ]
    assert metric["confidenceInterval"] == {"lowerBound": "0.25", "upperBound": "0.75"}


def test_a_teachers_numbers_are_left_out_where_its_terms_do_not_let_them_be_published(grown: Workspace):
    measured(grown, MISTRAL)
    text = papers_of(grown)[CARD]
    assert "The teacher's numbers are left out: mistral/mistral-large@api may not" in text
    assert "| held-out prompts, share right | 0.500 [0.250, 0.750] | 40 |" in text


def exported(workspace: Workspace, folder: Path) -> dict[str, Any]:
    """What the ledger says of the export."""
    export(workspace, Wanted(folder=folder, signed=False))
    said = [entry.predicate for entry in workspace.ledger.entries() if entry.predicate.get("step") == "export"]
    return dict(said[-1])


def test_the_door_is_asked_whether_the_scores_that_an_export_shows_may_be_published(owing_no_text, tmp_path: Path):
    measured(owing_no_text, SMOL)
    said = exported(owing_no_text, tmp_path / "out")
    assert [label["source"] for label in said["shows"]] == [SMOL]
    assert [v["verdict"] for v in said["verdicts"] if v["use"] == "publish_benchmark"] == ["permit"]
    (tmp_path / "p.zip").write_bytes(proof.make(owing_no_text)[1])
    found = verify_proof.proof(tmp_path / "p.zip", [owing_no_text.ledger.identity.operator])
    assert (found.findings, found.differs) == ((), ())


def test_scores_that_are_left_out_are_left_out_in_the_ledger_with_the_reason(owing_no_text, tmp_path: Path):
    measured(owing_no_text, MISTRAL)
    said = exported(owing_no_text, tmp_path / "out")
    assert "shows" not in said
    assert "publish_benchmark" in said["config"]["teacher_scores_left_out"]
    assert "0.500 [0.250, 0.750] | 40 |" in (tmp_path / "out" / CARD).read_text()


def test_scores_are_judged_by_the_terms_under_which_they_were_measured(owing_no_text, tmp_path: Path):
    """Terms that came later do not let out what was measured before."""
    measured(owing_no_text, MISTRAL)
    free = (SHIPPED / "mistral/mistral-commercial-2026-05-28.toml").read_text("utf-8")
    free = free.replace("mistral-commercial-2026-05-28", "mistral-later").replace(
        'verdict = "unknown"', 'verdict = "permit"'
    )
    (owing_no_text.folder / "terms").mkdir()
    (owing_no_text.folder / "terms" / "later.toml").write_text(free, "utf-8")
    owing_no_text.read_terms()
    assert "The teacher's numbers are left out" in papers_of(owing_no_text)[CARD]


def test_a_card_says_which_text_is_not_as_shipped(tmp_path: Path, model: Path):
    own = (SHIPPED / "own/own-work.toml").read_text("utf-8")
    (tmp_path / "work" / "terms").mkdir(parents=True)
    (tmp_path / "work" / "terms" / "own.toml").write_text(own, "utf-8")
    workspace = place(tmp_path)
    student(workspace, model)
    assert "own-work: the operator's own reading" in papers_of(workspace)[CARD]


def test_a_paper_is_printed_by_itself_and_json_is_printed_as_json(grown: Workspace, run_cli: Callable[..., str]):
    listed = run_cli("papers", "--workspace", str(grown.folder)).splitlines()
    assert {"README.md", "bom.cdx.json", "training-content-summary.md"} < set(listed)
    printed = json.loads(run_cli("papers", "--paper", "bom.cdx.json", "--workspace", str(grown.folder)))
    assert "trueseed:ledger:root" in {each["name"] for each in printed["metadata"]["properties"]}  # no emoji in it
    args = ("--workspace", str(grown.folder), "--json")
    assert json.loads(run_cli("papers", "--paper", "bom.cdx.json", *args))["bomFormat"] == "CycloneDX"
    assert "What cannot be claimed" in json.loads(run_cli("card", *args))["card"]


@pytest.fixture
def run_cli() -> Callable[..., str]:
    def run(*args: str) -> str:
        result = CliRunner().invoke(app, list(args), catch_exceptions=False)
        assert result.exit_code == 0
        return str(result.stdout)

    return run
