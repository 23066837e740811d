"""What is known of a student, from the ledger, the terms and the scores. Nothing here is typed by hand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from trueseed import learned
from trueseed.core.artifacts import Artifact, check
from trueseed.core.canonical import now
from trueseed.learned import Learned
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry
from trueseed.papers import corpus
from trueseed.papers.corpus import Corpus
from trueseed.terms.admission import measured
from trueseed.terms.model import Document, Effect, Label, Obligation, Relation, Use
from trueseed.terms.rules import Verdict, may_flow, may_put
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
    training: configuration and counts of the step that made it. learned: by which method, and why so. corpora: the
    datasets that it learned from. at: when all of this was read, RFC 3339.
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
    learned: Learned
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
        verdicts=may_flow(labels, workspace.catalog, Effect.PUBLISH, workspace.facts, _today()),
        upstream={s: told for s in sorted({x.source for x in labels}) if (told := workspace.catalog.upstream(s))},
        base=tuple(sorted({x.source for x in labels if x.relation is Relation.WEIGHTS})),
        corpora=tuple(
            corpus.count(dataset, (x.source for x in workspace.labels(dataset) if x.relation is Relation.OUTPUT))
            for dataset in learned_from(workspace, student)
        ),
        training={key: said.get(key, {}) for key in ("config", "counts", "cost", "at")},
        learned=learned.of(student, maker),
        scores=_scores(workspace, student),
        ledger={"origin": ledger.origin, "entries": ledger.size, "root": ledger.root_hex},
        at=now(),
    )


def learned_from(workspace: Workspace, student: Artifact) -> tuple[Artifact, ...]:
    """The datasets, nearest first, those of a student it grew from included."""
    lineage = Lineage.read(workspace.ledger)
    datasets = {made.digest for made in lineage.artifacts() if made.kind == "dataset"}
    upstream = lineage.upstream(student.digest, roles={"input"})
    return tuple(workspace.store.get(f"dataset:{digest}") for digest in upstream if digest in datasets)


def comparison(workspace: Workspace, student: Artifact) -> Artifact | None:
    """The newest scores that measured this very student. Raises `Broken` when they are not what the ledger says."""
    lineage = Lineage.read(workspace.ledger)
    found = [
        maker
        for made in lineage.artifacts()
        if made.kind == "scores" and (maker := lineage.maker(made.digest)) and _is_of(maker, student)
    ]
    if not found:
        return None
    out = max(found, key=lambda entry: entry.index).predicate["outputs"][0]
    artifact = workspace.store.get(f"{out['kind']}:{out['digest']}")
    check(artifact)
    return artifact


def withheld(workspace: Workspace, scores: Artifact) -> str:
    """Why the teacher's own numbers may not be made public, being a benchmark of it; '' when they may. By the terms
    under which it was measured.
    """
    labels, facts = measured(workspace.labels(scores)), workspace.facts
    verdicts = may_put(labels, workspace.catalog, Use.PUBLISH_BENCHMARK, facts, _today())
    return next((str(verdict) for verdict in verdicts if not verdict.permitted), "")


def _scores(workspace: Workspace, student: Artifact) -> Scores | None:
    artifact = comparison(workspace, student)
    if artifact is None:
        return None
    found = json.loads(artifact.path("scores.json").read_bytes())
    because = withheld(workspace, artifact)
    sides = ("student",) if because else ("teacher", "student", "difference")
    beside = str(found.get("beside", "teacher"))  # its own base, where nobody taught it
    values = {beside if side == "teacher" else side: found[side] for side in sides}
    return Scores(artifact=str(artifact.kind) + ":" + artifact.digest, values=values, withheld=because)


def _is_of(maker: Entry, student: Artifact) -> bool:
    said = maker.predicate
    return said["step"] == "evaluate" and any(each["digest"] == student.digest for each in said["inputs"])


def _today() -> date:
    return datetime.now(UTC).date()


def is_model(source: str) -> bool:
    return "@" in source
