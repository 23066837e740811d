"""Records for other tools: JSON lines that TRL, axolotl and LLaMA-Factory read, each with where it comes from.

    {"messages": [{"role", "content"}, …], "trueseed": {"record", "artifact", "source", "terms", "use", "log"}}

Where a model said a record anew, "made_of" names those whose words it was made of. They leave as training data, so the
terms are asked whether they may be trained on. What left is known again when it comes back, also without that column.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import sha256
from trueseed.core.durable import write_atomic
from trueseed.core.records import MADE_OF, PARTS, Record, read_parquet
from trueseed.errors import ConfigError
from trueseed.exchange.claims import OUR_COLUMN
from trueseed.ledger.lineage import Lineage
from trueseed.outgoing import TO, seen_from
from trueseed.terms.model import Effect
from trueseed.workspace import FLAGS, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """sha256: of the file."""

    file: Path
    records: int
    sha256: str
    sources: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "records": self.records,
            "sha256": self.sha256,
            "sources": list(self.sources),
        }


def listing(workspace: Workspace) -> list[dict[str, Any]]:
    """Every artifact that holds records and was made by a step here."""
    lineage = Lineage.read(workspace.ledger)
    return [
        {
            "artifact": f"{each.kind}:{each.digest}",
            "records": sum(pq.ParquetFile(each.path(f"{part}.parquet")).metadata.num_rows for part in PARTS[each.kind]),
            "sources": sorted({source for source, _, _ in lineage.labels(each.digest)}),
            **{flag: True for flag in FLAGS if each.meta.get(flag)},
        }
        for each in workspace.store.all()
        if each.kind in PARTS and lineage.maker(each.digest) is not None
    ]


def hand_out(workspace: Workspace, artifact: Artifact, file: Path, *, part: str | None = None) -> HandedOut:
    """Writes the records of a `records` or `dataset` artifact (of a dataset, `part` or all that is kept).

    Raises `Refused` when they may not be trained on, `ConfigError` for an artifact that holds none or a file that is
    there already.
    """
    if artifact.kind not in PARTS:
        raise ConfigError(f"{artifact} holds no records; `trueseed records list` names those that do")
    if file.exists():
        raise ConfigError(f"{file} is there already; name another file, or remove it")
    if part and part not in PARTS[artifact.kind]:
        raise ConfigError(f"{artifact} has no part {part!r}; it has {', '.join(PARTS[artifact.kind])}")
    parts = (part,) if part else PARTS[artifact.kind]
    config = {"parts": list(parts), TO: seen_from(workspace.folder, file)}
    with workspace.step("export", inputs=[artifact], effect=Effect.TRAIN, config=config) as step:
        folder = step.read(artifact)
        rows = list(_rows(folder, parts, artifact, workspace.ledger.origin))
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        hashed = sha256(text)
        said = {"sha256": hashed, "records": len(rows), "form": "messages"}
        if step.earlier("report") is None:
            step.count("exported", len(rows))
            step.hands_out({file.name: hashed})
            step.write("report", _note(said), said)
        sources = tuple(sorted({label.source for label in workspace.labels(artifact)}))
    try:
        write_atomic(file, text)
    except FileNotFoundError as err:
        raise ConfigError(f"{file} cannot be written: {err.strerror}; name another file") from err
    return HandedOut(file=file, records=len(rows), sha256=hashed, sources=sources)


def _note(said: dict[str, Any]) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "export.json").write_text(json.dumps(said))

    return fill


def _rows(folder: Path, parts: tuple[str, ...], artifact: Artifact, log: str) -> Iterator[dict[str, Any]]:
    for part in parts:
        for record in read_parquet(folder / f"{part}.parquet"):
            origin = record.origin
            yield {
                "messages": [message.to_json() for message in record.messages],
                OUR_COLUMN: {
                    "record": record.id,
                    "artifact": f"{artifact.kind}:{artifact.digest}",
                    "source": origin.source,
                    "terms": origin.terms,
                    "use": origin.use,
                    "log": log,
                    **_made_of(record),
                },
            }


def _made_of(record: Record) -> dict[str, list[str]]:
    before = [str(each["source"]) for each in record.task.get(MADE_OF, ())]
    return {MADE_OF: list(dict.fromkeys(before))} if before else {}
