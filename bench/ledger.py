"""What the ledger costs: appending, verifying all of it, proving one entry, and a step in a workspace that has seen
many; pymerkle beside us where it does the same.

    python -m bench.ledger                             2,000 appends, 100,000 entries, 200 proofs, 1,000 steps
    python -m bench.ledger --entries 2000 --dry-run    less of it, and nothing is written to bench/results

Asked for: at least 1,000 appends a second, 100,000 entries verified in at most 60 s, an inclusion proof in at most
10 ms. An append waits for the disk for the entry, its checkpoint, and the copy in the user's state: one at a time, that
is most of it. So three numbers are given: one at a time, a hundred at a time (`append_all`; all are on disk when it
returns), and one at a time where there is no disk (Linux). Beside them, how many lines the disk writes and syncs.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymerkle
from bench.machine import save

from trueseed.core.merkle import Tree, leaf_hash
from trueseed.ledger.log import Ledger
from trueseed.ledger.proof import check_inclusion, prove_inclusion
from trueseed.ledger.statement import SEAL, subject
from trueseed.ledger.verify import verify_ledger
from trueseed.terms.model import Relation
from trueseed.workspace import Workspace

MEMORY = Path("/dev/shm")


def seal(index: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A statement as a server writes it."""
    counts = {"answers": index, "refused": 3, "tokens": 1234}
    said = {"step": "serve", "run": "0123456789abcdef", "counts": counts, "at": "2026-11-25T12:00:00Z"}
    return [subject("weights", "ab" * 32)], said


def appends(folder: Path, n: int) -> float:
    """Appends a second."""
    ledger = Ledger.open(folder / "ledger", state=folder / "state", create=True)
    began = time.perf_counter()
    for index in range(n):
        ledger.append(SEAL, *seal(index))
    return n / (time.perf_counter() - began)


def appends_together(folder: Path, n: int, at_once: int) -> float:
    """Appends a second, of so many at once."""
    ledger = Ledger.open(folder / "ledger", state=folder / "state", create=True)
    began = time.perf_counter()
    for first in range(0, n, at_once):
        ledger.append_all((SEAL, *seal(index)) for index in range(first, min(n, first + at_once)))
    return n / (time.perf_counter() - began)


def synced_lines(folder: Path, n: int) -> float:
    """Lines a second, each written and synced: what the disk allows at the most."""
    with (folder / "lines").open("ab", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(n):
            file.write(b"x" * 1000)
            os.fsync(file.fileno())
        return n / (time.perf_counter() - began)


def written(folder: Path, n: int) -> Ledger:
    """A ledger of n entries."""
    appends_together(folder, n, 10_000)
    return Ledger.open(folder / "ledger", state=folder / "state")


def steps(folder: Path, n: int) -> dict[str, float]:
    """Milliseconds for a step that reads what the step before it wrote: the first tenth of them, and the last."""
    workspace = Workspace.open(folder / "work", create=True)
    times, last = [], []
    for index in range(n):
        began = time.perf_counter()
        brings = {} if last else {"own/prompts": Relation.OUTPUT}
        with workspace.step("s", inputs=last, brings=brings, config={"n": index}) as step:
            last = [step.write("records", lambda to, i=index: (to / "file").write_text(f"{i}") and None, {})]
        times.append(1e3 * (time.perf_counter() - began))
    tenth = max(1, n // 10)
    return {"first": statistics.median(times[:tenth]), "last": statistics.median(times[-tenth:])}


def timed(what: Callable[[], Any]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def proofs(ledger: Ledger, times: int) -> dict[str, float]:
    """Milliseconds for a proof of one entry, the first of which hashes the whole tree; and to check one."""
    places = [index * ledger.size // times for index in range(times)]
    operator = ledger.identity.operator
    texts: list[str] = []
    made = [timed(lambda place=place: texts.append(prove_inclusion(ledger, place))) for place in places]
    checked = [timed(lambda text=text: check_inclusion(text, operator)) for text in texts]
    return {"first": 1e3 * made[0], "prove": 1e3 * statistics.median(made), "check": 1e3 * statistics.median(checked)}


def beside(ledger: Ledger, times: int) -> dict[str, float]:
    """The same leaves in trees: seconds to make one and its root, ms for a path; ours and pymerkle's, in turns."""
    leaves = [entry.leaf for entry in ledger.entries()]
    ours, theirs = None, pymerkle.InmemoryTree(algorithm="sha256")
    made = {"ours_s": timed(lambda: Tree(map(leaf_hash, leaves)).root())}
    made["pymerkle_s"] = timed(lambda: [theirs.append_entry(leaf) for leaf in leaves] and theirs.get_root())
    ours = Tree(map(leaf_hash, leaves))
    assert ours.root() == theirs.get_root() == bytes.fromhex(ledger.root_hex)
    places = [index * len(leaves) // times for index in range(times)]
    pairs = [(timed(lambda p=p: ours.path(p)), timed(lambda p=p: theirs.prove_inclusion(p + 1))) for p in places]
    made["ours_path_ms"], made["pymerkle_path_ms"] = (
        1e3 * statistics.median(each) for each in zip(*pairs, strict=True)
    )
    return made


def measure(entries: int, appended: int, times: int, doors: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["TRUESEED_STATE"] = str(folder / "state")
        rates = {
            "one_at_a_time": appends(folder / "durable", appended),
            "a_hundred_at_a_time": appends_together(folder / "together", 10 * appended, 100),
            "synced_lines_of_a_plain_file": synced_lines(folder, appended),
        }
        if MEMORY.is_dir():
            with tempfile.TemporaryDirectory(dir=MEMORY) as bare:
                rates["one_at_a_time_in_memory"] = appends(Path(bare), appended)
        ledger = written(folder / "large", entries)
        report = None

        def verify() -> None:
            nonlocal report
            report = verify_ledger(ledger.folder, state=folder / "large" / "state")

        verified = timed(verify)
        assert report is not None and report.findings == () and report.size == entries
        opened = timed(lambda: Ledger.open(ledger.folder, state=folder / "large" / "state"))
        return {
            "appends_per_s": {name: round(each) for name, each in rates.items()},
            "entries": entries,
            "verify_s": round(verified, 2),
            "open_s": round(opened, 2),
            "proof_ms": {name: round(each, 3) for name, each in proofs(ledger, times).items()},
            "trees": {name: round(each, 4) for name, each in beside(ledger, times).items()},
            "steps": doors,
            "step_ms": {name: round(each, 1) for name, each in steps(folder, doors).items()},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--appends", type=int, default=2_000)
    parser.add_argument("--proofs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--dry-run", action="store_true", help="do not write the result")
    given, _ = parser.parse_known_args()
    result = measure(given.entries, given.appends, given.proofs, given.steps)
    print(result if given.dry_run else save("ledger", result))


if __name__ == "__main__":
    main()
