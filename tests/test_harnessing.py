"""lm-evaluation-harness, unmodified: on our engine in process, over HTTP, and its results as our scores."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import save_llama
from tests.serve.test_api import serving
from typer.testing import CliRunner

from trueseed import harnessing, models, scoreboard, scoring
from trueseed.cli import app
from trueseed.core.artifacts import Artifact
from trueseed.errors import Broken, ConfigError, Refused
from trueseed.evaluate import harness, harness_results
from trueseed.lm.engine import Engine
from trueseed.lm.source import resolve
from trueseed.lm.speed import Speed
from trueseed.serve.api import app as served
from trueseed.terms.model import Effect
from trueseed.workspace import Workspace

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (extra harness)")

CHOICES = [
    {"prompt": "The quick brown", "choices": ["fox", "dog", "sailor"], "target": 0, "said": "fox"},
    {"prompt": "Tell me a short", "choices": ["story", "sea", "list"], "target": 0, "said": "story"},
    {"prompt": "three things that a ", "choices": ["sailor needs", "fox", "why"], "target": 0, "said": "sailor"},
    {"prompt": "explain why each of", "choices": ["them", "the lazy", "about"], "target": 2, "said": "them"},
]
COMMON = """
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
doc_to_text: "{{prompt}}"
metadata: {version: 1.0}
"""
CHOICE = """task: tiny_choice
output_type: multiple_choice
doc_to_choice: "{{choices}}"
doc_to_target: "{{target}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
SPOKEN = """task: tiny_spoken
output_type: generate_until
doc_to_target: "{{said}}"
generation_kwargs: {until: ["."], max_gen_toks: 8, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module", autouse=True)
def briefly() -> Iterator[None]:
    """Without what it tells of the environment: that asks pip, which takes seconds each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
        yield


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in CHOICES))
    for name, text in {"choice": CHOICE, "spoken": SPOKEN}.items():
        (folder / f"{name}.yaml").write_text(text + COMMON.replace("FILE", str(rows)))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(folder, "own/tiny", dtype="float32")


@pytest.fixture(scope="module")
def theirs(folder: Path, tasks: Path) -> Any:
    """What the harness's own `hf` model gives in float32."""
    from lm_eval.models.huggingface import HFLM

    return evaluated(HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=4), tasks)


def evaluated(model: Any, tasks: Path, *names: str, chat: bool = False) -> Any:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    chosen = list(names or ("tiny_choice", "tiny_spoken"))
    return lm_eval.simple_evaluate(
        model=model, tasks=chosen, task_manager=manager, bootstrap_iters=0, apply_chat_template=chat
    )


def responses(found: Any, task: str) -> list[Any]:
    rows = sorted(found["samples"][task], key=lambda row: row["doc_id"])
    return [row["filtered_resps"] for row in rows]


def likelihoods(found: Any) -> list[float]:
    return [likely for row in responses(found, "tiny_choice") for likely, _ in row]


def same_verdicts(found: Any, theirs: Any, task: str, metrics: tuple[str, ...]) -> bool:
    by_id = [
        {row["doc_id"]: [row[name] for name in metrics] for row in each["samples"][task]} for each in (found, theirs)
    ]
    return by_id[0] == by_id[1]


def test_in_process_it_gives_what_its_own_model_gives_to_the_sample(engine, theirs, tasks):
    from trueseed.evaluate.harness_model import Held

    ours = evaluated(Held(engine), tasks)
    assert likelihoods(ours) == pytest.approx(likelihoods(theirs), abs=1e-3)
    assert same_verdicts(ours, theirs, "tiny_choice", ("acc", "acc_norm"))
    assert responses(ours, "tiny_spoken") == responses(theirs, "tiny_spoken")


def test_over_http_it_finds_the_tokenizer_and_gives_the_same(engine, theirs, tasks):
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    with serving(served({"tiny": engine}, allowed=lambda name: None)) as address:
        model = LocalCompletionsAPI(base_url=f"{address}/v1/completions", model="tiny", max_length=500, batch_size=4)
        ours = evaluated(model, tasks)
    assert likelihoods(ours) == pytest.approx(likelihoods(theirs), abs=1e-3)
    assert same_verdicts(ours, theirs, "tiny_choice", ("acc", "acc_norm"))
    assert responses(ours, "tiny_spoken") == responses(theirs, "tiny_spoken")


def test_over_http_tasks_that_are_spoken_run_as_chats_too(engine, tasks):
    from lm_eval.models.openai_completions import LocalChatCompletion

    from trueseed.evaluate.harness_model import Held

    with serving(served({"tiny": engine}, allowed=lambda name: None)) as address:
        model = LocalChatCompletion(base_url=f"{address}/v1/chat/completions", model="tiny")
        over_http = evaluated(model, tasks, "tiny_spoken", chat=True)
    here = evaluated(Held(engine), tasks, "tiny_spoken", chat=True)
    assert responses(over_http, "tiny_spoken") == responses(here, "tiny_spoken")
    assert all(said for [said] in responses(here, "tiny_spoken"))


def test_our_own_multiple_choice_gives_the_same_verdicts(engine, theirs):
    from trueseed.evaluate.scorers import named

    scorer = named("choice")
    rows = sorted(theirs["samples"]["tiny_choice"], key=lambda row: row["doc_id"])
    for row, theirs_of in zip(CHOICES, rows, strict=True):
        space = "" if row["prompt"].endswith(" ") else " "
        likely = engine.follow([(row["prompt"], space + choice) for choice in row["choices"]])
        counts = scorer.score(scorer.fit(row), likely).counts
        assert counts["acc"][0] == theirs_of["acc"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "work", create=True)


@pytest.fixture
def own_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody said whose it is, so it is declared to be ours."""
    found = scoring.resolve(str(folder), source="own/tiny")
    monkeypatch.setattr(scoring, "resolve", lambda spec: found)
    return folder


def said(workspace: Workspace, model: Path, *words: object) -> Any:
    arguments = ["harness", str(model), "--source", "own/ada", "--workspace", str(workspace.folder), "--json"]
    return CliRunner().invoke(app, [*arguments, *map(str, words)], catch_exceptions=False)


def test_the_command_runs_a_task_and_keeps_its_samples_held_out(workspace, own_model, tasks):
    done = said(workspace, own_model, "--task", "tiny_choice", "--include", tasks, "--float32")
    [found] = json.loads(done.stdout)
    assert found["task"]["scorer"] == "lm-evaluation-harness"
    assert found["metrics"]["acc,none"].keys() == {"value", "se", "low", "high", "n", "method"}
    workspace = Workspace.open(workspace.folder)
    newest = workspace.lineage().newest("prompts", step="task")
    assert newest is not None
    frozen = workspace.store.get(f"prompts:{newest.digest}")
    with (
        pytest.raises(Refused, match="held-out"),
        workspace.step("train", inputs=[frozen], effect=Effect.TRAIN),
    ):
        pass


def test_results_of_elsewhere_come_in_with_intervals_from_their_samples(workspace, own_model, theirs, tmp_path):
    results, samples = written(tmp_path, theirs)
    [found, _] = json.loads(said(workspace, own_model, "--results", results, "--samples", samples).stdout)
    assert found["metrics"]["acc,none"]["value"] == theirs["results"]["tiny_choice"]["acc,none"]
    assert found["metrics"]["acc,none"]["method"] == "Wilson"
    assert found["settings"]["imported"] == results.name


def test_a_results_file_that_its_samples_contradict_is_noticed(theirs, tmp_path):
    results, samples = written(tmp_path, theirs)
    changed = json.loads(results.read_text())
    changed["results"]["tiny_choice"]["acc,none"] = 0.99
    results.write_text(json.dumps(changed))
    with pytest.raises(Broken, match="reported as"):
        harness_results.read(results, [samples])


def test_a_metric_without_a_standard_error_is_left_out_by_name(theirs, tmp_path):
    results, _ = written(tmp_path, theirs)
    [found, _], _ = harness_results.read(results, [])
    assert not found.metrics
    assert list(found.left_out) == ["acc,none", "acc_norm,none"]


@pytest.mark.parametrize(
    ("line", "error"),
    [("no json", "line 5: not JSON"), ('{"a": 1}', "line 5.*no `doc_id`"), ("", "more than once")],
)
def test_a_samples_file_that_is_none_is_told_by_its_line(theirs, tmp_path, line, error):
    results, samples = written(tmp_path, theirs)
    text = samples.read_text()
    samples.write_text(text + (line or text.partition("\n")[0]))
    with pytest.raises(ConfigError, match=error):
        harness_results.read(results, [samples])


def test_a_group_and_samples_that_cannot_be_had_are_said_plainly(tasks, tmp_path):
    (tmp_path / "group.yaml").write_text("group: tiny_group\ntask: [tiny_gone]\n")
    (tmp_path / "gone.yaml").write_text(
        "task: tiny_gone\n" + CHOICE.partition("\n")[2] + COMMON.replace("FILE", "gone.jsonl")
    )
    for name, error in (("tiny_gone", "cannot be had"), ("tiny_group", "cannot be had|group of tasks")):
        with pytest.raises(ConfigError, match=error):
            harness.load(harness.Config(tasks=[name], source="own/ada", include=str(tmp_path)))


@pytest.fixture(scope="module")
def two(folder: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Where two models were run on both tasks."""
    place = tmp_path_factory.mktemp("two")
    workspace = Workspace.open(place / "work", create=True)
    config = harness.Config(tasks=["tiny_choice", "tiny_spoken"], source="own/ada", include=str(tasks))
    for source, weights in (("own/tiny", folder), ("own/other", save_llama(place / "other", seed=1))):
        assert len(list(harnessing.by_harness(held(source, weights, workspace), config, workspace))) == 2
    return workspace


def held(source: str, folder: Path, workspace: Workspace) -> scoring.Model:
    weights = models.import_weights(resolve(str(folder), source=source), workspace)
    return scoring.held(weights, source, Speed(dtype="float32"))


def test_two_models_are_compared_sample_by_sample(two, theirs):
    choice, spoken = scoreboard.compare(two, "own/other", "own/tiny")
    assert (choice.task, choice.metric, choice.test) == ("tiny_choice", "acc,none", "McNemar, exact")
    assert choice.b.value == theirs["results"]["tiny_choice"]["acc,none"]
    assert choice.difference.n == 4 and len(choice.flips) == choice.better + choice.worse > 0
    flip = choice.flips[0]
    assert flip.asked == CHOICES[int(flip.id.removeprefix("tiny_choice:"))]["prompt"]
    assert flip.said_b.startswith("nll ") and flip.said_a != flip.said_b
    assert spoken.metric == "exact_match,none"


def test_they_meet_in_the_arena_and_stand_on_the_ladder_of_the_task(two):
    board = scoreboard.arena(scoreboard.competing([], two, task="tiny_choice")).leaderboard()
    assert {row.model.split()[0] for row in board.rows} == {"own/tiny", "own/other"} and board.samples == 4
    [task] = {each.task for each in scoreboard.measured(two) if each.scores.meta["task"] == "tiny_choice"}
    first, second = scoreboard.ladder(two, task)
    assert first.score.value >= second.score.value and first.score.n == 4


def test_the_texts_of_answers_are_among_the_scores(two, theirs):
    from trueseed.evaluate import scored

    [mine] = [
        scored.read(each.scores)
        for each in scoreboard.measured(two)
        if (each.scores.meta["task"], each.scores.meta["of"]) == ("tiny_spoken", "own/tiny")
    ]
    said = [row["resps"][0][0] for row in sorted(theirs["samples"]["tiny_spoken"], key=lambda row: row["doc_id"])]
    assert [each.said for each in mine.answered()] == said
    assert [each.asked for each in mine.answered()] == [row["prompt"] for row in CHOICES]


def test_results_of_elsewhere_are_on_the_samples_of_a_run_here(two, theirs, folder, tmp_path):
    results, samples = written(tmp_path, theirs)
    away = held("own/away", folder, two)
    found = {each.meta["task"]: each for each in harnessing.imported(away, results, [samples], "own/ada", two)}
    notes: list[str] = []
    [compared] = scoreboard.compare(two, "own/tiny", "own/away", note=notes.append)
    assert (compared.task, compared.difference.value, compared.flips) == ("tiny_choice", 0.0, ())
    assert "imported: none, results_2026" in compared.apart
    assert len(notes) == 1 and "own/away on tiny_spoken was imported without its samples" in notes[0]
    assert_nobody_is_held_up(two, found["tiny_spoken"])


def assert_nobody_is_held_up(workspace: Workspace, without: Artifact) -> None:
    """By scores that came without samples."""
    notes: list[str] = []
    assert len(scoreboard.competing([], workspace, task="tiny_spoken", note=notes.append)) == 2
    assert len(notes) == 1 and "import it again" in notes[0]
    for name in (f"scores:{without.digest}",):
        with pytest.raises(ConfigError, match="without its samples"):
            scoreboard.compare(workspace, name, "own/tiny")
        with pytest.raises(ConfigError, match="without its samples"):
            scoreboard.arena(scoreboard.competing([name, name], workspace))


def test_the_same_run_measures_nothing_twice_and_a_task_that_is_set_up_otherwise_is_measured(
    two, tasks, folder, tmp_path
):
    def run(include: Path) -> str:
        config = harness.Config(tasks=["tiny_spoken"], source="own/ada", include=str(include))
        [scores] = harnessing.by_harness(held("own/tiny", folder, two), config, two)
        return scores.digest

    [before] = [
        each.scores.digest
        for each in scoreboard.measured(two)
        if (each.scores.meta["task"], each.scores.meta["of"]) == ("tiny_spoken", "own/tiny")
    ]
    assert run(tasks) == before
    text = (tasks / "spoken.yaml").read_text()
    (tmp_path / "spoken.yaml").write_text(text.replace("max_gen_toks: 8", "max_gen_toks: 4"))
    assert run(tmp_path) != before


def written(folder: Path, found: Any) -> tuple[Path, Path]:
    """Results and samples as the harness's command line writes them."""
    results, samples = folder / "results_2026.json", folder / "samples_tiny_choice_2026.jsonl"
    results.write_text(json.dumps({name: each for name, each in found.items() if name != "samples"}, default=str))
    samples.write_text("".join(json.dumps(row, default=str) + "\n" for row in found["samples"]["tiny_choice"]))
    return results, samples
