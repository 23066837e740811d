"""What a score is worth: samples among the training data, looks at the samples, and the door between the two."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trueseed import models, scoreboard, scoring
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Message
from trueseed.core.records import Record, write_parquet
from trueseed.curate import pipeline as curation
from trueseed.errors import Refused
from trueseed.evaluate.task import Config
from trueseed.ledger.looks import looks_at
from trueseed.lm.source import resolve
from trueseed.terms.model import Effect, Relation
from trueseed.workspace import Workspace

ROWS = [
    {"id": "same", "prompt": "Which valley town has a bell that nobody rings?", "target": "Ambra"},
    {"id": "near", "prompt": "How many geese does the miller of the old valley keep by the river now?", "target": "9"},
    {
        "id": "run",
        "prompt": "Tell me who walked over the hill with a red lamp in the rain on the last day of May?",
        "target": "Jo",
    },
    {"id": "clean", "prompt": "What colour is the ferry to the northern islands?", "target": "blue"},
    {"id": "fresh", "prompt": "Where do the\u2028herons sleep in winter?", "target": "elsewhere"},
]  # fmt: skip; U+2028 ends a line of text, and none of JSON
LEARNED = [
    ("which valley town has a bell that nobody rings", "It is Ambra."),
    ("How many geese does the miller of the old valley keep by the river?", "Nine of them."),
    ("A riddle.", "They asked who walked over the hill with a red lamp in the rain on the last day before noon."),
    ("How do I keep bread fresh for a week?", "Wrap it in linen."),
]
TASK = {"scorer": "contains", "source": "own/ada", "max_tokens": 4}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


def task_of(workspace: Workspace, rows: list[dict[str, Any]] = ROWS) -> tuple[Config, Artifact]:
    path = workspace.folder.parent / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = Config(file=str(path), **TASK)
    return config, scoring.bring_task(workspace, config)


def brought(workspace: Workspace, pairs: list[tuple[str, str]]) -> Artifact:
    """Records that come in from outside."""
    with workspace.step("import", brings={"own/ada": Relation.OUTPUT}, config={"n": len(pairs)}) as step:
        origin = step.origin(source="own/ada")
        records = [Record(messages=(Message("user", q), Message("assistant", a)), origin=origin) for q, a in pairs]
        return step.write("records", lambda at: write_parquet(records, at / "records.parquet"), {})


def curated(workspace: Workspace, records: Artifact) -> Artifact:
    held = workspace.held_out()
    with workspace.step("curate", inputs=[records], config={"against": held.digests}) as step:
        return curation.curate(curation.Config(validation=0.0), [records], [], step, held)


def trained(workspace: Workspace, model: Path, *words: Artifact) -> Artifact:
    base = models.import_weights(resolve(str(model), source="own/tiny"), workspace)

    def fill(target: Path) -> None:
        for path in base.folder.glob("*.*"):
            if path.name != "manifest.json":
                shutil.copyfile(path, target / path.name)
        (target / "note.txt").write_text(" ".join(each.digest for each in words))

    with workspace.step("train", inputs=[*words, base], effect=Effect.TRAIN) as step:
        return step.write("weights", fill, {"source": "own/tiny-student"})


def scores_of(model: scoring.Model, task: tuple[Config, Artifact], workspace: Workspace) -> Any:
    return json.loads(scoring.on(model, *task, workspace).path("scores.json").read_bytes())


def test_a_score_says_which_samples_were_learned_and_what_it_is_without_them(workspace, tiny_llama):
    student = trained(workspace, tiny_llama, dataset := curated(workspace, brought(workspace, LEARNED)))
    found = scores_of(scoring.ours(workspace, "student"), task_of(workspace), workspace)
    said = found["contamination"]
    assert {name: each["how"] for name, each in said["ids"].items()} == {"same": "same", "near": "near", "run": "run"}
    assert (said["records"], said["samples"], said["contaminated"], said["share"]) == (4, 5, 3, 0.6)
    assert said["against"] == [f"dataset:{dataset.digest}"]
    assert said["without"]["accuracy"]["n"] == 2
    assert said["unknown"] == ["own/tiny, from which it was trained: its training data is not here"]
    arguments = ["--scorer", "contains", "--source", "own/ada", "--max-tokens", "4", "-w", str(workspace.folder)]
    task = str(workspace.folder.parent / "task.jsonl")
    shown = CliRunner().invoke(app, ["evaluate", f"weights:{student.digest}", "--task", task, *arguments]).stdout
    told = "in the training data (4 records): 3 of 5 samples (60.0%): 1 the same, 1 nearly, 1 by 13 words in a row"
    assert told in " ".join(shown.split())


def test_of_a_model_from_outside_it_is_not_known_and_never_none(workspace, tiny_llama):
    models.import_weights(resolve(str(tiny_llama), source="own/tiny"), workspace)
    base = scoring.held(next(a for a in workspace.store.all() if a.kind == "weights"), "own/tiny", scoring.Speed())
    said = scores_of(base, task_of(workspace), workspace)["contamination"]
    assert said == {"unknown": ["own/tiny: its training data is not here"]}


@pytest.mark.parametrize("kind", ["records", "dataset"])
def test_the_door_lets_nobody_train_on_held_out_samples_that_came_in_another_way(workspace, tiny_llama, kind):
    records = brought(workspace, LEARNED)
    words = curated(workspace, records) if kind == "dataset" else records
    task_of(workspace)
    with pytest.raises(Refused, match=r"2 of the records of .*sample 'same' of task .*nearly sample 'near'"):
        trained(workspace, tiny_llama, words)


def test_weights_from_words_alone_are_refused_as_they_are_written(workspace):
    records = brought(workspace, LEARNED)
    task_of(workspace)
    with (
        pytest.raises(Refused, match="held-out samples"),
        workspace.step("pretrain", inputs=[records], effect=Effect.TRAIN) as step,
    ):
        step.write("weights", lambda at: (at / "w").write_text("w") and None, {})


def test_curation_leaves_out_what_the_door_would_refuse_and_counts_it(workspace, tiny_llama):
    records, _ = brought(workspace, LEARNED), task_of(workspace)
    dataset = curated(workspace, records)
    assert (dataset.meta["train"], dataset.meta["dropped"]) == (2, {"held out": 2})
    assert trained(workspace, tiny_llama, dataset).kind == "weights"


def test_looks_are_counted_in_the_ledger_by_model_and_deleting_scores_takes_none_back(workspace, tiny_llama):
    task = task_of(workspace)
    for dishes in (1, 2):
        words = brought(workspace, [(f"Dish {n}, with how much salt?", f"{n} spoons.") for n in range(dishes)])
        trained(workspace, tiny_llama, words)
        looks = scores_of(scoring.ours(workspace, "student"), task, workspace)["looks"]
        assert (looks["times"], looks["students"], looks["others"]) == (dishes, dishes, 0)
    again = scoring.on(scoring.ours(workspace, "student"), *task, workspace)
    config = task[0].model_copy(update={"max_tokens": 3})
    scoring.on(scoring.ours(workspace, "student"), config, task[1], workspace)
    (compared,) = scoreboard.compare(workspace, f"scores:{again.digest}", "student")
    assert str(compared.looks).startswith("looked at 3 times by 2 students since 20")
    for path in (workspace.store.folder / "scores").iterdir():
        shutil.rmtree(path)
    anew = Workspace.open(workspace.folder)
    assert looks_at(task[1].digest, anew.lineage()) == compared.looks
