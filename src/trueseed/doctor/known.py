"""What the doctor has in hand before it looks at anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from trueseed.runfile import RunFile
from trueseed.terms.catalog import Catalog
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """now: UTC. folder: where the run will work. workspace: what is there already, None when nothing is, or it is
    broken.
    """

    file: RunFile
    catalog: Catalog
    now: datetime
    folder: Path
    workspace: Workspace | None
    environment: Mapping[str, str]

    @property
    def today(self) -> date:
        return self.now.date()
