"""What is known of a student, from the ledger, the terms and the scores. Nothing here is typed by hand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trueseed.core.artifacts import Artifact, check
from trueseed.core.canonical import now
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry
from trueseed.papers import corpus
from trueseed.papers.corpus import Corpus
from trueseed.terms.model import Document, Effect, Label, Obligation, Relation, Use
from trueseed.terms.rules import Verdict, judge_use, may_flow
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """values: by side (`student`; `teacher`, or `base` where nobody taught it, and `difference`, where they may be
    published), by set: value, low, high, n.
    artifact: where they are kept. withheld: why the teacher's are not among them; '' when they are.
    """

    artifact: str
    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    withheld: str = ""


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """verdicts: on publishing it, one for each label. upstream: what each source is declared to have learned from.
    training: configuration and counts of the step that made it. corpora: the datasets that it learned from. at: when
    all of this was read, RFC 3339.
    """

    name: str
    project: str
    student: Artifact
    labels: tuple[Label, ...]
    documents: Mapping[str, Document]  # by terms digest
    verdicts: tuple[Verdict, ...]
    upstream: Mapping[str, tuple[str, ...]]
    base: tuple[str, ...]
    corpora: tuple[Corpus, ...]
    training: Mapping[str, Any]
    scores: Scores | None
    ledger: Mapping[str, Any]
    at: str

    @property
    def today(self) -> str:
        return self.at[:10]

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        return tuple(sorted({duty for verdict in self.verdicts for duty in verdict.obligations}))

    @property
    def teachers(self) -> tuple[str, ...]:
        """Models whose words it learned from."""
        return tuple(sorted({x.source for x in self.labels if x.relation is Relation.OUTPUT and is_model(x.source)}))

    @property
    def identity_filter(self) -> bool:
        return any(bool(a.meta.get("identity_filter")) for a in (self.student, *(c.dataset for c in self.corpora)))

    @property
    def redacted(self) -> bool:
        return any(bool(a.meta.get("redacted")) for a in (self.student, *(c.dataset for c in self.corpora)))

    @property
    def refusals(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if not verdict.permitted)


def of(workspace: Workspace, student: Artifact, name: str) -> Dossier:
    """Raises `Broken` when the student, or the scores it is described by, are not what the ledger says."""
    lineage = Lineage.read(workspace.ledger)
    labels = tuple(sorted(workspace.labels(student)))
    maker = lineage.maker(student.digest)
    said = maker.predicate if maker else {}
    ledger = workspace.ledger
    return Dossier(
        name=name,
        project=workspace.project,
        student=student,
        labels=labels,
        documents={x.terms: d for x in labels if (d := workspace.catalog.by_digest(x.terms))},
        verdicts=may_flow(labels, workspace.catalog, Effect.PUBLISH, workspace.facts),
        upstream={s: told for s in sorted({x.source for x in labels}) if (told := workspace.catalog.upstream(s))},
        base=tuple(sorted({x.source for x in labels if x.relation is Relation.WEIGHTS})),
        corpora=tuple(
            corpus.count(dataset, (x.source for x in workspace.labels(dataset) if x.relation is Relation.OUTPUT))
            for dataset in learned_from(workspace, student)
        ),
        training={key: said.get(key, {}) for key in ("config", "counts", "cost", "at")},
        scores=_scores(workspace, student, lineage),
        ledger={"origin": ledger.origin, "entries": ledger.size, "root": ledger.root_hex},
        at=now(),
    )


def learned_from(workspace: Workspace, student: Artifact) -> tuple[Artifact, ...]:
    """The datasets, nearest first, those of a student it grew from included."""
    lineage = Lineage.read(workspace.ledger)
    datasets = {made.digest for made in lineage.artifacts() if made.kind == "dataset"}
    upstream = lineage.upstream(student.digest, roles={"input"})
    return tuple(workspace.store.get(f"dataset:{digest}") for digest in upstream if digest in datasets)


def _scores(workspace: Workspace, student: Artifact, lineage: Lineage) -> Scores | None:
    """The newest comparison that measured this very student."""
    measured = [
        maker
        for made in lineage.artifacts()
        if made.kind == "scores" and (maker := lineage.maker(made.digest)) and _is_of(maker, student)
    ]
    if not measured:
        return None
    out = max(measured, key=lambda entry: entry.index).predicate["outputs"][0]
    artifact = workspace.store.get(f"{out['kind']}:{out['digest']}")
    check(artifact)
    found = json.loads(artifact.path("scores.json").read_bytes())
    withheld = _withheld(workspace, artifact)
    sides = ("student",) if withheld else ("teacher", "student", "difference")
    beside = str(found.get("beside", "teacher"))  # its own base, where nobody taught it
    values = {beside if side == "teacher" else side: found[side] for side in sides}
    return Scores(artifact=str(artifact.kind) + ":" + artifact.digest, values=values, withheld=withheld)


def _is_of(maker: Entry, student: Artifact) -> bool:
    said = maker.predicate
    return said["step"] == "evaluate" and any(each["digest"] == student.digest for each in said["inputs"])


def _withheld(workspace: Workspace, scores: Artifact) -> str:
    """Why the teacher's own numbers may not be made public: they are a benchmark of it."""
    today, facts = datetime.now(UTC).date(), workspace.facts
    for label in sorted(workspace.labels(scores)):
        if label.relation is Relation.SCORE and is_model(label.source):
            document = workspace.catalog.governing(label.source, today)
            verdict = judge_use(label.source, document, Use.PUBLISH_BENCHMARK, label.relation, facts, today)
            if not verdict.permitted:
                return str(verdict)
    return ""


def is_model(source: str) -> bool:
    return "@" in source
