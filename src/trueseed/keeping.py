"""What was computed of scores, kept like scores: `compare` and `arena` with `--keep`, and the comparisons of a run.

    kept(workspace, "compare", [one, other], found)       # a `scores` artifact with compared.json

A comparison asks nobody and can always be computed again; kept, it says what was seen on which day, of which scores,
and carries their labels, so that a recall and a proof reach it too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact, each_once
from trueseed.core.canonical import digest
from trueseed.report.results import Results
from trueseed.workspace import Workspace

FILES = {"compare": "compared.json", "arena": "leaderboards.json"}


def kept(workspace: Workspace, name: str, of: Sequence[Artifact], said: Any) -> Artifact:
    """name: of the step, one of `FILES`. of: the scores it was computed of. said: JSON; what was kept before when it
    says the same.
    """

    def fill(folder: Path) -> None:
        text = json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / FILES[name]).write_text(text + "\n", encoding="utf-8")

    with workspace.step(name, inputs=each_once(of), config={"said": digest(said)}) as step:
        return step.earlier("scores") or step.write("scores", fill, {"kept": name})


def of_run(workspace: Workspace, found: Results) -> list[Artifact]:
    """What a run's report sets side by side."""
    said = found.to_json()
    both = {"compare": said["compared"], "arena": said["leaderboards"]}

    def of(rows: Sequence[Mapping[str, Any]]) -> list[Artifact]:
        return [workspace.store.get(f"scores:{scores}") for row in rows for scores in row["scores"]]

    return [kept(workspace, name, of(rows), list(rows)) for name, rows in both.items() if rows]
