"""Distillation as a user meets it: a run file names the method, the door asks the distiller's terms, labels arrive."""

import json
from pathlib import Path

import pytest
from tests.test_ahead import refused
from tests.test_workspace import events
from tests.tiny_run import run_file

from trueseed import distilling, models, pipeline, runfile
from trueseed.errors import ConfigError, Refused
from trueseed.report import verify
from trueseed.terms.model import Relation
from trueseed.train import collect
from trueseed.train.signals import Signals
from trueseed.workspace import Workspace

FORBIDS = """
id = "acme-terms"
provider = "Acme"
document = "Acme terms"
version = "1"
route = "weights"
sources = ["acme/*@weights"]
effective_from = 2024-01-01
observed_at = 2024-01-01
text_sha256 = "unknown"
where_read = "a page"
verification = "primary"
on_termination = "nothing is said"
reaches_models_trained_on_output = "nothing is said"

[[permissions]]
uses = ["train", "reward", "serve", "publish"]
relations = ["output", "filter", "score"]
verdict = "refuse"
clause = "2"
because = "output may not be used to develop models"
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUESEED_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module")
def distilled(tmp_path_factory, brief_llama, state) -> tuple[Path, pipeline.Outcome]:
    """A workspace, and what a tiny run left in it that distils one layer out of two from stored log-probabilities."""
    folder = tmp_path_factory.mktemp("distilled")
    base = {"weights": str(brief_llama), "source": "own/tiny", "layers": "every_other"}
    path = run_file(folder, brief_llama, base=base, train={"method": "distil", "loss_top_k": 8, "max_steps": 2})
    workspace = Workspace.open(folder / "work", create=True)
    outcome = pipeline.run(runfile.load(path), workspace)
    pipeline.write_report(workspace, outcome)
    return folder, outcome


def test_the_student_has_the_layers_and_carries_the_labels_of_all_that_made_it(distilled):
    folder, outcome = distilled
    assert json.loads(outcome.student.path("config.json").read_text())["num_hidden_layers"] == 1
    labels = Workspace.open(folder / "work").labels(outcome.student)
    assert {label.relation for label in labels if label.source == "own/tiny"} >= {Relation.OUTPUT, Relation.WEIGHTS}
