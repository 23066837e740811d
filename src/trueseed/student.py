"""Which student is meant when nobody names one: the weights that the last finished training left."""

from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError
from trueseed.ledger.lineage import Lineage
from trueseed.workspace import Workspace


def newest_student(workspace: Workspace) -> Artifact:
    """Raises `ConfigError` when nothing was trained yet."""
    lineage = Lineage.read(workspace.ledger)
    trained = [
        (maker.index, made.digest)
        for made in lineage.artifacts()
        if made.kind == "weights" and (maker := lineage.maker(made.digest)) and maker.predicate["step"] == "train"
    ]
    if not trained:
        raise ConfigError(f"no student was trained in {str(workspace.folder)!r} yet; `trueseed run FILE` makes one")
    return workspace.store.get(f"weights:{max(trained)[1]}")
