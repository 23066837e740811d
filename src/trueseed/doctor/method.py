"""Will the student be made and taught as `base` and `train` say: its layers, and how it can learn of its distiller."""

import json
from collections.abc import Iterator
from pathlib import Path

from trueseed.doctor.check import Check, Subject
from trueseed.errors import TrueSeedError
from trueseed.lm.layers import chosen
from trueseed.lm.source import is_here, resolve
from trueseed.runfile import RunFile


def checks(file: RunFile) -> Iterator[Check]:
    """What can be seen from weights that are here; of others their own checks say that they are not."""
    base = file.base
    if not is_here(base.weights):
        return
    subject = Subject("train", file.train.method)
    try:
        student = resolve(base.weights, sha256=base.sha256, source=base.source).folder
        if base.layers is not None:
            yield _layers(subject, file, student)
        asked = file.distiller
        if asked and asked.weights and is_here(asked.weights):
            teacher = resolve(asked.weights, sha256=asked.sha256, source=asked.source).folder
            yield _route(subject, file, student, teacher)
    except TrueSeedError as err:
        yield subject.error("method", err)


def _layers(subject: Subject, file: RunFile, student: Path) -> Check:
    of = int(json.loads((student / "config.json").read_bytes()).get("num_hidden_layers", 0))
    kept = chosen(file.base.layers or (), of)
    return subject.ok("layers", f"the student has {len(kept)} of {of}: {', '.join(map(str, kept))}")


def _route(subject: Subject, file: RunFile, student: Path, teacher: Path) -> Check:
    from trueseed.train import preflight

    route = preflight.check(file.training, student, teacher, ())
    return subject.ok("route", f"{route.name}: {'; '.join(route.reasons)}")
