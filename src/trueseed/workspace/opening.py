"""What a step says of itself before it may begin, and what it is known again by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.code import code_digest
from trueseed.terms.model import Effect, Label, Relation, Use


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a step says of itself before it may begin."""

    name: str
    inputs: tuple[Artifact, ...]
    against: tuple[Artifact, ...]  # only decide what is kept: their labels arrive as filters
    effect: Effect
    ask: Mapping[str, Use]
    brings: Mapping[str, Relation]  # sources that enter here from outside: prompts, base weights
    carries: tuple[Label, ...]  # what that is known to carry from earlier: answers that come back
    config: Mapping[str, Any]
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # with which a source's service is asked
    market: str = ""  # whose people are served; '' when nobody outside is
    shows: tuple[Label, ...] = ()  # of models whose measures are made public

    @property
    def fingerprint(self) -> str:
        return digest({**self.to_json(), "config": dict(self.config), "code": code_digest()})

    def to_json(self) -> dict[str, Any]:
        used = [{"kind": a.kind, "digest": a.digest, "role": "input"} for a in self.inputs]
        beside = [{"kind": a.kind, "digest": a.digest, "role": "against"} for a in self.against]
        carried = {"carries": [label.to_json() for label in self.carries]} if self.carries else {}
        features = {source: list(names) for source, names in sorted(self.features.items()) if names}
        return {
            **({"features": features} if features else {}),
            **({"market": self.market} if self.market else {}),
            **({"shows": [label.to_json() for label in self.shows]} if self.shows else {}),
            "step": self.name,
            "effect": self.effect.value,
            "asks": [{"source": source, "use": use.value} for source, use in sorted(self.ask.items())],
            "brings": [{"source": source, "relation": rel.value} for source, rel in sorted(self.brings.items())],
            **carried,
            "inputs": used + beside,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How an answer came about. at: when it was asked. terms: digest of the document in force then. use, project: asked
    for and by. log: name of the ledger it was asked under, '' for this one.
    """

    at: str
    terms: str
    use: Use
    project: str = ""
    log: str = ""
