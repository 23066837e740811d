"""Weights that we hold enter a workspace: as an artifact of their own, labelled with whose they are."""

import shutil
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.lm.source import LICENCE_FILES, MODEL_FILES, Weights, matching
from trueseed.terms.model import Relation
from trueseed.workspace import Workspace


def enter(weights: Weights, workspace: Workspace) -> Artifact:
    """The artifact of kind `weights`, licence texts included. Raises what the door raises."""
    config = {"digest": weights.digest, "files_read": dict(weights.files_read)}

    def link(folder: Path) -> None:
        for path in matching(weights.folder, (*MODEL_FILES, *LICENCE_FILES)):
            _link(path, folder / path.name)

    with workspace.step("weights", brings={weights.source: Relation.WEIGHTS}, config=config) as step:
        return step.earlier("weights") or step.write("weights", link, {"source": weights.source})


def _link(path: Path, target: Path) -> None:
    """The same bytes without a second copy where the disk allows it."""
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)
