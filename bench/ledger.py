"""What the ledger costs: appending, verifying all of it, proving one entry; pymerkle beside us where it does the same.

    python -m bench.ledger                             2,000 appends, a ledger of 100,000 entries, 200 proofs
    python -m bench.ledger --entries 2000 --dry-run    less of it, and nothing is written to bench/results

Asked for: at least 1,000 appends a second, 100,000 entries verified in at most 60 s, an inclusion proof in at most
10 ms. An append waits for the disk for the entry, its checkpoint, and the copy in the user's state; so what it takes
without waiting is measured too. The large ledger is written at once, byte for byte as appends would.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymerkle
from bench.machine import save

from trueseed.core.canonical import canonical
from trueseed.core.merkle import Frontier, Tree, leaf_hash
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.log import CHECKPOINT, ENTRIES, Ledger
from trueseed.ledger.proof import check_inclusion, prove_inclusion
from trueseed.ledger.signing import load
from trueseed.ledger.statement import SEAL, envelope, statement, subject
from trueseed.ledger.verify import verify_ledger


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


@contextmanager
def unsynced() -> Iterator[None]:
    """Nobody waits for the disk meanwhile."""
    real, os.fsync = os.fsync, lambda _descriptor: None
    try:
        yield
    finally:
        os.fsync = real


def written(folder: Path, n: int) -> Ledger:
    """A ledger of n entries, as appends would leave it."""
    state = folder / "state"
    ledger = Ledger.open(folder / "ledger", state=state, create=True)
    operator, tree = load("operator", state / "keys"), Frontier()
    assert operator is not None
    with (ledger.folder / ENTRIES).open("wb") as file:
        for index in range(n):
            about, said = seal(index)
            place = {"origin": ledger.origin, "index": index, "root": tree.root().hex()}
            leaf = canonical(envelope(statement(SEAL, about, {**said, "log": place}), operator))
            file.write(leaf + b"\n")
            tree.append(leaf_hash(leaf))
    checkpoint = Checkpoint(origin=ledger.origin, size=n, root=tree.root())
    (ledger.folder / CHECKPOINT).write_text(checkpoint.sign(operator))
    ledger.refresh()
    return ledger


def timed(what: Callable[[], Any]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def proofs(ledger: Ledger, times: int) -> dict[str, float]:
    """Milliseconds for a proof of one entry, the tree over all leaves made anew for each; and to check it."""
    places = [index * ledger.size // times for index in range(times)]
    operator = ledger.identity.operator
    texts: list[str] = []
    made = [timed(lambda place=place: texts.append(prove_inclusion(ledger, place))) for place in places]
    checked = [timed(lambda text=text: check_inclusion(text, operator)) for text in texts]
    return {"prove": 1e3 * statistics.median(made), "check": 1e3 * statistics.median(checked)}


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


def measure(entries: int, appended: int, times: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        durable = appends(folder / "durable", appended)
        with unsynced():
            bare = appends(folder / "bare", appended)
        ledger = written(folder / "large", entries)
        report = None

        def verify() -> None:
            nonlocal report
            report = verify_ledger(ledger.folder, state=folder / "large" / "state")

        verified = timed(verify)
        assert report is not None and report.findings == () and report.size == entries
        opened = timed(lambda: Ledger.open(ledger.folder, state=folder / "large" / "state"))
        return {
            "appends_per_s": {"durable": round(durable, 1), "without_waiting_for_the_disk": round(bare, 1)},
            "entries": entries,
            "verify_s": round(verified, 2),
            "open_s": round(opened, 2),
            "proof_ms": {name: round(each, 3) for name, each in proofs(ledger, times).items()},
            "trees": {name: round(each, 4) for name, each in beside(ledger, times).items()},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--appends", type=int, default=2_000)
    parser.add_argument("--proofs", type=int, default=200)
    parser.add_argument("--dry-run", action="store_true", help="do not write the result")
    given, _ = parser.parse_known_args()
    result = measure(given.entries, given.appends, given.proofs)
    print(result if given.dry_run else save("ledger", result))


if __name__ == "__main__":
    main()
