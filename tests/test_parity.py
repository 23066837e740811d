"""Our own tasks beside lm-evaluation-harness's on the same weights, in float32: the same prompts, answers and scores,
to the sample, on files that both read.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from trueseed import scoring
from trueseed.checks import numbers
from trueseed.evaluate.fewshot import Fewshot
from trueseed.evaluate.scorers import named
from trueseed.evaluate.task import Config
from trueseed.lm.speed import Speed
from trueseed.workspace import Workspace

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (extra harness)")

QUESTIONS = [f"Ada has {n} apples and buys {n * 3} more. How many has she?" for n in range(2, 8)]
TRAIN = [
    {"question": "Bob had 3 pears and ate 1. How many are left?", "answer": "He has 3 - 1 = <<3-1=2>>2.\n#### 2"},
    {"question": "A pack has 4 pens. How many have 5 packs?", "answer": "They have 4 * 5 = <<4*5=20>>20.\n#### 20"},
]
AT_MOST = 24  # tokens
UNTIL = ["Question:", "</s>", "<|im_end|>"]  # as its own gsm8k has it

GSM8K = """include: {package}/tasks/gsm8k/gsm8k.yaml
task: {task}
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{train: {train}, test: {test}}}}}
fewshot_config: {{sampler: first_n}}
generation_kwargs: {{until: {until}, do_sample: false, temperature: 0.0, max_gen_toks: {at_most}}}
"""
CHOICE = """task: {task}
dataset_path: json
dataset_kwargs: {{data_files: {{train: {train}, test: {test}}}}}
fewshot_split: train
test_split: test
fewshot_config: {{sampler: first_n}}
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{target}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture(scope="module")
def hf(tiny_llama: Path) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(tiny_llama), dtype="float32", device="cpu", batch_size=4)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def theirs(model: Any, folder: Path, task: str, text: str, test: Path, shots: int) -> list[Any]:
    """Its samples, by filter and document."""
    from lm_eval.tasks import TaskManager

    spec = importlib.util.find_spec("lm_eval")
    assert spec and spec.submodule_search_locations
    train = lines(folder / "train.jsonl", TRAIN if "gsm8k" in task else [choice(n) for n in (70, 80)])
    said = {"package": spec.submodule_search_locations[0], "task": task, "train": train, "test": test}
    (folder / "task.yaml").write_text(text.format(**said, until=json.dumps(UNTIL), at_most=AT_MOST))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = lm_eval.simple_evaluate(
        model=model, tasks=[task], task_manager=manager, num_fewshot=shots, bootstrap_iters=0, log_samples=True
    )
    assert found is not None
    return sorted(found["samples"][task], key=lambda row: (row["filter"], row["doc_id"]))


def ours(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, config: Config) -> list[dict[str, Any]]:
    """Our lines, by sample."""
    found = scoring.resolve(str(model), source="own/tiny")
    monkeypatch.setattr(scoring, "resolve", lambda spec: found)
    workspace = Workspace.open(folder / "work", create=True)
    measured = scoring.ours(workspace, str(model), Speed(dtype="float32"))
    scores = scoring.on(measured, config, scoring.bring_task(workspace, config), workspace)
    return [json.loads(line) for line in scores.path("samples.jsonl").read_bytes().splitlines()]


def examples(folder: Path, shots: int) -> Fewshot | None:
    return Fewshot(n=shots, file=str(folder / "train.jsonl")) if shots else None


@pytest.mark.parametrize("shots", [0, 2])
def test_gsm8k_asks_hears_and_scores_as_the_harness_does(hf, tiny_llama, tmp_path, monkeypatch, shots):
    rows = [{"question": question, "answer": "#### 1"} for question in QUESTIONS]
    heard = theirs(hf, tmp_path, "tiny_gsm8k", GSM8K, lines(tmp_path / "first.jsonl", rows), shots)
    said = [row["resps"][0][0] for row in heard if row["filter"] == "strict-match"]
    for row, text in list(zip(rows, said, strict=True))[::2]:  # every second is right, if it says any number
        row["answer"] = f"#### {numbers.last(text) or 0}"
    test = lines(tmp_path / "test.jsonl", rows)
    found = theirs(hf, tmp_path, "tiny_gsm8k", GSM8K, test, shots)
    config = Config(
        scorer="gsm8k", file=str(test), source="own/ada", form="text", max_tokens=AT_MOST,
        fewshot=examples(tmp_path, shots),
    )  # fmt: skip
    own = ours(tmp_path, tiny_llama, monkeypatch, config)
    for filtered, metric in (("strict-match", "strict_match"), ("flexible-extract", "flexible_extract")):
        of_filter = [row for row in found if row["filter"] == filtered]
        assert [line["asked"][0]["continues"] for line in own] == [row["arguments"][0][0] for row in of_filter]
        assert [line["said"][0]["text"] for line in own] == [row["resps"][0][0] for row in of_filter]
        assert [line["counts"][metric][0] for line in own] == [row["exact_match"] for row in of_filter]


SAYS = [
    "It is 6.\n#### 6", "#### $6", "It is 6.", "6", "#### 6.0", "#### 6.", "#### 6\nNo: 7", "#### 7\n#### 6",
    "$1,234", "#### 1,234.", "-6", "#### -6", "none at all", "12 34", "####6", "half of 12.5", "#### 6 #### 7", "",
]  # fmt: skip


def test_gsm8k_tells_right_from_wrong_as_the_harness_does(tmp_path):
    from lm_eval.api.model import LM

    class Saying(LM):  # type: ignore[misc]  # the harness is without types
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            return [SAYS[request.doc_id % len(SAYS)] for request in requests]

        def loglikelihood(self, requests: Any) -> Any: ...

        def loglikelihood_rolling(self, requests: Any) -> Any: ...

    rows = [{"question": f"{n}?", "answer": f"#### {target}"} for target in (6, "1,234", -6) for n in range(len(SAYS))]
    found = theirs(Saying(), tmp_path, "tiny_gsm8k", GSM8K, lines(tmp_path / "test.jsonl", rows), 0)
    score = named("gsm8k").score
    counts = [score(row, [SAYS[n % len(SAYS)]]).counts for n, row in enumerate(rows)]
    for filtered, metric in (("strict-match", "strict_match"), ("flexible-extract", "flexible_extract")):
        right = [row["exact_match"] for row in found if row["filter"] == filtered]
        assert [each[metric][0] for each in counts] == right
        assert 0 < sum(right) < len(right)


def choice(n: int) -> dict[str, Any]:
    return {"prompt": f"After {n} comes", "choices": [str(n + 1), "a sailor", f"{n} again"], "target": n % 3}


def test_multiple_choice_with_examples_is_as_likely_as_in_the_harness(hf, tiny_llama, tmp_path, monkeypatch):
    test = lines(tmp_path / "test.jsonl", [choice(n) for n in range(6)])
    found = theirs(hf, tmp_path, "tiny_choice", CHOICE, test, 2)
    config = Config(scorer="choice", file=str(test), source="own/ada", fewshot=examples(tmp_path, 2))
    own = ours(tmp_path, tiny_llama, monkeypatch, config)
    assert [line["asked"][0]["before"] for line in own] == [row["arguments"][0][0] for row in found]
    likely = [float(each[0]) for row in found for each in row["filtered_resps"]]
    assert [-each["nll"] for line in own for each in line["said"]] == pytest.approx(likely, abs=1e-3)
    for metric in ("acc", "acc_norm"):
        assert [line["counts"][metric][0] for line in own] == [row[metric] for row in found]
