"""Other people's datasets become records: under the origin that was declared for them, or not at all.

    brought = bring(workspace, Config(file="alpaca.jsonl", source="own/cook"))

A dataset is taken whole. Rows that cannot be read stop it (`ConfigError`), and so do rows that are known, or say, to be
of another origin (`Refused`, with examples), unless the import is told to inherit: then it carries, beside the declared
label, every label of what it was recognised as, and its records say whose they are. What there is to see before is in
`look`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.core.records import RECORDS_FILE, Origin, Record, record_root, write_parquet
from trueseed.exchange.look import Config, Looked, Taken, look
from trueseed.terms.catalog import keep
from trueseed.terms.model import Effect, Label, Relation
from trueseed.terms.rules import Verdict, may_flow
from trueseed.workspace import KEPT, Step, Workspace

__all__ = ["Brought", "Config", "bring"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """labels: of the records. inherited: those among them that were not declared. verdicts: whether they may be trained
    on. contradictions: what was looked for, and how often it was found. left_out: splits that were not taken.
    """

    records: Artifact
    labels: tuple[Label, ...]
    inherited: tuple[Label, ...]
    verdicts: tuple[Verdict, ...]
    contradictions: dict[str, int]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "records": f"{self.records.kind}:{self.records.digest}",
            "count": self.records.meta["records"],
            "labels": [label.to_json() for label in self.labels],
            "inherited": [label.to_json() for label in self.inherited],
            "train": [verdict.to_json() for verdict in self.verdicts],
            "contradictions": self.contradictions,
            "left_out": list(self.left_out),
        }


def bring(workspace: Workspace, config: Config) -> Brought:
    """Imports a dataset. Raises `ConfigError` naming the rows that are wrong, `Refused` when the declared source has no
    terms, or when rows contradict it and are not to be inherited.
    """
    looked = look(config, workspace.catalog, workspace)
    _keep_documents(looked, workspace)
    inherited = looked.inherited
    held = {a.digest: a for row in looked.rows for f in row.findings for a in f.held if _is_here(a, workspace)}
    said = {"digest": looked.digest, "source": config.source, "inherit": config.inherit}
    with workspace.step(
        "import",
        inputs=[held[each] for each in sorted(held)] if inherited else [],
        brings={config.source: Relation.OUTPUT},
        carries=inherited,
        config={**said, "terms": looked.document.digest},
    ) as step:
        looked.must_agree()
        records = step.earlier("records") or _write(looked, step)
    labels = tuple(sorted(workspace.labels(records)))
    return Brought(
        records=records,
        labels=labels,
        inherited=tuple(label for label in labels if label.source != config.source),
        verdicts=may_flow(labels, workspace.catalog, Effect.TRAIN, workspace.facts, datetime.now(UTC).date()),
        contradictions={str(kind): n for kind, n in looked.counted.items()},
        left_out=looked.left_out,
    )


def _keep_documents(looked: Looked, workspace: Workspace) -> None:
    """What a label of another workspace means is kept here as well."""
    for document in looked.documents:
        keep(document, workspace.folder / KEPT)
    if looked.documents:
        workspace.read_terms()


def _is_here(artifact: Artifact, workspace: Workspace) -> bool:
    return artifact.folder.is_relative_to(workspace.store.folder)


def _write(looked: Looked, step: Step) -> Artifact:
    rows, config = looked.rows, looked.config
    own = step.origin(source=config.source)
    records = [_record(row, number, config.source, own, step) for number, row in enumerate(rows, start=1)]
    step.count("imported", len(records))
    for kind, n in looked.counted.items():
        step.count(f"contradicts:{kind}", n)
    meta = {"records": len(records), "record_root": record_root(each.id for each in records), "imported": True}
    meta |= dict.fromkeys(looked.flags, True)

    def fill(folder: Path) -> None:
        write_parquet(records, folder / RECORDS_FILE)

    return step.write("records", fill, meta)


def _record(row: Taken, number: int, declared: str, own: Origin, step: Step) -> Record:
    asked = next(message.content for message in row.messages if message.role == "user")
    task = {"prompt": asked, "row": number}
    return Record(messages=row.messages, origin=_origin(row, declared, own, step), task=task)


def _origin(row: Taken, declared: str, own: Origin, step: Step) -> Origin:
    for finding in row.findings:
        if any(label.source != declared for label in finding.labels):
            mark = finding.mark
            earlier = replace(own, source=mark.source, terms=mark.terms, asked_at=now())
            return step.handed_on(earlier, mark.record if mark.held else "")
    for claim in row.reported:
        return step.handed_on(replace(own, source=claim.source, terms=""), "")
    return own
