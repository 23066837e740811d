"""Examples before the question: apart from the samples, the same for all of them, and exactly as they are shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.errors import ConfigError
from trueseed.evaluate import contamination, task
from trueseed.evaluate.contamination import Learned
from trueseed.evaluate.fewshot import Fewshot, Shot, drawn, in_chat, in_text
from trueseed.evaluate.task import Config, read

POOL = tuple(Shot(f"shot:{n}", f"Say {n}.", str(n)) for n in range(9))


@given(st.integers(1, 6), st.integers(0, 50), st.sets(st.integers(0, 8), max_size=3))
def test_examples_are_drawn_by_the_seed_in_the_files_order_and_never_ask_a_sample(n, seed, taken):
    samples = [f"say {each}" for each in taken]  # but for case and the full stop
    found = drawn(POOL, samples, n=n, seed=seed)
    assert found == drawn(POOL, samples, n=n, seed=seed)
    places = [POOL.index(shot) for shot in found]
    assert len(places) == n
    assert places == sorted(places)
    assert not taken & set(places)


def test_too_few_examples_say_why():
    with pytest.raises(ConfigError, match=r"8 examples are wanted, and the file has 7 .*; 2 ask what a sample"):
        drawn(POOL, ["Say 1.", "Say 2."], n=8, seed=0)


def test_a_text_and_a_chat_show_the_same():
    assert in_text(POOL[:2], "Say 7.") == "Say 0. 0\n\nSay 1. 1\n\nSay 7."
    assert [(m.role, m.content) for m in in_chat(POOL[:1])] == [("user", "Say 0."), ("assistant", "0")]


def lines(folder: Path, name: str, rows: list[Any]) -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)


def described(folder: Path, scorer: str = "gsm8k", **said: Any) -> Config:
    rows = [{"question": f"What is {n} + 1?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in range(9)]
    if scorer == "choice":
        rows = [{"prompt": f"After {n} comes", "choices": [str(n + 1), "a sailor"], "target": 0} for n in range(9)]
    shots = {"n": 2, "file": lines(folder, "train.jsonl", rows[4:]), "source": "own/bea", **said.pop("fewshot", {})}
    return Config(
        scorer=scorer, file=lines(folder, "test.jsonl", rows[:4]), source="own/ada", fewshot=Fewshot(**shots),
        **said,
    )  # fmt: skip


def test_a_task_carries_its_examples_and_their_source(tmp_path):
    found = read(described(tmp_path, form="text"))
    assert (len(found.shots), found.about["fewshot"]) == (2, 2)
    assert found.shots[0].prompt.startswith("Question: What is")
    assert found.brings.keys() == {"own/ada", "own/bea"}
    assert found.digest != read(described(tmp_path, form="text", seed=1)).digest


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scorer": "open"}, "no answer that is right"),
        ({"scorer": "perplexity"}, "takes texts as they are"),
        ({"scorer": "choice", "form": "chat"}, "reads plain text"),
        ({"fewshot": {"n": 7}}, "7 examples are wanted"),
        ({"fewshot": {"file": "test.jsonl"}}, "from a file apart"),
    ],
)
def test_what_has_no_examples_is_told(tmp_path, change, told, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=told):
        read(described(tmp_path, **change))


def test_a_description_in_yaml_is_a_task_with_files_beside_it(tmp_path):
    described(tmp_path)
    path = tmp_path / "task.yaml"
    path.write_text("{file: test.jsonl, scorer: gsm8k, source: own/ada, fewshot: {n: 2, file: train.jsonl}}")
    config = task.described(path, {"limit": 3})
    assert (config.limit, len(read(config).samples), len(read(config).shots)) == (3, 3, 2)


class Step:
    def read(self, artifact: Any) -> Any:
        return artifact


def test_an_example_that_was_learned_is_told_apart_from_samples(monkeypatch):
    from trueseed.core.chat import Message, user
    from trueseed.core.records import Origin, Record
    from trueseed.similarity.leaks import Sample

    origin = Origin(kind="human", source="own/ada", project="p", use="train", terms="", asked_at="2026-01-01T00:00:00Z")
    record = Record(messages=(*user("What is 8 + 1?"), Message("assistant", "9")), origin=origin, task={})
    monkeypatch.setattr(contamination, "learned_from", lambda artifact: [record])

    class Dataset:
        kind, digest = "dataset", "d"

    samples = [Sample("0", prompts=("What is 0 + 1?",)), Sample("shot:8", prompts=("What is 8 + 1?",))]
    found = contamination.report(samples, Learned(datasets=(Dataset(),)), Step(), lambda clean: None)  # type: ignore[arg-type]
    assert (found["samples"], found["contaminated"]) == (1, 0)
    assert found["examples"]["shown"] == found["examples"]["contaminated"] == 1
    assert found["examples"]["ids"].keys() == {"shot:8"}
