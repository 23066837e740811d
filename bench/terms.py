"""What the terms cost: a verdict over a long lineage, and opening a step on a large artifact.

    python -m bench.terms [--only verdict]

Each number is a function in `MEASURES` that returns what it found and what it is held to; another is a line there.

verdict: `why`'s question, without its words, over a lineage of 1,000 artifacts and 50 sources in a workspace that is
open: the labels of the last artifact, and the verdict on publishing it. `first` also reads the ledger.
opening: a step on a records artifact of 1,000,000 records, without what hashing its bytes takes.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from bench.machine import save

from trueseed.core.artifacts import Artifact, check
from trueseed.core.canonical import digest
from trueseed.core.records import RECORDS_FILE
from trueseed.ledger.statement import STEP, subject
from trueseed.terms.admission import NOTHING, Admission, Question, admit
from trueseed.terms.catalog import Catalog, keep
from trueseed.terms.model import Document, Effect, Label, Relation, Use
from trueseed.terms.rules import Verdict, may_flow
from trueseed.workspace import KEPT, Workspace

ARTIFACTS, SOURCES, RECORDS = 1_000, 50, 1_000_000
Result = dict[str, Any]
Found = TypeVar("Found")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=MEASURES)
    asked = parser.parse_args()
    found: Result = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUESEED_STATE"] = str(Path(folder) / "state")
        for name in [asked.only] if asked.only else MEASURES:
            found[name] = MEASURES[name](Path(folder) / name)
            print(name, json.dumps(found[name]), flush=True)
    if not asked.only:
        print(save("terms", found))


def verdict(folder: Path) -> Result:
    """Every fifth of 1,000 steps asks one of 50 sources; each is made from the one before and from one far back."""
    workspace = _workspace(folder)
    last = _grown(workspace)
    again = Workspace.open(folder)
    first, (verdicts, labels) = _timed(lambda: _publish(again, last))
    assert all(each.permitted for each in verdicts), verdicts
    rest = [_timed(lambda: _publish(again, last))[0] for _ in range(30)]
    return {
        "artifacts": ARTIFACTS, "labels": labels, "ledger_entries": again.ledger.size,
        "median_ms": round(1e3 * statistics.median(rest), 2), "worst_ms": round(1e3 * max(rest), 2),
        "first_ms": round(1e3 * first, 1), "held_to_ms": 50,
    }  # fmt: skip


def _grown(workspace: Workspace) -> Artifact:
    """Closing statements as the door writes them, without opening 1,000 steps; returns the last artifact."""
    made: list[str] = []
    carried: list[set[Label]] = []
    for n in range(ARTIFACTS):
        above = [n - 1, n // 2] if n > 2 else [n - 1] if n else []
        labels = {label for i in above for label in carried[i]}
        admission = _asked(workspace, f"maker{n // 5 % SOURCES}/model@api") if n % 5 == 0 else NOTHING
        labels |= admission.labels
        made.append(digest(n))
        carried.append(labels)
        said = {
            "step": f"step {n}", "event": "done", "effect": "none", "run": f"{n}", "fingerprint": digest(["step", n]),
            "asks": [{"source": source, "use": "train"} for source in admission.terms], "brings": [],
            "inputs": [{"kind": "records", "digest": made[i], "role": "input"} for i in above],
            "outputs": [{"kind": "records", "digest": made[n]}], "labels": [each.to_json() for each in sorted(labels)],
            "verdicts": [each.to_json() for each in admission.verdicts], "terms": dict(admission.terms), "config": {},
        }  # fmt: skip
        workspace.ledger.append(STEP, [subject("records", made[n])], said)
    return Artifact("records", made[-1], workspace.folder, {})


def _asked(workspace: Workspace, source: str) -> Admission:
    question = Question(ask={source: Use.TRAIN}, brings={}, effect=Effect.NONE)
    admission = admit(question, (), workspace.catalog, workspace.facts, datetime.now(UTC).date())
    for document in admission.documents:
        keep(document, workspace.folder / KEPT)
    return admission


def opening(folder: Path) -> Result:
    """Opening and closing a step that reads it, less hashing it once as the door does."""
    workspace = _workspace(folder)
    source = "maker0/model@api"
    with workspace.step("generate", ask={source: Use.TRAIN}) as step:
        artifact = step.write("records", lambda to: _million(to / RECORDS_FILE, source, step.terms_of(source)), {})
    size = artifact.path(RECORDS_FILE).stat().st_size
    beyond = []
    for n in range(3):
        hashing, _ = _timed(partial(check, artifact))
        whole, _ = _timed(partial(_open, workspace, artifact, n))
        beyond.append(whole - hashing)
    return {
        "records": RECORDS, "bytes": size, "hashing_s": round(hashing, 3),
        "beyond_hashing_s": round(max(0.0, statistics.median(beyond)), 3), "worst_s": round(max(beyond), 3),
        "held_to_s": 2,
    }  # fmt: skip


MEASURES: Mapping[str, Callable[[Path], Result]] = {"verdict": verdict, "opening": opening}


def _publish(workspace: Workspace, artifact: Artifact) -> tuple[tuple[Verdict, ...], int]:
    labels = workspace.labels(artifact)
    return may_flow(labels, workspace.catalog, Effect.PUBLISH, workspace.facts, datetime.now(UTC).date()), len(labels)


def _open(workspace: Workspace, artifact: Artifact, n: int) -> None:
    with workspace.step("train", inputs=[artifact], effect=Effect.TRAIN, config={"n": n}):
        pass


def _timed(call: Callable[[], Found]) -> tuple[float, Found]:
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def _workspace(folder: Path) -> Workspace:
    """Whose 50 sources are each under a text of their own, with the length of a real one."""
    workspace = Workspace.open(folder, create=True)
    pattern = Catalog.load().document("gemma-terms-2025-03-24")
    texts = tuple(_text(pattern, n) for n in range(SOURCES))
    workspace.catalog = Catalog((*workspace.catalog.documents, *texts), folder=workspace.catalog.folder)
    return workspace


def _text(pattern: Document, n: int) -> Document:
    everywhere = tuple(replace(each, relations=tuple(Relation)) for each in pattern.permissions)
    return replace(
        pattern, id=f"maker{n}", provider=f"maker{n}", sources=(f"maker{n}/*@api",),
        effective_from=date(2024, 1, 1), permissions=everywhere,
    )  # fmt: skip


def _million(path: Path, source: str, terms: str) -> None:
    """Records as the store has them, about 300 bytes of words in each."""
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for start in range(0, RECORDS, 50_000):
            ids = [f"{n:064x}" for n in range(start, start + 50_000)]
            words = [f"{n} " * 40 for n in range(start, start + 50_000)]
            origin = {"source": source, "terms": terms}
            rows = [{"id": i, "words": w, "origin": origin} for i, w in zip(ids, words, strict=True)]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))


_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("words", pa.string()),
        ("origin", pa.struct([("source", pa.string()), ("terms", pa.string())])),
    ]
)


if __name__ == "__main__":
    main()
