"""Records said anew by a model, as a step of their own: what they carried stays on them, the model's label joins it.

The model is asked for `train`, and the records may only go where training takes them, so either one's terms refuse it
before anything is asked. It is asked as every teacher is (`teachers.bound`).
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from trueseed import models
from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError
from trueseed.generate import rewriting
from trueseed.lm.speed import Speed
from trueseed.runfile import Asked, RunFile, load
from trueseed.teachers.bound import bound
from trueseed.teachers.voice import Voice
from trueseed.terms.model import Effect, Use
from trueseed.workspace import Workspace


def transform(
    file: RunFile, workspace: Workspace, records: Sequence[Artifact], voice_of: Callable[[Asked], Voice]
) -> list[Artifact]:
    """All of `records` through every transformation of the run file, in order. Raises what door and `rewrite` do."""
    found = list(records)
    for each, asked in file.transforms.values():
        voice = voice_of(asked)
        found = [said_anew(each.recipe, artifact, workspace, voice, asked, cache=file.cache) for artifact in found]
    return found


def said_anew(
    recipe: rewriting.Config, artifact: Artifact, workspace: Workspace, voice: Voice, asked: Asked, *, cache: bool
) -> Artifact:
    """asked: as the run file names who speaks. cache: share answers with other steps."""
    rewriting.must_hold_records(artifact)
    with workspace.step(
        recipe.verb,
        inputs=[artifact],
        ask={voice.source: Use.TRAIN},
        effect=Effect.TRAIN,
        config={**recipe.model_dump(), **voice.identity},
        features={voice.source: asked.features} if asked.features else {},
    ) as step:
        if earlier := step.earlier(artifact.kind):
            return earlier
        with bound(voice, step, cache=cache) as teacher:
            return rewriting.rewrite(recipe, artifact, teacher, step)


def by_hand(
    recipe: rewriting.Config, artifact: Artifact, workspace: Workspace, *, run: Path | None, weights: str | None
) -> Artifact:
    """Outside of a run. run: a run file, whose teacher is asked as that run would ask it: under its limits, facts and
    cache. weights: asked on this machine instead. Raises `ConfigError` unless it is one of the two.
    """
    if (run is None) == (weights is None):
        raise ConfigError("say whom to ask: the teacher of a run file (--run FILE), or weights (--weights SPEC)")
    rewriting.must_hold_records(artifact)
    asked, limits, speed, cache = Asked(weights=weights) if weights else None, [], Speed(), True
    if run is not None:
        file = load(run)
        asked, limits, speed, cache = file.teacher, file.limits, file.engine, file.cache
        workspace.declare(file.project, file.facts)
    if asked is None:
        raise ConfigError(f"the run in {run} has no teacher; name weights (--weights SPEC)")
    with closing(models.voice(asked, limits, speed, workspace)()) as voice:
        return said_anew(recipe, artifact, workspace, voice, asked, cache=cache)
