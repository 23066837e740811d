"""Will the student be made and taught as `base` and `train` say: its layers, and how it can learn of its distiller."""

import json
from collections.abc import Iterator
from pathlib import Path

from trueseed.distilling import of_a_server
from trueseed.doctor.check import Check, Subject
from trueseed.errors import TrueSeedError
from trueseed.lm.layers import chosen
from trueseed.lm.source import is_here, resolve
from trueseed.runfile import RunFile
from trueseed.train import settings


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
        yield _context(subject, file, "network", student)
        yield _pace(subject, "architecture", student)
        asked = file.distiller
        if asked and asked.remote:
            yield _told(subject, file)
        if asked and asked.weights and is_here(asked.weights):
            teacher = resolve(asked.weights, sha256=asked.sha256, source=asked.source).folder
            yield _route(subject, file, student, teacher)
            yield _context(subject, file, "teacher", teacher)
            if file.hears_distiller_in == "train":
                yield _pace(subject, "teacher's architecture", teacher)
    except TrueSeedError as err:
        yield subject.error("method", err)


def _layers(subject: Subject, file: RunFile, student: Path) -> Check:
    of = int(json.loads((student / "config.json").read_bytes()).get("num_hidden_layers", 0))
    kept = chosen(file.base.layers or (), of)
    return subject.ok("layers", f"the student has {len(kept)} of {of}: {', '.join(map(str, kept))}")


def _context(subject: Subject, file: RunFile, whose: str, weights: Path) -> Check:
    """Rows longer than a context are left out, or end the run, whatever `max_length` says."""
    context = json.loads((weights / "config.json").read_bytes()).get("max_position_embeddings")
    name = "context" if whose == "network" else f"{whose}'s context"
    asked = file.train.max_length
    if context is None or asked <= context:
        return subject.ok(name, f"records of up to {asked} tokens, as `max_length` says")
    return subject.warning(
        name,
        f"`max_length` is {asked}, and the {whose} reads {context} tokens: longer records are "
        f"{'left out' if file.train.too_long == 'drop' else 'an end of the run'}",
        f"set `max_length` to {context}",
    )


def _pace(subject: Subject, name: str, weights: Path) -> Check:
    from trueseed.lm.checkpoint import configuration
    from trueseed.train.network import unpacked

    config = configuration(weights)
    if why := unpacked(config):
        return subject.warning(name, why, "take weights of one of these, or leave it so: what is learned is the same")
    return subject.ok(name, f"batches of {config.model_type!r} are packed, its logits made where answers are predicted")


def _told(subject: Subject, file: RunFile) -> Check:
    """A server's log-probabilities: the run file was read, so all else fits."""
    drops = isinstance(file.training, settings.Distil) and file.training.incomparable == "drop"
    return subject.warning(
        "route",
        f"stored top-k: {of_a_server(file)}. Where they are not, {'records are left out' if drops else 'the run ends'}",
        "if so, learn from its words (`method: sft`)",
    )


def _route(subject: Subject, file: RunFile, student: Path, teacher: Path) -> Check:
    from trueseed.train import preflight

    route = preflight.check(file.training, student, teacher, ())
    return subject.ok("route", f"{route.name}: {'; '.join(route.reasons)}")
