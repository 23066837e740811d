import json
from pathlib import Path

import pytest

from trueseed.core.artifacts import Artifact
from trueseed.core.prompts import Prompt, read_prompts, texts, write_prompts
from trueseed.errors import ConfigError


def file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_prompts_are_read_in_order_and_blank_lines_passed_over(tmp_path):
    path = file(tmp_path, '{"id": "b", "prompt": " Two? "}', "", '{"id": "a", "prompt": "One?", "topic": "sums"}')
    assert read_prompts(path) == (Prompt("b", "Two?"), Prompt("a", "One?", "sums"))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('{"id": "x", "prompt": ', "line 2: not JSON"),
        ('["x"]', "line 2: not a JSON object"),
        ('{"id": "x"}', "line 2: 'prompt' must be a string"),
        ('{"prompt": "x"}', "line 2: 'id' must be a string"),
        ('{"id": "x", "prompt": "  "}', "line 2: 'prompt' must be a string that is not empty"),
        ('{"id": "x", "prompt": 3}', "line 2: 'prompt' must be a string"),
        ('{"id": "x", "prompt": "y", "topic": 1}', "line 2: 'topic' must be a string"),
        ('{"id": "x", "prompt": "y", "promt": "z"}', "line 2: unknown key 'promt'"),
        ('{"id": "a", "prompt": "again"}', "line 2: id 'a' was used before"),
        ("[" * 100_000, "line 2: not JSON"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_imported(tmp_path, line, wrong):
    with pytest.raises(ConfigError, match="Nothing was imported") as caught:
        read_prompts(file(tmp_path, '{"id": "a", "prompt": "One?"}', line, '{"id": "c", "prompt": "Three?"}'))
    assert wrong in str(caught.value)
    assert str(tmp_path / "mine.jsonl") in str(caught.value)


def test_all_wrong_lines_are_named_up_to_ten(tmp_path):
    with pytest.raises(ConfigError, match=r"line 1: .*line 10: .*and 3 more"):
        read_prompts(file(tmp_path, *["nonsense"] * 13))


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_list_is_an_error(tmp_path, content):
    with pytest.raises(ConfigError, match="has no prompts"):
        read_prompts(file(tmp_path, content))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prompts(tmp_path / "missing.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prompts(tmp_path / "bytes.jsonl")


def test_what_is_written_is_read_back(tmp_path):
    prompts = (Prompt("a", 'Say "é"\nplease.', "words"), Prompt("b", "Two?"))
    write_prompts(prompts, tmp_path)
    assert read_prompts(tmp_path / "prompts.jsonl") == prompts


def test_the_texts_of_an_artifact_are_those_of_all_its_lists(tmp_path):
    write_prompts((Prompt("a", "One?"),), tmp_path)
    (tmp_path / "tasks.jsonl").write_text(json.dumps({"prompt": "Two?", "constraints": []}) + "\n" + '{"other": 1}\n')
    assert sorted(texts(Artifact("prompts", "0" * 64, tmp_path, {}))) == ["One?", "Two?"]
