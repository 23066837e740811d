"""Why something may be put to a use: the chain, what decides, and what would be without a source."""

import json
from pathlib import Path

import pytest
from tests.test_workspace import put
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.core.chat import Message
from trueseed.core.records import RECORDS_FILE, Origin, Record, write_parquet
from trueseed.errors import ConfigError
from trueseed.recall import recall
from trueseed.terms.model import Effect, Facts, Relation, Student, Use
from trueseed.why import answer, is_made_here
from trueseed.workspace import Step, Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"
GEMMA = "google/gemma-3-270m@weights"
GPT = "openai/gpt-4@api"
CLASSIFIER = Facts(student=Student(kind="classifier", distributed=False))


def records(step: Step, source: str, count: int) -> Artifact:
    origin = Origin(
        kind="teacher", source=source, project="p", use="train", terms=step.terms_of(source), asked_at=now()
    )
    made = [Record(messages=(Message(role="assistant", content=f"{source} {n}"),), origin=origin) for n in range(count)]
    return step.write("records", lambda folder: write_parquet(made, folder / RECORDS_FILE) and None, {})


def grown(folder: Path) -> tuple[Workspace, Artifact]:
    """A classifier that learned from GPT-4 and from SmolLM2, and is not to be distributed."""
    workspace = Workspace.open(folder, create=True)
    workspace.declare("why", CLASSIFIER)
    asked = []
    for source, count in ((GPT, 3), (SMOL, 2)):
        with workspace.step("generate", ask={source: Use.TRAIN}) as step:
            asked.append(records(step, source, count))
    with workspace.step("curate", inputs=asked) as step:
        dataset = put(step, "dataset")
    with workspace.step("weights", brings={GEMMA: Relation.WEIGHTS}) as step:
        base = put(step, "weights", "base")
    with workspace.step("train", inputs=[dataset, base], effect=Effect.TRAIN) as step:
        return workspace, put(step, "weights", "student")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Artifact]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUESEED_STATE", str(tmp_path_factory.mktemp("state")))
        return grown(tmp_path_factory.mktemp("why") / "work")


@pytest.fixture
def today():
    from datetime import UTC, datetime

    return datetime.now(UTC).date()


def test_an_exception_for_what_stays_inside_lapses_on_publish(classifier, today):
    workspace, student = classifier
    assert answer(workspace, "student", Use.SERVE, today).verdict == "permit"
    published = answer(workspace, f"weights:{student.digest}", Use.PUBLISH, today)
    assert published.verdict == "refuse"
    assert [each.label.source for each in published.deciding] == [GPT]


def test_the_chain_is_told_in_plain_words(classifier, today):
    workspace, student = classifier
    told = answer(workspace, "student", Use.PUBLISH, today).lines()
    assert told[0] == f"weights:{student.digest[:12]} may not be used to publish"
    text = "\n".join(told)
    assert f"{GPT}, output: refused:" in told[1]
    assert "3 of 3 records, for example" in text
    assert "then curate, train" in text
    assert "openai-sa-2026-01-01" in text
    assert f"{GEMMA}, weights: permitted" in text
    assert "UltraFeedback (preference tuning): answers of several models, graded by GPT-4" in text


def test_what_is_permitted_tells_what_is_owed(classifier, today):
    workspace, _ = classifier
    found = answer(workspace, "student", Use.SERVE, today)
    assert found.solution is not None
    assert any("delete and stop using Gemma" in line for line in found.lines())


def test_it_is_plain_json(classifier, today):
    workspace, student = classifier
    said = answer(workspace, "student", Use.PUBLISH, today).to_json()
    assert json.loads(json.dumps(said)) == said
    assert said["artifact"] == f"weights:{student.digest}"
    assert said["labels"][0]["came"][0]["step"] in ("generate", "weights")


def test_without_a_source_that_it_learned_from_a_rebuild_is_required(classifier, today):
    workspace, student = classifier
    found = answer(workspace, "student", Use.PUBLISH, today, without=[GPT])
    assert found.verdict == "rebuild"
    assert [made.kind for made in found.again] == ["dataset", "weights"]
    assert {made.kind for made in found.stands} == {"records", "weights"}
    assert found.lines()[0].startswith(f"rebuild required: weights:{student.digest[:12]} learned from {GPT}")


def test_without_the_wrong_source_it_is_refused_all_the_same(classifier, today):
    workspace, _ = classifier
    assert answer(workspace, "student", Use.PUBLISH, today, without=[SMOL]).verdict == "refuse"


def test_without_all_of_them_nothing_is_left(classifier, today):
    workspace, _ = classifier
    found = answer(workspace, "student", Use.PUBLISH, today, without=[SMOL, GPT, GEMMA])
    assert found.verdict == "refuse"
    assert "nothing that it was made from is left" in found.lines()[0]


def test_a_source_that_it_does_not_carry_cannot_be_left_out(classifier, today):
    workspace, _ = classifier
    with pytest.raises(ConfigError, match=r"carries no label of 'own/nobody'.*its sources: google"):
        answer(workspace, "student", Use.PUBLISH, today, without=["own/nobody"])


@pytest.mark.parametrize("reference", ["weights:ffffff", "weights:abc", "dataset:", "0" * 64])
def test_what_was_not_made_here_is_the_users_to_mend(classifier, today, reference):
    workspace, _ = classifier
    with pytest.raises(ConfigError, match="names"):
        answer(workspace, reference, Use.PUBLISH, today)


def test_a_recall_decides_too(tmp_path, today):
    workspace, _ = grown(tmp_path / "work")
    recall(workspace, SMOL, "the maker asked")
    found = answer(workspace, "student", Use.SERVE, today)
    assert found.verdict == "refuse"
    assert "the maker asked" in "\n".join(found.lines(whole=False))


def test_sources_and_documents_are_not_taken_for_what_was_made():
    made = ("student", "weights:0a1b2c", "0a1b2c3d", "dataset:")
    assert [is_made_here(each) for each in made] == [True] * 4
    assert not any(is_made_here(each) for each in (GPT, "own/words", "doc:own-work", "GPT 4", "0a1b2"))


def said(workspace: Workspace, *words: str) -> tuple[int, dict]:
    done = CliRunner().invoke(app, [*words, "--workspace", str(workspace.folder), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_the_command_line_tells_what_decides_with_its_exit_code(classifier):
    workspace, student = classifier
    code, refused = said(workspace, "why", "student", "publish")
    assert (code, refused["verdict"], refused["artifact"]) == (3, "refuse", f"weights:{student.digest}")
    assert [each["source"] for each in refused["deciding"]] == [GPT]
    assert said(workspace, "why", student.digest[:12], "serve")[0] == 0


def test_and_in_words(classifier):
    workspace, _ = classifier
    told = CliRunner().invoke(app, ["why", "student", "publish", "--workspace", str(workspace.folder)])
    words = " ".join(told.stdout.split())
    assert all(part in words for part in ("may not be used to publish", "made by", "labels", "then curate, train"))


def test_without_a_source_the_command_line_says_rebuild_with_three(classifier):
    workspace, _ = classifier
    code, found = said(workspace, "may", "publish", "student", "--without", GPT)
    assert (code, found["verdict"], found["without"]) == (3, "rebuild", [GPT])
    assert said(workspace, "may", "serve", "student")[0] == 0


def test_facts_are_shown_as_they_were_declared(classifier):
    workspace, _ = classifier
    code, found = said(workspace, "facts")
    assert (code, found["project"], found["student"]["kind"]) == (0, "why", "classifier")
