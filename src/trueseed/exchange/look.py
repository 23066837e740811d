"""What is in other people's dataset, before it is taken in: its rows, and what contradicts the origin declared for it.

    looked = look(Config(file="alpaca.jsonl", source="own/cook"), workspace.catalog, workspace)
    looked.against       # Against(kind="column", words="line 3: column 'model' says 'gpt-4'"), …

Nothing is written but the index of what this user holds (`known`). `bring` goes on from here; `trueseed plan` and
`trueseed doctor` end here, with the same words.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueseed.core.chat import Message
from trueseed.core.settings import Settings
from trueseed.errors import ConfigError, Refused
from trueseed.exchange.claims import KINDS, OUR_COLUMN, Claim, Kind, claims
from trueseed.exchange.shapes import chat
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document, Effect, Facts, Label, Relation, Use, parse_source
from trueseed.terms.rules import Verdict, may_flow, not_established
from trueseed.workspace import Workspace

if TYPE_CHECKING:
    from trueseed.exchange.foreign import Foreign
    from trueseed.exchange.known import Finding, Known

SHOWN = 10  # rows that an error names
EFFECTS = (Effect.TRAIN, Effect.SERVE, Effect.PUBLISH)


class Config(Settings):
    """file: a file or a folder. source: where it comes from, `maker/model@route`, or `own/<name>` for what a person of
    yours wrote. split: of a folder that holds several. inherit: take over the labels of what is recognised.
    """

    file: str
    source: str
    split: str | None = None
    inherit: bool = False


@dataclass(frozen=True, slots=True)
class Against:
    """One thing that contradicts the declared source. words: where and what, for people."""

    kind: Kind
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A row that was read. findings: what it was recognised as; reported: what it says of another origin itself."""

    place: str
    messages: tuple[Message, ...]
    findings: "tuple[Finding, ...]"
    reported: tuple[Claim, ...]

    def against(self, declared: str) -> Iterator[Against]:
        for finding in self.findings:
            others = sorted({label.source for label in finding.labels} - {declared})
            if others:
                carries = ", ".join(map(repr, others))
                yield Against("known", f"{self.place}: {finding.words}, which carries {carries}")
        for claim in self.reported:
            yield Against(claim.kind, f"{self.place}: {claim.words}")


@dataclass(frozen=True, kw_only=True)
class Looked:
    """digest: of the files. document: the terms of the declared source. documents: that labels name and this workspace
    does not have yet. left_out: splits that were not chosen.
    """

    config: Config
    digest: str
    rows: tuple[Taken, ...]
    document: Document
    documents: tuple[Document, ...]
    left_out: tuple[str, ...]

    @cached_property
    def against(self) -> tuple[Against, ...]:
        return tuple(each for row in self.rows for each in row.against(self.config.source))

    @property
    def counted(self) -> dict[Kind, int]:
        """What was looked for, and how often each was found."""
        found = Counter(each.kind for each in self.against)
        return {kind: found[kind] for kind in KINDS}

    @property
    def inherited(self) -> frozenset[Label]:
        """Labels beside the declared one; none where that is not asked for."""
        if not self.config.inherit:
            return frozenset()
        labels = {label for row in self.rows for finding in row.findings for label in finding.labels}
        said = {claim.source for row in self.rows for claim in row.reported}
        labels |= {Label(source=source, relation=Relation.OUTPUT, terms="") for source in said}
        return frozenset(labels) if any(label.source != self.config.source for label in labels) else frozenset()

    @property
    def flags(self) -> frozenset[str]:
        """What was taken out of that which is inherited, and so is said of the records too."""
        if not self.config.inherit:
            return frozenset()
        return frozenset(flag for row in self.rows for finding in row.findings for flag in finding.flags)

    @property
    def labels(self) -> frozenset[Label]:
        """Of the records that it becomes."""
        return self.inherited | {Label(self.config.source, Relation.OUTPUT, self.document.digest)}

    def verdicts(self, catalog: Catalog, facts: Facts) -> Mapping[Effect, tuple[Verdict, ...]]:
        """Whether a student may be trained on it, and then served and published."""
        known = replace(catalog, kept=(*catalog.kept, *self.documents))
        today = datetime.now(UTC).date()
        return {effect: may_flow(self.labels, known, effect, facts, today) for effect in EFFECTS}

    def must_agree(self) -> None:
        """Raises `Refused` with examples when rows contradict the declared source, and are not to be inherited."""
        if self.against and not self.config.inherit:
            shown = "; ".join(each.words for each in self.against[:SHOWN])
            more = f" (and {len(self.against) - SHOWN} more)" if len(self.against) > SHOWN else ""
            raise Refused(
                f"{self.config.file!r} is said to come from {self.config.source!r}, and says otherwise: {shown}{more}. "
                f"Nothing was imported. Take those rows out, declare where they come from, or import with `inherit` "
                f"(--inherit): then the records carry the labels of what they were made of"
            )


def look(config: Config, catalog: Catalog, workspace: Workspace | None) -> Looked:
    """workspace: where it is to be imported, if that is there already. Raises `ConfigError` naming the rows that are
    wrong, `Refused` when the declared source has no terms.
    """
    from trueseed.exchange import foreign  # Arrow and SQLAlchemy, which a run file is read without
    from trueseed.exchange.known import Known

    parse_source(config.source)
    document = catalog.governing(config.source, datetime.now(UTC).date())
    if document is None:
        raise Refused(f"nothing was imported: {not_established(config.source, Use.TRAIN)}")
    found = foreign.find(Path(config.file), config.split)
    digest = found.digest
    with Known(workspace, digest, config.source) as known:
        rows = tuple(_read(found, config.source, known))
        documents = tuple(_documents(known, rows, catalog))
    return Looked(
        config=config, digest=digest, rows=rows, document=document, documents=documents, left_out=found.left_out
    )


def _read(found: "Foreign", source: str, known: "Known") -> list[Taken]:
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
        told: dict[str, Any] = {name: said for name, said in row.value.items() if not findings or name != OUR_COLUMN}
        reported = claims(told, () if findings else messages, source)  # what we know comes before what is said
        rows.append(Taken(place=row.place, messages=messages, findings=tuple(findings), reported=tuple(reported)))
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        at = found.files[0] if len(found.files) == 1 else found.root
        raise ConfigError(
            f"{at}: {'; '.join(wrong[:SHOWN])}{more}. Nothing was imported; mend those rows or take them out"
        )
    if not rows:
        raise ConfigError(
            f"there are no rows in {', '.join(map(str, found.files))}. Nothing was imported; give a file that holds "
            f"some, one JSON object a line or one chat a row"
        )
    return rows


def _documents(known: "Known", rows: tuple[Taken, ...], catalog: Catalog) -> Iterator[Document]:
    """What a label of another workspace means is read there."""
    wanted = {label.terms for row in rows for finding in row.findings for label in finding.labels}
    for terms in sorted(terms for terms in wanted if terms and catalog.by_digest(terms) is None):
        there = (document for other in known.workspaces() if (document := other.catalog.by_digest(terms)))
        yield from [document] if (document := next(there, None)) else []
