"""One side of `bench.evaluate` in a process of its own: a task file in, every sample's verdict and the seconds out.

    python evaluate_worker.py trueseed|lm-eval '{"folder": …, "dtype": "bfloat16", "scratch": …}'

A line on standard input is an order: {"kind": "instructions" | "choices" | "gsm8k", "file": …, "max_tokens": …,
"batch": …, "examples": …}, the last a file of examples, of GSM8K alone. A line comes back when it is ready, and one for
each order: samples by id, wall and processor seconds, the most memory so far. The other side runs in an environment
without trueseed, so nothing of it is imported but by our own side.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

How = dict[str, Any]
Samples = dict[str, dict[str, Any]]  # by id: said (text, or a log-probability of each choice), and what it counts for
Work = Callable[[How], Samples]

COUNTED = {  # our metrics, and theirs, with the filter where there are several
    "instructions": {
        "prompt_strict": "prompt_level_strict_acc",
        "instruction_strict": "inst_level_strict_acc",
        "prompt_loose": "prompt_level_loose_acc",
        "instruction_loose": "inst_level_loose_acc",
    },
    "choices": {"acc": "acc", "acc_norm": "acc_norm"},
    "gsm8k": {"strict_match": "exact_match,strict-match", "flexible_extract": "exact_match,flexible-extract"},
}
SCORERS = {"instructions": "ifeval", "choices": "choice", "gsm8k": "gsm8k"}
SHOTS = 3  # examples before a question of GSM8K: enough that this model ends its answers as they do, with ####
IFEVAL = """task: instructions
include: {tasks}/ifeval/ifeval.yaml
dataset_path: json
dataset_kwargs: {{data_files: {{train: {file}}}}}
generation_kwargs: {{until: [], do_sample: false, temperature: 0.0, max_gen_toks: {max_tokens}}}
"""
GSM8K = """task: gsm8k
include: {tasks}/gsm8k/gsm8k.yaml
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{train: {examples}, test: {file}}}}}
fewshot_config: {{sampler: first_n}}
num_fewshot: {shots}
generation_kwargs:
  {{until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, temperature: 0.0, max_gen_toks: {max_tokens}}}
"""
CHOICE = """task: choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{target}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""


def trueseed(how: How) -> Work:
    """What `trueseed evaluate` does: task and scores through the door of a workspace."""
    from trueseed import scoring
    from trueseed.evaluate.task import Config
    from trueseed.lm.speed import Speed
    from trueseed.workspace import Workspace

    workspace = Workspace.open(Path(how["scratch"]) / "work", create=True)
    model = scoring.ours(workspace, how["model"], Speed(dtype=how["dtype"]))

    def work(order: How) -> Samples:
        said = {"file": order["file"], "scorer": SCORERS[order["kind"]], "max_tokens": order["max_tokens"]}
        if order["examples"]:
            said |= {"form": "text", "fewshot": {"n": SHOTS, "file": order["examples"]}}
        config = Config(source="own/bench", **said)
        scores = scoring.on(model, config, scoring.bring_task(workspace, config), workspace)
        lines = map(json.loads, scores.path("samples.jsonl").read_bytes().splitlines())
        return {line["id"]: {"said": _said(line["said"]), **line["counts"]} for line in lines}

    def _said(said: list[dict[str, Any]]) -> Any:
        return said[0]["text"] if "text" in said[0] else [-each["nll"] for each in said]

    return work


def lm_eval(how: How) -> Work:
    """`simple_evaluate` with the harness's `hf` model, on a task that is its own `ifeval` or `gsm8k` over our file, or
    a multiple choice as its guide to new tasks writes one. No intervals, which it would bootstrap in pure Python.
    """
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=how["folder"], device="cpu", dtype=how["dtype"])
    include = Path(how["scratch"]) / "lm-eval"
    include.mkdir()

    def work(order: How) -> Samples:
        kind = order["kind"]
        text = {"instructions": IFEVAL, "choices": CHOICE, "gsm8k": GSM8K}[kind]
        tasks = Path(lm_eval.__file__).parent / "tasks"
        (include / "task.yaml").write_text(text.format(tasks=tasks, shots=SHOTS, **order))
        model.batch_size_per_gpu = order["batch"]
        manager = TaskManager(include_path=str(include), include_defaults=False)
        found = lm_eval.simple_evaluate(
            model=model, tasks=[kind], task_manager=manager, bootstrap_iters=0,
            apply_chat_template=kind == "instructions",
        )  # fmt: skip
        samples: Samples = {}
        for row in found["samples"][kind]:  # of several filters one each
            samples.setdefault(str(row["doc"]["key"]), {}).update(_sample(row, kind))
        return samples

    def _sample(row: dict[str, Any], kind: str) -> dict[str, Any]:
        said: Any = row["resps"][0][0]
        if kind == "choices":
            said = [float(likely) for likely, _ in row["filtered_resps"]]
        wanted = {ours: theirs.partition(",") for ours, theirs in COUNTED[kind].items()}
        counted = {
            ours: _count(row[metric])
            for ours, (metric, _, filtered) in wanted.items()
            if row["filter"] == (filtered or "none")
        }
        return {"said": said, **counted}

    def _count(value: Any) -> list[float]:
        each = value if isinstance(value, list) else [value]
        return [float(sum(each)), len(each)]

    return work


MAKERS = {"trueseed": trueseed, "lm-eval": lm_eval}


def main(name: str, how: How) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries say things too
    work = MAKERS[name](how)
    print(json.dumps({"ready": name}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        wall, processor = time.perf_counter(), time.process_time()
        samples = work(order)
        told = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        told["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({**told, "samples": samples}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
