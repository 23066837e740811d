"""An import as it will go: rows, origin, what contradicts it, what may be done with it. For `plan` and `doctor`, which
look at it (`look`) without taking it in, and tell it in the run's own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trueseed.errors import ConfigError, Refused, TrueSeedError
from trueseed.exchange.look import SHOWN, Config, Looked, look
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Effect, Facts, Label
from trueseed.terms.rules import Verdict
from trueseed.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Seen:
    """looked: None when it cannot be read, or its origin has no terms. verdicts: whether a student may be trained on
    it, served and published. ending: what the run would end with for its sake.
    """

    config: Config
    looked: Looked | None = None
    verdicts: Mapping[Effect, tuple[Verdict, ...]] = field(default_factory=dict)
    ending: TrueSeedError | None = None

    @property
    def rows(self) -> int:
        return len(self.looked.rows) if self.looked else 0

    @property
    def messages(self) -> int:
        """With something in them."""
        rows = self.looked.rows if self.looked else ()
        return sum(bool(message.content.strip()) for row in rows for message in row.messages)

    @property
    def inherited(self) -> tuple[Label, ...]:
        return tuple(sorted(self.looked.inherited)) if self.looked else ()

    def to_json(self) -> dict[str, Any]:
        against = self.looked.against if self.looked else ()
        return {
            "file": self.config.file,
            "source": self.config.source,
            "inherit": self.config.inherit,
            "rows": self.rows,
            "contradictions": self.looked.counted if self.looked else {},
            "examples": [each.words for each in against[:SHOWN]],
            "inherited": [label.to_json() for label in self.inherited],
            "verdicts": {effect.value: [each.to_json() for each in said] for effect, said in self.verdicts.items()},
            "ending": str(self.ending) if self.ending else "",
        }


def see(config: Config, catalog: Catalog, workspace: Workspace | None, facts: Facts) -> Seen:
    """workspace: None when there is none yet. Raises `Broken` when what this user holds cannot be read."""
    try:
        looked = look(config, catalog, workspace)
    except (ConfigError, Refused) as err:
        return Seen(config=config, ending=err)
    ending: TrueSeedError | None = None
    try:
        looked.must_agree()
    except Refused as err:
        ending = err
    return Seen(config=config, looked=looked, verdicts=looked.verdicts(catalog, facts), ending=ending)
