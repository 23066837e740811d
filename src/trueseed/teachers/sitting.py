"""How a step gets its judge: bound like every teacher, by the use of the step that asks, whatever way its verdicts are
had.

    with sitting(voice, step, rubric, method="likelihood") as judge:
        for position, ruling in judge.compare(pairs): ...

That use is `judge`, or `reward` where what it says will pick what a model learns from.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from trueseed.core.chat import Request
from trueseed.errors import ConfigError, Refused
from trueseed.teachers.bound import bound
from trueseed.teachers.judge import Judge
from trueseed.teachers.likelihood import Likelihood, server_finds, weights_find
from trueseed.teachers.reference import Reference
from trueseed.teachers.rubric import Method, Rubric
from trueseed.teachers.voice import Voice
from trueseed.terms.model import Use
from trueseed.workspace import Step

USES = (Use.JUDGE, Use.REWARD)


@contextmanager
def sitting(
    voice: Voice, step: Step, rubric: Rubric | None = None, *, asked: bool = True, method: Method = "words"
) -> Iterator[Judge | Likelihood | Reference]:
    """A judge under the terms, the allowance and the holds of whoever is asked. asked: False for our own students,
    whose terms are nobody's to ask.

    Raises `Refused` when the step asks it for anything but to judge or to reward; `ConfigError` for a method that it
    cannot be asked by.
    """
    if asked and (use := step.admits(voice.source)) not in USES:
        raise Refused(
            f"step {step.name!r} asks {voice.source!r} to {use.value}, and a judge is asked to judge or reward"
        )
    rubric, engine = rubric or Rubric(), voice.scorer

    def heard(done: int, total: int) -> None:
        step.look_if_grown()
        step.progress(done, total, "verdicts")

    def fits(request: Request) -> bool:
        return engine is None or len(engine.format.prompt(request.messages)) + request.max_tokens <= engine.context

    if method == "reference":
        if engine is None:
            raise ConfigError(
                f"{voice.source!r} cannot judge by a reference, which it would have to find likely: its weights are "
                f"not here. Take `method: likelihood` or `words`"
            )
        yield Reference(engine, rubric, heard=heard)
    elif method == "likelihood" and engine is not None:
        yield Likelihood(weights_find(engine), voice.source, rubric, heard=heard)
    else:
        with bound(voice, step, cache=True) if asked else voice.speaking(step) as model:
            if method == "likelihood":
                yield Likelihood(server_finds(model, rubric), voice.source, rubric, heard=heard)
            else:
                yield Judge(model, rubric, heard=heard, fits=fits)
