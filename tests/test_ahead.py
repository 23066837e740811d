"""A run asks for the verdict of every later step before the first token."""

from pathlib import Path

import pytest
from tests.test_workspace import events
from tests.tiny_run import run_file

from trueseed import pipeline, runfile
from trueseed.errors import Refused
from trueseed.workspace import Workspace

ACME = """
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
uses = ["train", "reward", "serve", "publish", "judge"]
relations = ["output", "filter", "score"]
verdict = "permit"
clause = "1"
because = "output is yours"

[[permissions]]
uses = ["benchmark_teacher"]
relations = ["output", "filter", "score"]
verdict = "refuse"
clause = "2"
because = "the service may not be benchmarked"
"""


def refused(folder: Path, model: Path, **changes) -> tuple[str, Workspace]:
    workspace = Workspace.open(folder / "work", create=True)
    (folder / "work" / "terms").mkdir()
    (folder / "work" / "terms" / "acme.toml").write_text(ACME)
    workspace = Workspace.open(folder / "work")
    file = runfile.load(run_file(folder, model, **changes))
    with pytest.raises(Refused) as caught:
        pipeline.run(file, workspace)
    return str(caught.value), workspace


def test_a_teacher_that_may_not_be_measured_is_refused_before_it_is_asked_for_records(tmp_path, tiny_llama):
    teacher = {"weights": str(tiny_llama), "source": "acme/tiny@weights"}
    said, workspace = refused(tmp_path, tiny_llama, teacher=teacher)
    assert "may not be used to benchmark_teacher" in said
    assert events(workspace) == [("baseline", "refused")]


def test_a_base_that_may_not_be_trained_is_refused_before_anything_is_asked(tmp_path, tiny_llama):
    base = {"weights": str(tiny_llama), "source": "acme/tiny@weights"}
    said, workspace = refused(tmp_path, tiny_llama, base=base)
    assert "step 'train' refused: acme/tiny@weights" in said
    assert events(workspace) == [("train", "refused")]


def test_features_and_facts_of_the_run_file_reach_the_terms(tmp_path, tiny_llama):
    operator = {"country": "FR", "owners": ["US"], "approvals": [{"market": "FR", "reference": "A-1"}],
                "strict_upstream": True, "research": True}  # fmt: skip
    path = run_file(tmp_path, tiny_llama, operator=operator, teacher={"features": ["search"]})
    file = runfile.load(path)
    assert (file.facts.country, file.facts.owners, file.facts.strict_upstream) == ("FR", ("US",), True)
    assert file.facts.approvals[0].reference == "A-1"
    assert file.features_of("own/tiny") == {"own/tiny": ["search"]}
