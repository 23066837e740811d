"""Withdrawing a source after the fact: what it touched, what must stop, what a rebuild needs.

A recall appends one statement, signed by the reviewer. Every later door looks for it, and a running server looks again,
so nothing else has to be told.
"""

from dataclasses import dataclass
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import now
from trueseed.errors import ConfigError
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.statement import WITHDRAWAL, subject
from trueseed.teachers.answers import holdings
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a source reached. touched: artifacts whose labels name it; stops: those that may no longer be trained on,
    served or published; stands: the other artifacts, from which a rebuild starts.
    """

    source: str
    touched: tuple[Artifact, ...]
    stops: tuple[Artifact, ...]
    stands: tuple[Artifact, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "touched": [str(artifact) for artifact in self.touched],
            "stops": [str(artifact) for artifact in self.stops],
            "stands": [str(artifact) for artifact in self.stands],
        }


def reach(workspace: Workspace, source: str) -> Reach:
    """What a recall of `source` would stop. Raises `ConfigError` when nothing in this workspace names it."""
    lineage = Lineage.read(workspace.ledger)
    named = lineage.artifacts_of(source)
    made = {a.digest: a for a in workspace.store.all() if lineage.maker(a.digest) is not None}
    if not named:
        kept = {held.source for held in holdings.of(workspace)}
        known = sorted({label[0] for digest in made for label in lineage.labels(digest)} | kept)
        if source not in kept:
            raise ConfigError(
                f"nothing here comes from {source!r}; sources of this workspace: {', '.join(known) or 'none'}"
            )
    touched = tuple(artifact for digest, artifact in made.items() if digest in named)
    return Reach(
        source=source,
        touched=touched,
        stops=tuple(a for a in touched if a.kind in ("records", "dataset", "weights")),
        stands=tuple(artifact for digest, artifact in made.items() if digest not in named),
    )


def recall(workspace: Workspace, source: str, reason: str) -> Reach:
    """Appends the withdrawal and returns what it stops. Raises as `reach`."""
    reached = reach(workspace, source)
    workspace.ledger.append(
        WITHDRAWAL,
        [subject(artifact.kind, artifact.digest) for artifact in reached.stops],
        {"source": source, "reason": reason, "at": now()},
        role="reviewer",
    )
    return reached
