"""Which student is meant when nobody names one: the weights that the last finished training left."""

from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError
from trueseed.workspace import Workspace


def newest_student(workspace: Workspace) -> Artifact:
    """Raises `ConfigError` when nothing was trained yet."""
    newest = workspace.lineage().newest("weights", step="train")
    if newest is None:
        raise ConfigError(f"no student was trained in {str(workspace.folder)!r} yet; `trueseed run FILE` makes one")
    return workspace.store.get(f"weights:{newest.digest}")
