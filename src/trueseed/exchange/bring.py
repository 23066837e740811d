"""Other people's datasets become records: under the origin that was declared for them, or not at all.

    brought = bring(workspace, Config(file="alpaca.jsonl", source="own/cook"))

A dataset is taken whole. Rows that cannot be read stop it (`ConfigError`), and so do rows that are known, or say, to be
of another origin (`Refused`, with examples), unless the import is told to inherit: then it carries, beside the declared
label, every label of what it was recognised as, and its records say whose they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.core.chat import Message
from trueseed.core.records import Origin, Record, record_root, write_parquet
from trueseed.core.settings import Settings
from trueseed.errors import ConfigError, Refused
from trueseed.exchange import foreign
from trueseed.exchange.claims import OUR_COLUMN, claims
from trueseed.exchange.known import Finding, Known
from trueseed.exchange.shapes import chat
from trueseed.terms.catalog import keep
from trueseed.terms.model import Effect, Label, Relation, Use, parse_source
from trueseed.terms.rules import Verdict, may_flow, not_established
from trueseed.workspace import KEPT, Step, Workspace

SHOWN = 10  # rows that an error names
RECORDS_FILE = "records.parquet"


class Config(Settings):
    """file: a file or a folder. source: where it comes from, `maker/model@route`, or `own/<name>` for what a person of
    yours wrote. split: of a folder that holds several. inherit: take over the labels of what is recognised.
    """

    file: str
    source: str
    split: str | None = None
    inherit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A row that was read. findings: what it was recognised as; reported: sources that it names itself, with the words
    that do.
    """

    place: str
    messages: tuple[Message, ...]
    findings: tuple[Finding, ...]
    reported: tuple[tuple[str, str], ...]

    def against(self, declared: str) -> Iterator[str]:
        """What contradicts the declared source, in words."""
        for finding in self.findings:
            others = sorted({label.source for label in finding.labels} - {declared})
            if others:
                yield f"{self.place}: {finding.words}, which carries {', '.join(map(repr, others))}"
        for _, words in self.reported:
            yield f"{self.place}: {words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """labels: of the records. inherited: those among them that were not declared. verdicts: whether they may be trained
    on. left_out: splits that were not taken.
    """

    records: Artifact
    labels: tuple[Label, ...]
    inherited: tuple[Label, ...]
    verdicts: tuple[Verdict, ...]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "records": f"{self.records.kind}:{self.records.digest}",
            "count": self.records.meta["records"],
            "labels": [label.to_json() for label in self.labels],
            "inherited": [label.to_json() for label in self.inherited],
            "train": [verdict.to_json() for verdict in self.verdicts],
            "left_out": list(self.left_out),
        }


def bring(workspace: Workspace, config: Config) -> Brought:
    """Imports a dataset. Raises `ConfigError` naming the rows that are wrong, `Refused` when the declared source has no
    terms, or when rows contradict it and are not to be inherited.
    """
    parse_source(config.source)
    document = workspace.catalog.governing(config.source, datetime.now(UTC).date())
    if document is None:
        raise Refused(f"nothing was imported: {not_established(config.source, Use.TRAIN)}")
    found = foreign.find(Path(config.file), config.split)
    digest = found.digest
    with Known(workspace, digest, config.source) as known:
        rows = _read(found, config.source, known)
        _keep_documents(known, rows, workspace)
    contradictions = [words for row in rows for words in row.against(config.source)]
    inherited = _inherited(rows, config.source) if config.inherit else frozenset()
    held = {a.digest: a for row in rows for f in row.findings for a in f.held if _is_here(a, workspace)}
    with workspace.step(
        "import",
        inputs=[held[each] for each in sorted(held)] if inherited else [],
        brings={config.source: Relation.OUTPUT},
        carries=inherited,
        config={"digest": digest, "source": config.source, "inherit": config.inherit, "terms": document.digest},
    ) as step:
        if contradictions and not config.inherit:
            raise Refused(_told(contradictions, config))
        records = step.earlier("records") or _write(rows, config, step)
    labels = tuple(sorted(workspace.labels(records)))
    declared = {label for label in labels if label.source == config.source}
    return Brought(
        records=records,
        labels=labels,
        inherited=tuple(label for label in labels if label not in declared),
        verdicts=may_flow(labels, workspace.catalog, Effect.TRAIN, workspace.facts, datetime.now(UTC).date()),
        left_out=found.left_out,
    )


def _read(found: foreign.Foreign, source: str, known: Known) -> list[Taken]:
    rows: list[Taken] = []
    wrong: list[str] = []
    for row in found.rows():
        try:
            if row.fault:
                raise ValueError(row.fault)
            messages = chat(row.value)
        except ValueError as err:
            wrong.append(f"{row.place}: {err}")
            continue
        findings = known.find(messages)
        told = {name: said for name, said in row.value.items() if not findings or name != OUR_COLUMN}
        reported = claims(told, () if findings else messages, source)  # what we know comes before what is said
        said = tuple((claim.source, claim.words) for claim in reported)
        rows.append(Taken(place=row.place, messages=messages, findings=tuple(findings), reported=said))
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ConfigError(f"{found.root}: {'; '.join(wrong[:SHOWN])}{more}. Nothing was imported")
    if not rows:
        raise ConfigError(f"there are no rows in {', '.join(map(str, found.files))}. Nothing was imported")
    return rows


def _told(contradictions: Sequence[str], config: Config) -> str:
    more = f" (and {len(contradictions) - SHOWN} more)" if len(contradictions) > SHOWN else ""
    shown = "; ".join(contradictions[:SHOWN])
    return (
        f"{config.file!r} is said to come from {config.source!r}, and says otherwise: {shown}{more}. Nothing "
        f"was imported. Take those rows out, declare where they come from, or import with `inherit` (--inherit): then "
        f"the records carry the labels of what they were made of"
    )


def _inherited(rows: Sequence[Taken], source: str) -> frozenset[Label]:
    labels = {label for row in rows for finding in row.findings for label in finding.labels}
    labels |= {Label(source=name, relation=Relation.OUTPUT, terms="") for row in rows for name, _ in row.reported}
    return frozenset(labels) if any(label.source != source for label in labels) else frozenset()


def _keep_documents(known: Known, rows: Sequence[Taken], workspace: Workspace) -> None:
    """What a label of another workspace means is read there, so its terms documents are kept here as well."""
    wanted = {label.terms for row in rows for finding in row.findings for label in finding.labels}
    missing = {terms for terms in wanted if terms and workspace.catalog.by_digest(terms) is None}
    for other in known.document_folders():
        for terms in sorted(missing):
            if document := other.catalog.by_digest(terms):
                keep(document, workspace.folder / KEPT)
    if missing:
        workspace.read_terms()


def _is_here(artifact: Artifact, workspace: Workspace) -> bool:
    return artifact.folder.is_relative_to(workspace.store.folder)


def _write(rows: Sequence[Taken], config: Config, step: Step) -> Artifact:
    own = step.origin(source=config.source)
    records = [_record(row, number, config.source, own, step) for number, row in enumerate(rows, start=1)]
    flags = {flag: True for row in rows for finding in row.findings for flag in finding.flags if config.inherit}
    step.count("imported", len(records))
    step.count("recognised", sum(1 for row in rows if any(row.against(config.source))))
    meta = {"records": len(records), "record_root": record_root(each.id for each in records), "imported": True, **flags}

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
    for source, _ in row.reported:
        return step.handed_on(replace(own, source=source, terms=""), "")
    return own
