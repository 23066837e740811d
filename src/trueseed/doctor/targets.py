"""Targets that a run file names: are their answers here and of the task, whose are they, of which day, and until when?

A model that is asked now is looked at as a teacher is, besides.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import date

from trueseed.aims import must_be_of_today, recorded
from trueseed.asking import verdicts
from trueseed.core.plural import many
from trueseed.doctor.check import Check, Subject
from trueseed.doctor.known import Known
from trueseed.doctor.permission import verdict_check
from trueseed.errors import ConfigError, TrueSeedError
from trueseed.evaluate.outputs import Outputs
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.served import date_in
from trueseed.evaluate.task import Config, read
from trueseed.runfile import Target
from trueseed.terms.model import Use


def checks(of: str, target: Target, known: Known) -> Iterator[Check]:
    subject = Subject(of, target.teacher.named if target.teacher else str(target.source))
    if target.teacher is None:
        yield from _recorded(subject, target, known)
    else:
        yield _version(subject, target)
    yield _day(subject, target, known)
    yield _deadline(subject, target.by, known.today)


def _recorded(subject: Subject, target: Target, known: Known) -> Iterator[Check]:
    for verdict in verdicts(
        subject.source, known.catalog, known.file.facts, known.today, uses=(Use.BENCHMARK_TEACHER,)
    ):
        yield verdict_check(subject, "terms for benchmark_teacher", verdict)
    config = next(each for each in known.file.tasks if each.named == target.task)
    samples: tuple[Sample, ...] = ()
    with suppress(TrueSeedError):  # a task that cannot be read is told of the task
        samples = read(config).samples
    try:
        found = recorded(target, samples)
    except TrueSeedError as err:
        yield subject.fails("outputs", str(err), "correct the file, or what the target says of it", type(err))
        return
    yield subject.ok("outputs", f"{len(found.rows)} of {found.generator!r}, written down by {target.maker}")
    if samples:
        yield _of_its_task(subject, found, config, [sample.prompt for sample in samples])


def _of_its_task(subject: Subject, found: Outputs, config: Config, wanted: list[str]) -> Check:
    """Whether there is an answer to every sample."""
    answered = {row.instruction for row in found.rows}
    if missing := [prompt for prompt in wanted if prompt not in answered]:
        return subject.fails(
            "samples", f"{len(missing)} of {len(wanted)} prompts of {config.named} have no answer, "
            f"{missing[0][:60]!r} among them",
            "an `instruction` must be the task's prompt, to the letter; or set the task's `limit`", ConfigError,
        )  # fmt: skip
    return subject.ok("samples", f"each of {len(wanted)} of {config.named} has its answer")


def _version(subject: Subject, target: Target) -> Check:
    assert target.teacher is not None
    endpoint = target.teacher.remote
    if endpoint is None:
        return subject.ok("version", "weights, which do not move")
    if date_in(endpoint.wire_model):
        return subject.ok("version", f"{endpoint.wire_model!r} is a dated one")
    return subject.warning(
        "version", f"{endpoint.wire_model!r} names no date, so its maker may move it; only `on` tells versions apart",
        "name a dated version, where the provider has one (`model`)",
    )  # fmt: skip


def _day(subject: Subject, target: Target, known: Known) -> Check:
    on, today = target.on, known.today
    if on is None or on == today:
        return subject.ok("day", "it is asked now")
    if on > today:
        return subject.fails("day", f"`on` is {on}, which is still to come", "give the day it answered", ConfigError)
    if target.teacher is None:
        return subject.ok("day", f"it answered on {on}, {many((today - on).days, 'day')} ago")
    try:
        must_be_of_today(target, known.workspace, today)
    except ConfigError as err:
        return subject.fails("day", str(err), f"for the model of today, give `on: {today}`", ConfigError)
    return subject.ok("day", f"it was asked on {on}, and its scores of that day count")


def _deadline(subject: Subject, by: date, today: date) -> Check:
    left = (by - today).days
    if left < 0:
        return subject.warning("deadline", f"{by} is {many(-left, 'day')} past: whatever the run makes is late")
    return subject.ok("deadline", f"{many(left, 'day')} left, until {by}")
