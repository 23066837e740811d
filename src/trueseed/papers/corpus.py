"""What a dataset holds, counted off its records: who wrote how many, when, for what use and under which terms."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trueseed.core.artifacts import MANIFEST, Artifact, check

SIDES = ("train", "validation")
_KEYS = ("kind", "source", "use", "terms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Records of one side with the same origin. kind: as in `Origin`. first, last: when they were asked, RFC 3339."""

    side: str
    kind: str
    source: str
    use: str
    terms: str
    records: int
    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """files: SHA-256 and size in bytes by name, of the sides that were learned from or validated with. words_of:
    sources whose words are in it, also where another model said them anew.
    """

    dataset: Artifact
    files: dict[str, tuple[str, int]]
    shares: tuple[Share, ...]
    words_of: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Models whose words are in it."""
        wrote = {share.source for share in self.shares if share.kind in ("teacher", "transform")}
        return tuple(sorted(wrote | {source for source in self.words_of if "@" in source}))

    @property
    def first(self) -> str:
        return min((share.first for share in self.shares), default="")

    @property
    def last(self) -> str:
        return max((share.last for share in self.shares), default="")

    def records(self, side: str = "", *, kinds: tuple[str, ...] = ()) -> int:
        """How many; of one side, of some kinds, or of all."""
        return sum(s.records for s in self.shares if side in ("", s.side) and (not kinds or s.kind in kinds))


def count(dataset: Artifact, words_of: Iterable[str] = ()) -> Corpus:
    """Raises `Broken` when the dataset is not what its digest says."""
    check(dataset)
    manifest = json.loads(dataset.path(MANIFEST).read_bytes())
    names = [f"{side}.parquet" for side in SIDES]
    files = {each["path"]: (each["sha256"], each["size"]) for each in manifest["files"] if each["path"] in names}
    shares = [share for side in SIDES if f"{side}.parquet" in files for share in _shares(dataset, side)]
    return Corpus(dataset=dataset, files=files, shares=tuple(shares), words_of=tuple(sorted(set(words_of))))


def _shares(dataset: Artifact, side: str) -> list[Share]:
    table = pq.read_table(dataset.path(f"{side}.parquet"), columns=["origin"]).flatten()
    origins: Any = pa.table({name: table[f"origin.{name}"] for name in (*_KEYS, "asked_at")})
    found = origins.group_by(list(_KEYS)).aggregate([([], "count_all"), ("asked_at", "min"), ("asked_at", "max")])
    return [
        Share(
            side=side,
            records=row["count_all"],
            first=row["asked_at_min"],
            last=row["asked_at_max"],
            **{key: row[key] for key in _KEYS},
        )
        for row in found.sort_by([(key, "ascending") for key in _KEYS]).to_pylist()
    ]
