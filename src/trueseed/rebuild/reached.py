"""Which rows of an artifact recalls reach: by their own origin, or because they were made from one that is.

Whatever is not known of an origin counts as reached. Columns are read, never whole records, so a million take seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trueseed.core.artifacts import Artifact, Store
from trueseed.errors import Broken
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.withdrawals import HOLD_RECORDS, Withdrawal

_COLUMNS = ["id", "origin"]
NONE_GONE = pa.array([], pa.string())


@dataclass(frozen=True, slots=True)
class Rows:
    """One file of an artifact: `id` and `origin` of each row, and a mask of those that are reached."""

    path: Path
    table: pa.Table
    mask: pa.ChunkedArray

    @property
    def ids(self) -> pa.Array:
        """Of the rows that are reached."""
        return self.table["id"].filter(self.mask).combine_chunks()


def rows(artifact: Artifact, recalls: Sequence[Withdrawal], gone: pa.Array, *, carried: bool = False) -> list[Rows]:
    """Every parquet file of an artifact. gone: ids that are reached elsewhere. carried: a whole source was recalled
    whose label the artifact carries, which nothing takes off, so all of it goes. Raises `Broken`.
    """
    paths = sorted(artifact.folder.glob("*.parquet"))
    tables = [_read(path) for path in paths]
    if not tables:
        return []
    whole = pa.concat_tables(tables)
    mask = pa.chunked_array([pa.repeat(True, whole.num_rows)]) if carried else _mask(whole, recalls, gone)
    found, first = [], 0
    for path, table in zip(paths, tables, strict=True):
        found.append(Rows(path, table, mask.slice(first, table.num_rows)))
        first += table.num_rows
    return found


def gone_before(artifact: Artifact, recalls: Sequence[Withdrawal], lineage: Lineage, store: Store) -> pa.Array:
    """Ids of what is reached in the artifacts that this one was made from, as far as they are still here."""
    above = set(lineage.upstream(artifact.digest, roles=("input",)))
    gone = NONE_GONE
    for made in lineage.artifacts():
        if made.digest in above and made.kind in HOLD_RECORDS and (store.folder / made.kind / made.digest).is_dir():
            held = store.get(f"{made.kind}:{made.digest}")
            gone = pa.concat_arrays([gone, *(each.ids for each in rows(held, recalls, gone))])
    return gone


def trues(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, columns=_COLUMNS)
    except (OSError, pa.ArrowInvalid) as err:
        raise Broken(f"{path} cannot be read as records ({err}); `trueseed verify` tells more") from err


def _mask(table: pa.Table, recalls: Sequence[Withdrawal], gone: pa.Array) -> pa.ChunkedArray:
    """By a row's own id or origin, or a parent's, however far back among these rows or before them."""
    origin = {name: pc.struct_field(table["origin"], name) for name in _said(table)}
    mask = reduce(pc.or_, (_by_origin(origin, each) for each in recalls), pc.is_in(table["id"], value_set=gone))
    children = pc.list_value_length(origin["parents"])
    if not pc.any(pc.greater(pc.fill_null(children, 0), 0)).as_py():
        return mask
    child, parent = pc.list_parent_indices(origin["parents"]), pc.list_flatten(origin["parents"])
    found = -1
    while found != (found := trues(mask)):
        known = pa.concat_arrays([gone, table["id"].filter(mask).combine_chunks()])
        below = child.filter(pc.is_in(parent, value_set=known)).combine_chunks()
        is_below = pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=below.cast(pa.int64()))
        mask = pc.or_(mask, pa.chunked_array([is_below]))
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


def _said(table: pa.Table) -> Iterator[str]:
    """Members of an origin that this file has; an older one lacks the newest."""
    origin = table.schema.field("origin").type
    yield from (origin.field(n).name for n in range(origin.num_fields))
