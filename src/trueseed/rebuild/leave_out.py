"""The step that takes recalled records out of an artifact. The rest goes on as it is, asked of nobody again.

    rest = leave_out(workspace, records, hits)

Only a recall of a part of a source is answered so: the label of a whole one stays on whatever came of the artifact. Its
configuration names the recalls by entry (`without`), by which the door and `verify` know that it ends their reach.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from trueseed.core.artifacts import MANIFEST, Artifact, Store
from trueseed.core.records import RECORDS_FILE, record_root
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry, Ledger
from trueseed.ledger.withdrawals import LEAVE_OUT, Recalls, Withdrawal, taken_out
from trueseed.rebuild.reached import Rows, gone_before, rows, trues
from trueseed.workspace import Step, Workspace

REJECTED_FILE = "rejected.parquet"
_NOT_ANY_MORE = ("kinds", "rungs", "left", "without")  # of its meta: what was asked, and what the door adds anew


def split(workspace: Workspace, records: Artifact, recalls: Sequence[Withdrawal]) -> list[Rows]:
    """The rows of an artifact, file by file, and which of them go."""
    return rows(records, recalls, gone_before(records, recalls, workspace.lineage(), workspace.store))


def remaining(found: Iterable[Rows]) -> int:
    """How many records are left when the others went."""
    return sum(each.table.num_rows - trues(each.mask) for each in found if each.path.name == RECORDS_FILE)


def leave_out(workspace: Workspace, records: Artifact, recalls: Sequence[Withdrawal]) -> Artifact:
    """The artifact without what these recalls reach. Raises `Refused` when another one reaches it."""
    config = {"without": sorted(each.index for each in recalls)}
    with workspace.step(LEAVE_OUT, inputs=[records], config=config) as step:
        return step.earlier("records") or _write(records, split(workspace, records, recalls), step)


def _write(records: Artifact, found: Sequence[Rows], step: Step) -> Artifact:
    step.read(records)
    kept = {each.path.name: each.table["id"].filter(pc.invert(each.mask)).to_pylist() for each in found}
    gone = sum(trues(each.mask) for each in found if each.path.name == RECORDS_FILE)
    step.count("kept", len(kept[RECORDS_FILE]))
    step.count("left_out", gone)
    meta = {name: said for name, said in records.meta.items() if name not in _NOT_ANY_MORE}
    meta |= {"records": len(kept[RECORDS_FILE]), "record_root": record_root(kept[RECORDS_FILE])}
    if REJECTED_FILE in kept:
        meta["rejected"] = len(kept[REJECTED_FILE])
    meta["left"] = f"{gone} of its records were recalled"

    def fill(folder: Path) -> None:
        for each in found:
            pq.write_table(pq.read_table(each.path).filter(pc.invert(each.mask)), folder / each.path.name)

    return step.write("records", fill, meta)


def faults(ledger: Ledger, lineage: Lineage, store: Store) -> Iterator[str]:
    """One sentence for each artifact that a step made to leave recalled records out, and that holds some. What is not
    in the store any more is not read.
    """
    made = [
        (each, maker) for each in lineage.artifacts() for maker in lineage.makers(each.digest) if _leaves_out(maker)
    ]
    recalls = Recalls.read(ledger) if made else Recalls()
    known = recalls.standing | {index: released for index, (released, _) in recalls.released.items()}
    for each, maker in made:
        named = [known[index] for index in taken_out(maker.predicate) if index in known]
        if not named or not (store.folder / each.kind / each.digest).is_dir():
            continue
        artifact = store.get(f"{each.kind}:{each.digest}")
        gone = gone_before(artifact, named, lineage, store)
        if not (artifact.folder / RECORDS_FILE).is_file() or set(artifact.folder.iterdir()) - _known(artifact.folder):
            yield f"entry {maker.index} left out what was recalled, and {artifact} holds more than records to look at"
        if left := sum(trues(found.mask) for found in rows(artifact, named, gone)):
            yield f"entry {maker.index} left out what was recalled, and {artifact} holds {left} such records"


def _known(folder: Path) -> set[Path]:
    return {folder / name for name in (RECORDS_FILE, REJECTED_FILE, MANIFEST)}


def _leaves_out(maker: Entry) -> bool:
    return bool(maker.predicate["step"] == LEAVE_OUT)
