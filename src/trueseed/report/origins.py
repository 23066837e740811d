"""What else a dataset was made of than answers to its own prompts, read off the ledger: records of others, with what
was looked for against their declared origin, and records that a model said anew.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from trueseed.core.artifacts import Artifact
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry
from trueseed.terms.model import Effect
from trueseed.terms.rules import may_flow
from trueseed.workspace import Workspace

AGAINST = "contradicts:"  # as the step "import" counts
LOOKED_FOR = {
    "known": "texts that you hold of others",
    "column": "columns that name a generator",
    "identity": "answers in which a model speaks of itself",
}
FLAGS = {
    "identity_filter": "answers that name a model or its maker were taken out of the data, or lost it, as declared",
    "redacted": "personal data was replaced by pseudonyms",
}
EFFECTS = (Effect.TRAIN, Effect.SERVE, Effect.PUBLISH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One import. source: as it was declared. contradictions: what was looked for, and how often it was found.
    inherited: sources it carries beside the declared one. refused: by effect, why not; '' where it is permitted.
    """

    artifact: str
    source: str
    rows: int
    contradictions: Mapping[str, int] = field(default_factory=dict)
    inherited: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidAnew:
    """One step `rewrite` or `translate`. source: of the model that was asked. of: the artifact that it was given."""

    step: str
    source: str
    of: str
    accepted: int
    rejected: int


def imported(workspace: Workspace, dataset: Artifact) -> tuple[Imported, ...]:
    """Oldest first."""
    lineage = workspace.lineage()
    return tuple(_imported(workspace, entry, digest) for digest, entry in _made_by(("import",), dataset, lineage))


def said_anew(workspace: Workspace, dataset: Artifact) -> tuple[SaidAnew, ...]:
    """Oldest first."""
    found = []
    for _, entry in _made_by(("rewrite", "translate"), dataset, workspace.lineage()):
        said, counts = entry.predicate, entry.predicate["counts"]
        found.append(
            SaidAnew(
                step=said["step"],
                source=said["asks"][0]["source"],
                of="{kind}:{digest}".format(**said["inputs"][0]),
                accepted=counts.get("accepted", 0),
                rejected=sum(n for name, n in counts.items() if name.startswith("rejected:")),
            )
        )
    return tuple(found)


def _made_by(steps: tuple[str, ...], dataset: Artifact, lineage: Lineage) -> Iterator[tuple[str, Entry]]:
    upstream = lineage.upstream(dataset.digest, roles={"input"})
    makers = [(digest, maker) for digest in upstream if (maker := lineage.maker(digest))]
    yield from sorted(
        ((digest, maker) for digest, maker in makers if maker.predicate["step"] in steps),
        key=lambda each: each[1].index,
    )


def _imported(workspace: Workspace, entry: Entry, digest: str) -> Imported:
    said = entry.predicate
    artifact = workspace.store.get(f"records:{digest}")
    labels, facts = workspace.labels(artifact), workspace.facts
    source = str(said["config"]["source"])
    refused = {}
    for effect in EFFECTS:
        verdicts = may_flow(labels, workspace.catalog, effect, facts, datetime.now(UTC).date())
        refused[effect.value] = next((str(verdict) for verdict in verdicts if not verdict.permitted), "")
    counts = {name.removeprefix(AGAINST): n for name, n in said["counts"].items() if name.startswith(AGAINST)}
    return Imported(
        artifact=f"records:{digest}",
        source=source,
        rows=int(artifact.meta["records"]),
        contradictions=counts,
        inherited=tuple(sorted({label.source for label in labels} - {source})),
        refused=refused,
    )
