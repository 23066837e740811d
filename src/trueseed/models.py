"""Models that a run file names: weights become an artifact, and whoever is asked becomes a voice."""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from trueseed.asking import must_be_in_force
from trueseed.core.artifacts import Artifact
from trueseed.lm.source import LICENCE_FILES, MODEL_FILES, Weights, is_here, matching, resolve
from trueseed.lm.speed import Speed
from trueseed.runfile import Asked, Base, Model
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.voice import BehindAnApi, OurWeights, Voice
from trueseed.terms.model import Relation
from trueseed.workspace import Workspace


def resolved(model: Model) -> Weights:
    """Fetches what is not here yet. Raises as `resolve`."""
    return resolve(model.weights, sha256=model.sha256, source=model.source)


def voice(
    asked: Asked, limits: Sequence[Limit], speed: Speed, workspace: Workspace, *, top_logprobs: int = 0
) -> Callable[[], Voice]:
    """Finds a teacher; it takes its place in the ledger when it is called. top_logprobs: as of `BehindAnApi`. Raises
    `ConfigError`, `Refused`.
    """
    today = datetime.now(UTC).date()
    if asked.remote is not None:
        remote = BehindAnApi(asked.remote, asked.contract, limits, top_logprobs)
        must_be_in_force(asked.contract, remote.source, workspace.catalog, today)
        return lambda: remote
    assert asked.weights is not None
    weights = resolve(asked.weights, sha256=asked.sha256, source=asked.source)
    must_be_in_force(asked.contract, weights.source, workspace.catalog, today)
    return lambda: OurWeights(import_weights(weights, workspace), weights.source, speed)


def held(asked: Asked, speed: Speed, workspace: Workspace) -> OurWeights | None:
    """Weights that are here already, as a voice; None of those that would have to be fetched."""
    if asked.weights is None or not is_here(asked.weights):
        return None
    weights = resolve(asked.weights, sha256=asked.sha256, source=asked.source)
    return OurWeights(import_weights(weights, workspace), weights.source, speed)


def import_weights(weights: Weights, workspace: Workspace) -> Artifact:
    config = {"digest": weights.digest, "files_read": dict(weights.files_read)}

    def link(folder: Path) -> None:
        for path in matching(weights.folder, (*MODEL_FILES, *LICENCE_FILES)):
            _link(path, folder / path.name)

    with workspace.step("weights", brings={weights.source: Relation.WEIGHTS}, config=config) as step:
        return step.earlier("weights") or step.write("weights", link, {"source": weights.source})


def base(named: Base, weights: Weights, workspace: Workspace) -> Artifact:
    """What the student starts from: the weights, or some of their layers, as a step of its own. Raises `ConfigError`
    when they have no such layers.
    """
    whole = import_weights(weights, workspace)
    if named.layers is None:
        return whole
    with workspace.step("layers", inputs=[whole], config={"layers": named.layers}) as step:
        if earlier := step.earlier("weights"):
            return earlier
        from trueseed.lm.layers import pick

        def fill(folder: Path) -> None:
            step.count("layers", len(pick(step.read(whole), named.layers or (), folder)))

        return step.write("weights", fill, {"source": weights.source, "layers": named.layers})


def _link(path: Path, target: Path) -> None:
    """The same bytes without a second copy where the disk allows it."""
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)
