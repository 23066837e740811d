"""What would a rebuild without the recalled records cost? Counted record by record, and timed by what the steps took.

    plan = plan_rebuild(workspace, "openai/gpt-4@api", Part(use="train"))
    plan.records        # per artifact: how many records, and how many of them are reached
    plan.again          # the steps to run again, with the seconds that they took

A record is reached when its own origin is (`Withdrawal`), or when it was made from one that is (its `parents`).
Whatever is not known of an origin counts as reached. Columns are read, never whole records, so a
million are counted in seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trueseed.core.artifacts import Artifact
from trueseed.errors import Broken
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.withdrawals import Withdrawal
from trueseed.recall import WHOLE, Part, reach, withdrawal
from trueseed.workspace import Workspace

HOLD_RECORDS = frozenset({"records", "dataset"})  # kinds of artifacts
_COLUMNS = ["id", "origin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """reached: of its records, those that a rebuild leaves out. answers: of these, what a teacher said itself."""

    artifact: str
    records: int
    reached: int
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A step that a rebuild runs again. took_s: when it was run last. likely_s: the same for the share of its records
    that is left; None where the artifacts that it reads hold no records.
    """

    step: str
    made: str
    took_s: float
    likely_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """missing: answers to be asked of a source that may be asked, for as many records as before. reused: artifacts that
    stay as they are.
    """

    source: str
    records: tuple[Counted, ...]
    again: tuple[Again, ...]
    missing: int
    reused: tuple[str, ...]

    @property
    def took_s(self) -> float:
        return sum(each.took_s for each in self.again)

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "records": [asdict(each) for each in self.records],
            "again": [asdict(each) for each in self.again],
            "missing": self.missing,
            "took_s": round(self.took_s, 3),
            "reused": list(self.reused),
        }


def plan_rebuild(workspace: Workspace, source: str, part: Part = WHOLE) -> Rebuild:
    """Raises as `recall.reach`, and `Broken` when a file of records cannot be read."""
    reached, made = reach(workspace, source, part), withdrawal(workspace, source, "", part)
    lineage = Lineage.read(workspace.ledger)
    order = {each.digest: place for place, each in enumerate(lineage.artifacts())}
    touched = sorted(reached.touched, key=lambda artifact: order[artifact.digest])
    counted = _count([artifact for artifact in touched if artifact.kind in HOLD_RECORDS], made)
    return Rebuild(
        source=source,
        records=tuple(counted.values()),
        again=tuple(_again(touched, lineage, counted)),
        missing=sum(counted[a.digest].answers for a in touched if a.kind == "records"),
        reused=tuple(str(artifact) for artifact in reached.stands),
    )


def _count(artifacts: list[Artifact], made: Withdrawal) -> dict[str, Counted]:
    """By digest. artifacts: what was made first comes first, so that parents are known before what is made of them."""
    gone = pa.array([], pa.string())
    counted = {}
    for artifact in artifacts:
        records = reached = answers = 0
        for path in sorted(artifact.folder.glob("*.parquet")):
            table = _read(path)
            mask = _reached(table, made, gone)
            records, reached = records + table.num_rows, reached + _trues(mask)
            is_answer = pc.equal(pc.struct_field(table["origin"], "kind"), "teacher")
            answers += _trues(pc.and_(mask, is_answer))
            gone = pa.concat_arrays([gone, table["id"].filter(mask).combine_chunks()])
        counted[artifact.digest] = Counted(artifact=str(artifact), records=records, reached=reached, answers=answers)
    return counted


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, columns=_COLUMNS)
    except (OSError, pa.ArrowInvalid) as err:
        raise Broken(f"{path} cannot be read as records ({err}); `trueseed verify` tells more") from err


def _reached(table: pa.Table, made: Withdrawal, gone: pa.Array) -> pa.ChunkedArray:
    """Which rows are reached, by their own origin or by a parent's, however far back in this file or before it."""
    origin = {name: pc.struct_field(table["origin"], name) for name in _said(table)}
    mask = _by_origin(origin, made)
    children = pc.list_value_length(origin["parents"])
    if not pc.any(pc.greater(pc.fill_null(children, 0), 0)).as_py():
        return mask
    child, parent = pc.list_parent_indices(origin["parents"]), pc.list_flatten(origin["parents"])
    found = -1
    while found != (found := _trues(mask)):
        known = pa.concat_arrays([gone, table["id"].filter(mask).combine_chunks()])
        rows = child.filter(pc.is_in(parent, value_set=known)).combine_chunks()
        below = pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=rows.cast(pa.int64()))
        mask = pc.or_(mask, pa.chunked_array([below]))
    return mask


def _by_origin(origin: Mapping[str, pa.ChunkedArray], made: Withdrawal) -> pa.ChunkedArray:
    """As `Withdrawal.reaches`, over columns."""
    mask = pc.equal(origin["source"], made.source)
    if made.terms:
        mask = pc.and_(mask, pc.is_in(origin["terms"], value_set=pa.array(made.terms)))
    for wanted, names in ((made.use, ("use", "asked_for")), (made.project, ("project", "asked_by"))):
        if wanted:
            either = [
                pc.fill_null(pc.equal(origin[name], wanted), fill_value=False) for name in names if name in origin
            ]
            mask = pc.and_(mask, either[0] if len(either) == 1 else pc.or_(*either))
    unknown = pc.equal(origin["asked_at"], "")
    if made.since:
        mask = pc.and_(mask, pc.or_(unknown, pc.greater_equal(origin["asked_at"], made.since)))
    if made.until:
        mask = pc.and_(mask, pc.or_(unknown, pc.less(origin["asked_at"], made.until)))
    return pc.fill_null(mask, fill_value=True)


def _said(table: pa.Table) -> list[str]:
    """Members of an origin that this file has; an older one lacks the newest."""
    return [
        table.schema.field("origin").type.field(n).name for n in range(table.schema.field("origin").type.num_fields)
    ]


def _again(touched: list[Artifact], lineage: Lineage, counted: Mapping[str, Counted]) -> Iterator[Again]:
    """The steps that made what is touched, each once, in order. What was asked is not asked again, only left out."""
    seen: set[int] = set()
    for artifact in touched:
        maker = lineage.maker(artifact.digest)
        if maker is None or maker.index in seen or artifact.kind == "records":
            continue
        seen.add(maker.index)
        read = [counted[each["digest"]] for each in maker.predicate["inputs"] if each["digest"] in counted]
        all_records, left_out = sum(each.records for each in read), sum(each.reached for each in read)
        took = float(maker.predicate["cost"]["seconds"])
        likely = round(took * (1 - left_out / all_records), 3) if all_records else None
        yield Again(step=str(maker.predicate["step"]), made=str(artifact), took_s=took, likely_s=likely)


def _trues(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)
