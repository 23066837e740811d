"""Distillation as a user meets it: a run file names the method, the door asks the distiller's terms, labels arrive."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.test_ahead import ACME
from tests.test_workspace import events
from tests.tiny_run import run_file

from trueseed import ahead, distilling, doctor, pipeline, recall, rerun, runfile
from trueseed.doctor import examine
from trueseed.errors import ConfigError, Refused
from trueseed.ledger.lineage import Lineage
from trueseed.papers import card, dossier
from trueseed.plan import making
from trueseed.report import verify
from trueseed.terms.model import Relation
from trueseed.train import collect
from trueseed.train.signals import Signals
from trueseed.workspace import Workspace

FORBIDS = ACME.replace('"train", "reward", "serve", "publish", "judge"', '"judge"').replace("[[permissions]]", """\
[[permissions]]
uses = ["train", "reward", "serve", "publish"]
relations = ["output", "filter", "score"]
verdict = "refuse"
clause = "3"
because = "output may not be used to develop models"

[[permissions]]""", 1)  # fmt: skip
DISTIL = {"method": "distil", "loss_top_k": 8, "max_steps": 2}
pytestmark = pytest.mark.xdist_group("distilling")


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUESEED_STATE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def own_state(state, monkeypatch) -> None:
    """All tests here look at one run, whose keys lie there."""
    monkeypatch.setenv("TRUESEED_STATE", str(state))


def half_of(model: Path) -> dict[str, Any]:
    return {"weights": str(model), "source": "own/tiny", "layers": "every_other"}


@pytest.fixture(scope="module")
def run(tmp_path_factory, brief_llama, state) -> tuple[Workspace, pipeline.Outcome]:
    """What a tiny run leaves that distils one layer out of two from stored log-probabilities."""
    folder = tmp_path_factory.mktemp("distilled")
    path = run_file(folder, brief_llama, base=half_of(brief_llama), train=DISTIL)
    workspace = Workspace.open(folder / "work", create=True)
    outcome = pipeline.run(runfile.load(path), workspace)
    pipeline.write_report(workspace, outcome)
    return workspace, outcome


def made_in(workspace: Workspace, step: str, kind: str) -> Any:
    made = Lineage.read(workspace.ledger).newest(kind, step=step)
    return workspace.store.get(f"{made.kind}:{made.digest}")


def test_a_student_has_the_layers_and_the_labels_of_all_that_it_came_of(run):
    workspace, outcome = run
    assert json.loads(outcome.student.path("config.json").read_text())["num_hidden_layers"] == 1
    assert made_in(workspace, "layers", "weights").meta["layers"] == "every_other"
    relations = {label.relation for label in workspace.labels(outcome.student) if label.source == "own/tiny"}
    assert relations == {Relation.OUTPUT, Relation.WEIGHTS}


def test_signals_are_an_artifact_with_the_labels_of_records_and_distiller(run):
    workspace, outcome = run
    found = made_in(workspace, "signals", "signals")
    labels = {(label.source, label.relation) for label in workspace.labels(found)}
    assert labels > {("own/tiny", Relation.OUTPUT), ("own/everyday", Relation.OUTPUT)}
    records = sum(outcome.dataset.meta[part] for part in ("train", "validation"))
    assert (len(Signals.open(found.folder)), found.meta["k"]) == (records, 8)
    assert not verify.workspace(workspace.folder).broken


def test_report_and_model_card_say_which_way_was_taken_and_why(run):
    workspace, outcome = run
    told = json.loads((workspace.folder / "report.json").read_text())["training"]
    assert (told["method"], told["route"], told["distiller"]) == ("distil", "stored top-k", "own/tiny")
    assert told["numbers"]["stored for each"] == 8
    page = (workspace.folder / "report.html").read_text()
    written = card.render(dossier.of(workspace, outcome.student, "tiny-student"))
    for reason in told["reasons"]:
        assert reason in written
    assert "distil of own/tiny, stored top-k" in page
    assert "divergence from the teacher" in page


def test_a_second_run_asks_nobody_again(run):
    workspace, _ = run
    size = workspace.ledger.size
    pipeline.run(runfile.load(workspace.folder.parent / "run.yaml"), workspace)
    assert workspace.ledger.size == size
