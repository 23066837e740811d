"""The unit that flows: a chat, where it came from, and what it was asked to satisfy.

A record's id is the SHA-256 of its canonical content (messages, origin, task), so the same words from another teacher,
or asked under other terms, are another record. Scores are measured afterwards and are not part of the id.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from trueseed.core.canonical import canonical, digest
from trueseed.core.chat import Message
from trueseed.core.merkle import leaf_hash, root

if TYPE_CHECKING:
    import pyarrow as pa

OriginKind = Literal["teacher", "human", "dataset", "transform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a record came from. Minted by an open step only (`Step.origin`).

    source: `maker/model@route`, or `own/<name>` for a person's own work. terms: digest of the terms document in force
    when it was asked. asked_at: RFC 3339, UTC. request: digest of the request as sent. parents: ids of the records it
    was made from. asked_for, asked_by: the use for which, and the project by which, an answer from the cache was asked,
    when that was another. asked_in: the name of the ledger under which it was asked, when it was imported from another.
    """

    kind: OriginKind
    source: str
    project: str
    use: str
    terms: str
    asked_at: str
    request: str = ""
    parents: tuple[str, ...] = ()
    asked_for: str = ""
    asked_in: str = ""
    asked_by: str = ""

    def to_json(self) -> dict[str, Any]:
        elsewhere = {"asked_for": self.asked_for, "asked_in": self.asked_in, "asked_by": self.asked_by}
        return {
            "kind": self.kind,
            "source": self.source,
            "project": self.project,
            "use": self.use,
            "terms": self.terms,
            "asked_at": self.asked_at,
            "request": self.request,
            "parents": list(self.parents),
            **{name: said for name, said in elsewhere.items() if said},  # absent from most, and from their ids
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Origin":
        given = {name: said for name, said in value.items() if said is not None}
        return cls(**{**given, "parents": tuple(value["parents"])})


@dataclass(frozen=True, kw_only=True)
class Record:
    """messages: the chat, the assistant's answer last. task: what the recipe asked for, as plain JSON (for example
    `{"prompt": …, "constraints": […]}`); scores: measured afterwards, by name.
    """

    messages: tuple[Message, ...]
    origin: Origin
    task: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        return digest(self._content())

    @property
    def answer(self) -> str:
        return self.messages[-1].content

    def _content(self) -> dict[str, Any]:
        return {
            "messages": [message.to_json() for message in self.messages],
            "origin": self.origin.to_json(),
            "task": dict(self.task),
        }

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, **self._content(), "scores": dict(self.scores)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Record":
        return cls(
            messages=tuple(Message.from_json(message) for message in value["messages"]),
            origin=Origin.from_json(value["origin"]),
            task=value["task"],
            scores=value.get("scores", {}),
        )


RECORDS_FILE = "records.parquet"  # in a records artifact
MADE_OF = "made_of"  # in a task: source and terms of what a record was made of by a model, the oldest first
PARTS = {"records": ("records",), "dataset": ("train", "validation")}  # by kind of artifact: its files of records


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Records of one source under one text. example: the id of the first."""

    count: int
    of: int
    example: str

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "of": self.of, "example": self.example}

    def __str__(self) -> str:
        return f"{self.count:,} of {self.of:,} records, for example {self.example[:12]}"


def shares(path: Path) -> dict[tuple[str, str], Share]:
    """How many records of a file came from each source and terms digest; only these columns are read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    read = pq.ParquetFile(path).read(columns=["id", "origin.source", "origin.terms"])
    keys = {name: pc.struct_field(read["origin"], name) for name in ("source", "terms")}
    table = pa.table({"id": read["id"], **keys})
    counted = table.group_by(list(keys), use_threads=False).aggregate([("id", "count"), ("id", "first")])
    return {
        (row["source"], row["terms"]): Share(count=row["id_count"], of=table.num_rows, example=row["id_first"])
        for row in counted.to_pylist()
    }


@cache
def schema() -> "pa.Schema":
    """Of a file of records. Arrow is imported with the first file, as most commands only pass records on."""
    import pyarrow as pa

    text = pa.string()
    named = ("kind", "source", "project", "use", "terms", "asked_at", "request")
    elsewhere = ("asked_for", "asked_in", "asked_by")
    origin = [*((name, text) for name in named), ("parents", pa.list_(text)), *((name, text) for name in elsewhere)]
    return pa.schema(
        [
            ("id", text),
            ("messages", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("origin", pa.struct(origin)),
            ("task", text),  # canonical JSON: recipes differ in what they ask
            ("scores", pa.map_(text, pa.float64())),
        ]
    )


def write_parquet(records: Iterable[Record], path: Path) -> int:
    """Writes records in the given order; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{**record.to_json(), "task": canonical(dict(record.task)).decode()} for record in records]
    for row in rows:
        row["scores"] = list(row["scores"].items())
    pq.write_table(pa.Table.from_pylist(rows, schema=schema()), path)
    return len(rows)


def read_parquet(path: Path | BinaryIO) -> Iterator[Record]:
    """Reads records back in order. Raises `OSError` or `pyarrow.ArrowInvalid` for a file that is not ours."""
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            yield Record.from_json({**row, "task": json.loads(row["task"]), "scores": dict(row["scores"] or ())})


def record_root(ids: Iterable[str]) -> str:
    """Merkle root (RFC 6962) over record ids, each leaf the 64 characters of the id in ASCII, in stored order."""
    return root([leaf_hash(identity.encode()) for identity in ids]).hex()
