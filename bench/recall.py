"""How long does it take to say what a rebuild without a source costs?

    python -m bench.recall [--records 1000000] [--sources 20]

Records of many sources, in artifacts of 50,000 made by steps of a real workspace, and a dataset of all of them; a
twentieth was made from other records (`parents`). Timed is `plan_rebuild` of one source, then of a part of it.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bench.machine import save

from trueseed.core.artifacts import Artifact
from trueseed.core.records import schema
from trueseed.rebuild import plan_rebuild
from trueseed.recall import Part
from trueseed.terms.model import Relation
from trueseed.workspace import Step, Workspace

A_FILE = 50_000
TARGET_S = 20.0  # for a million records of twenty sources


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--sources", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder) / "work", create=True)
        sources = [f"own/writer-{n:02d}" for n in range(asked.sources)]
        fill(workspace, sources, asked.records)
        whole, plan = timed(workspace, sources[0], Part())
        part, _ = timed(workspace, sources[0], Part(asked=("2026-01-01", "2026-01-15")))
    held = sum(each.records for each in plan.records)
    result = {"records": asked.records, "sources": asked.sources, "rows_read": held, "target_s": TARGET_S}
    print(save("recall", {**result, "whole_source_s": round(whole, 2), "fifteen_days_s": round(part, 2)}))


def timed(workspace: Workspace, source: str, part: Part) -> tuple[float, Any]:
    began = time.perf_counter()
    plan = plan_rebuild(workspace, source, part)
    seconds = time.perf_counter() - began
    print(f"{source} {part.asked}: {seconds:.2f} s; {plan.missing} answers, {len(plan.records)} artifacts", flush=True)
    return seconds, plan


def fill(workspace: Workspace, sources: list[str], records: int) -> None:
    """Every artifact of records holds all sources, as those of a long run with several teachers do."""
    made: list[Artifact] = []
    for first in range(0, records, A_FILE):
        rows = table(first, min(A_FILE, records - first), sources)
        with workspace.step("generate", brings=dict.fromkeys(sources, Relation.OUTPUT), config={"at": first}) as step:
            made.append(put(step, "records", "records.parquet", [rows]))
    with workspace.step("curate", inputs=made) as step:
        put(step, "dataset", "train.parquet", [pq.read_table(each.path("records.parquet")) for each in made])


def put(step: Step, kind: Any, name: str, tables: list[pa.Table]) -> Artifact:
    return step.write(kind, lambda folder: pq.write_table(pa.concat_tables(tables), folder / name), {})


def table(first: int, count: int, sources: list[str]) -> pa.Table:
    def identity(n: int) -> str:
        return f"{n:064x}"

    rows = [
        {
            "id": identity(n),
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": "an answer " * 20},
            ],
            "origin": {
                "kind": "transform" if n % 20 == 19 else "teacher",
                "source": sources[n % len(sources)],
                "project": "bench",
                "use": "train",
                "terms": "",
                "asked_at": f"2026-01-{1 + n % 30:02d}T00:00:00Z",
                "request": identity(n),
                "parents": [identity(n - 1)] if n % 20 == 19 else [],
            },
            "task": "{}",
            "scores": [],
        }
        for n in range(first, first + count)
    ]
    return pa.Table.from_pylist(rows, schema=schema())


if __name__ == "__main__":
    main()
