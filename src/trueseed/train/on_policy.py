"""Distillation from a teacher that is in memory: on the records' answers, and on what the student says itself.

    config = on_policy.Config(lmbda=0.5, beta=0.5, max_new_tokens=128)
    student = on_policy.train(config, dataset, base, teacher, step)

Each step of the optimizer takes, with probability `lmbda`, the student's own answers to the prompts of its rows, spoken
by its weights of that moment; else the records' answers, or with `seq_kd` the teacher's (generalised knowledge
distillation, Agarwal et al. 2024, arXiv:2306.13649). Every answer token then teaches how the teacher would have gone
on: see `divergence`. With `lmbda=0` this is online logit distillation, the same to the last bit as
`method: distil, signals: memory`, which comes here too. Keys are TRL's, except that `temperature` is the divergence's
alone, and sampling has its own (TRL's GKD samples at `temperature` and compares at 1).

The teacher's view of a text is an answer of the teacher's: the step must be opened with it asked for training.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.network import Network
from trueseed.train import online, preflight
from trueseed.train.batches import Example
from trueseed.train.distil import Routed
from trueseed.train.lora import merged, merged_copy
from trueseed.train.own_words import OwnWords, Speaker, must_fit
from trueseed.train.ranks import launched
from trueseed.train.settings import Distil
from trueseed.train.settings import OnPolicy as Config
from trueseed.train.stage import Method, Student, folder_of, opened, place, say_if_slow, schedule, taught
from trueseed.workspace import Step

__all__ = ["Config", "train"]


def train(
    config: Config | Distil, dataset: Artifact, base: Artifact | Path, teacher: Artifact | Path, step: Step
) -> Artifact:
    """Weights of the student; `curve.json` tells how much was said in training.

    teacher: a folder in the Hugging Face layout (`lm.source.resolve` makes one of a GGUF file), or an input of the step
    that is one. Raises `ConfigError` as `stage.opened` and `stage.taught`; when the teacher has another tokenizer; when
    max_new_tokens does not fit behind a prompt; and when every answer of a step is empty.
    """
    above = folder_of(teacher, step)
    student = opened(config, dataset, base, step, checkpoint.context(above))
    say_if_slow(checkpoint.configuration(above), step, "teacher")
    notes = step.checkpoint("words") if isinstance(config, Config) else None
    return taught(student, partial(method, config, above, notes), step)


def method(config: Config | Distil, teacher: Path, notes: Path | None, student: Student) -> Method:
    """teacher: a folder that every process reads for itself. notes: where what was said is kept by the first, if
    anything is to be said.
    """
    route = Routed(_route(config, student, teacher), config)
    above = online.load(teacher, student.model.dtype, place(config))
    words = _words(config, student, teacher, above, notes) if isinstance(config, Config) and notes else None

    def says() -> dict[str, Any]:
        told = {"route": route.to_json(), "loss_top_k": config.loss_top_k}
        return told | {"said": words.told()} if words else told

    return Method(
        name=config.method,
        loss=online.Loss(student.model, above, online.asked(config)),
        steps=words or schedule(student.rows, config),
        says=says,
        hears=(above,),
        begins=route.begins if config.ce_weight else None,
    )


def _route(config: Config | Distil, student: Student, teacher: Path) -> preflight.Route:
    route = preflight.check(config, student.weights, teacher, (*student.rows, *student.held_out))
    if route.name == "sequence-level":
        raise ConfigError(
            f"`method: {config.method}` is not possible with this teacher: {'; '.join(route.reasons)}. Let the teacher "
            f"answer the prompts and train on its words (`method: sft`), or take a teacher of the student's tokenizer"
        )
    return route


def _words(config: Config, student: Student, folder: Path, teacher: Any, notes: Path) -> OwnWords:
    prompts = {row.id: _prompt_length(row) for row in student.rows}
    if config.lmbda or config.seq_kd:
        for whose, model in (("student", student.model), ("teacher", teacher)):
            must_fit(prompts, config.max_new_tokens, model.config.max_position_embeddings, whose)
    spoken_by = partial(Network.of, teacher)
    if config.parallel == "fsdp":  # what is shared out does not speak, so it is read once more
        spoken_by = partial(Network, folder, teacher.dtype, launched().device)
    speakers = Speaker("student", partial(_now, student)), Speaker("teacher", _once(spoken_by))
    chats = {record.id: record.messages[:-1] for record in student.records if record.id in prompts}
    return OwnWords(schedule(student.rows, config), chats, student.form, speakers, config, notes, launched())


def _now(student: Student) -> Network:
    """The student's weights of this moment, whole; adapters are merged into a copy."""
    model, learner = student.whole()
    if learner is not model:
        model = (merged_copy if learner is student.learner else merged)(learner)
    return Network.of(model.to(launched().device))


def _once(make: Callable[[], Network]) -> Callable[[], Network]:
    made: list[Network] = []

    def network() -> Network:
        if not made:
            made.append(make())
        return made[0]

    return network


def _prompt_length(row: Example) -> int:
    """Tokens before the last answer."""
    return len(row.mask) - next(at for at, counts in enumerate(reversed(row.mask)) if not counts)
