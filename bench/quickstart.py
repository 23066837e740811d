"""Does the student beat its teacher? The quickstart over three seeds, with at least 1,000 samples per set.

    python -m bench.quickstart [--samples 1000] [--seeds 0 1 2] [--workspace bench-work]

Records, order and training differ by seed; the evaluation sets and the teacher's answers are the same for all. Scores
are averaged over seeds for each prompt, then prompts are bootstrapped. Resumable: the same command goes on.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.machine import save
from rich.console import Console

from trueseed import pipeline, runfile
from trueseed.core.artifacts import Artifact
from trueseed.evaluate import stats
from trueseed.evaluate.sets import CHAT, TASK_SETS
from trueseed.report import gather
from trueseed.screen import Screen
from trueseed.workspace import Workspace

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.yaml"
UNSEEN = 2027  # draws of tasks that no choice of the recipe was made on
CHAT_MAX_TOKENS = 64  # longer free answers than the recipe has time for
Sums = dict[str, list[float]]  # by prompt


def seeded(file: runfile.RunFile, seed: int, samples: int) -> pipeline.RunFile:
    return file.model_copy(
        update={
            "project": "bench-quickstart",
            "generate": file.generate.model_copy(update={"seed": seed}),
            "curate": file.curate.model_copy(update={"seed": seed}),
            "train": file.train.model_copy(update={"seed": seed}),
            "evaluate": file.evaluate.model_copy(
                update={"samples": samples, "seed": UNSEEN, "chat_max_tokens": CHAT_MAX_TOKENS}
            ),
        }
    )


def rows(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in artifact.path(name).read_text(encoding="utf-8").splitlines()]


def right_by_prompt(artifacts: Sequence[Artifact], name: str) -> Sums:
    """Right answers of each prompt, averaged over the artifacts."""
    sums: Sums = {}
    for artifact in artifacts:
        for sample in rows(artifact, "samples.jsonl"):
            if sample["set"] == name:
                row = sums.setdefault(sample["task"]["prompt_id"], [0.0, 0.0])
                row[0] += (not sample["faults"]) / len(artifacts)
                row[1] += 1 / len(artifacts)
    return sums


def chat_by_prompt(baseline: Artifact, scores: Sequence[Artifact]) -> Sums:
    """nll of the students (averaged), nll of the teacher, tokens: for each prompt."""
    sums: Sums = {}
    before = rows(baseline, "chats.jsonl")
    for artifact in scores:
        for chat, after in zip(before, rows(artifact, "chats.jsonl"), strict=True):
            row = sums.setdefault(chat["messages"][0]["content"], [0.0, 0.0, 0.0])
            for column, value in enumerate((after["nll"], chat["nll"], chat["tokens"])):
                row[column] += value / len(scores)
    return sums


def summarise(baseline: Artifact, scores: Sequence[Artifact]) -> dict[str, Any]:
    found: dict[str, Any] = {"teacher": {}, "student": {}, "difference": {}}
    for name in TASK_SETS:
        theirs, ours = right_by_prompt([baseline], name), right_by_prompt(scores, name)
        samples = [ours[prompt][1] for prompt in ours]
        right, other = [ours[p][0] for p in ours], [theirs[p][0] for p in ours]
        found["teacher"][name] = stats.share(other, samples).to_json()
        found["student"][name] = stats.share(right, samples).to_json()
        found["difference"][name] = stats.share_difference(right, other, samples).to_json()
    after, before, tokens = (list(column) for column in zip(*chat_by_prompt(baseline, scores).values(), strict=True))
    found["teacher"][CHAT] = stats.perplexity(before, tokens).to_json()
    found["student"][CHAT] = stats.perplexity(after, tokens).to_json()
    found["difference"][CHAT] = stats.perplexity_difference(after, before, tokens).to_json()
    found["chat_perplexity_ratio"] = stats.perplexity_ratio(after, before, tokens).to_json()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--workspace", type=Path, default=Path("bench-work"))
    parser.add_argument("--name", default="quickstart", help="of the file in bench/results")
    given = parser.parse_args()
    file = runfile.load(given.recipe)
    outcomes, single = [], []
    with Screen(Console(stderr=True)) as watching:
        workspace = Workspace.open(given.workspace, create=True, report=watching)
        for seed in given.seeds:
            outcome = pipeline.run(seeded(file, seed, given.samples), workspace)
            report = gather.report(
                workspace,
                teacher=outcome.teacher_source,
                student=outcome.student,
                records=[part.records for part in outcome.parts],
                dataset=outcome.dataset,
                scores=outcome.scores,
            ).to_json()
            outcomes.append(outcome)
            single.append({"seed": seed, **{key: report[key] for key in ("scores", "records", "timings_s")}})
    found = {
        "recipe": given.recipe.name,
        "samples_per_set": given.samples,
        "seeds": given.seeds,
        "scores": summarise(outcomes[0].baseline, [outcome.scores for outcome in outcomes]),
        "by_seed": single,
    }
    save(given.name, found)
    print(json.dumps(found["scores"], indent=1))


if __name__ == "__main__":
    main()
