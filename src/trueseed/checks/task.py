"""A task: an everyday prompt, one or two constraints, and the words in which both are put to a model.

Generate and evaluate phrase their tasks here, so that a student is measured on the language it was taught in; the draws
are their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from trueseed.checks.kind import Constraint
from trueseed.checks.kinds import doomed, fault, kind, phrase, sample
from trueseed.checks.sound import spoilt, unsound
from trueseed.checks.text import bare
from trueseed.core.canonical import digest
from trueseed.core.chat import Message, user
from trueseed.core.prompts import Prompt
from trueseed.errors import ConfigError

FREE = "free"  # stands for the kind of a task without constraints
VARIANTS = 240  # enough for every combination of wording and layout
LAYOUTS = ("{prompt} {asks}", "{prompt}\n{asks}", "{prompt}\n\n{asks}", "{asks} {prompt}")

# Families that can stand together; what is not listed contradicts, or nearly so (a sentence count and a postscript).
_TOGETHER = {
    frozenset(pair)
    for pair in (
        ("length", "case"), ("length", "words"), ("length", "opening"), ("length", "ending"), ("length", "inline"),
        ("count", "case"), ("count", "words"), ("count", "inline"), ("case", "words"), ("case", "inline"),
        ("words", "opening"), ("words", "ending"), ("words", "inline"), ("words", "whole"),
        ("opening", "ending"), ("opening", "inline"), ("inline", "ending"),
    )
}  # fmt: skip
# Single kinds that contradict in spite of their families.
_APART = {frozenset(("no_commas", "json_object")), frozenset(("no_commas", "comma_list"))}


@dataclass(frozen=True, kw_only=True)
class Task:
    """prompt: the everyday task. constraints: one or two; none for ordinary talk. variant: chooses wording, layout."""

    prompt_id: str
    prompt: str
    constraints: tuple[Constraint, ...]
    variant: int

    @cached_property
    def id(self) -> str:
        return digest(self.to_json())

    @cached_property
    def text(self) -> str:
        """What the model is asked."""
        asks = " ".join(phrase(constraint, self.variant) for constraint in self.constraints)
        layout = LAYOUTS[self.variant // 12 % len(LAYOUTS)] if asks else "{prompt}"
        return layout.format(prompt=self.prompt, asks=asks)

    @property
    def messages(self) -> tuple[Message, ...]:
        return user(self.text)

    @property
    def kind(self) -> str:
        """The kind of its first constraint, for which the task was drawn; `FREE` without one."""
        return self.constraints[0].kind if self.constraints else FREE

    def faults(self, answer: str) -> dict[str, str]:
        """Empty for a correct answer; else what is wrong, by kind of constraint, or under "sound"."""
        found = {constraint.kind: fault(constraint, answer) for constraint in self.constraints}
        found["sound"] = unsound(answer, self.text, (constraint.args for constraint in self.constraints))
        return {name: wrong for name, wrong in found.items() if wrong}

    def correct(self, answer: str) -> bool:
        """Every constraint holds, and the answer is sound."""
        return not self.faults(answer)

    def enough(self, beginning: str) -> bool:
        """Whether it is known already that no answer that begins so is correct (see `core.chat.Watch`)."""
        return spoilt(beginning) or any(doomed(constraint, beginning) for constraint in self.constraints)

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt_id": self.prompt_id,
            "prompt": self.prompt,
            "constraints": [constraint.to_json() for constraint in self.constraints],
            "variant": self.variant,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Task":
        """Reads `to_json` back; other keys are left to their owner."""
        return cls(
            prompt_id=value["prompt_id"],
            prompt=value["prompt"],
            constraints=tuple(map(Constraint.from_json, value["constraints"])),
            variant=value["variant"],
        )


def together(first: Constraint, second: Constraint) -> bool:
    """Whether an ordinary answer can satisfy both."""
    families = frozenset((kind(first.kind).family, kind(second.kind).family))
    if families not in _TOGETHER or frozenset((first.kind, second.kind)) in _APART:
        return False
    return _leaves_room(first, second) and _leaves_room(second, first)


def _leaves_room(avoiding: Constraint, other: Constraint) -> bool:
    """A word or letter to avoid must not be one that the other dictates."""
    dictated = " ".join(bare(str(list(other.args.values()))))
    if avoiding.kind == "avoided_letter":
        return str(avoiding.args["letter"]) not in dictated
    if avoiding.kind == "avoided_word":
        return avoiding.args["word"] not in dictated.split()
    if avoiding.kind == "keyword_times" and other.kind == "words_at_most":
        return int(other.args["n"]) >= 15
    return True


def draw(prompt: Prompt, name: str, others: Sequence[str], rng: Random, *, two: float) -> Task:
    """A task on this prompt whose first constraint is of kind `name`; with probability `two` it gets a second one.

    For `FREE` it is the prompt alone.
    """
    if name == FREE:
        return Task(prompt_id=prompt.id, prompt=prompt.text, constraints=(), variant=0)
    constraints = [sample(name, rng)]
    if rng.random() < two:
        second = next((c for c in _drawn(others, rng) if together(constraints[0], c)), None)
        constraints += [second] if second else []
    return Task(
        prompt_id=prompt.id, prompt=prompt.text, constraints=tuple(constraints), variant=rng.randrange(VARIANTS)
    )


def _drawn(names: Sequence[str], rng: Random) -> Iterator[Constraint]:
    for name in rng.sample(list(names), len(names)):
        yield sample(name, rng)


def compose(prompts: Sequence[Prompt], kinds: Sequence[str], n: int, seed: int, *, two: float = 0.25) -> list[Task]:
    """`n` different tasks. Kinds and prompts both come round evenly; the same arguments give the same tasks.

    Raises `ConfigError` when there are no prompts or kinds, or not that many different tasks.
    """
    if not prompts or not kinds:
        raise ConfigError("tasks need at least one prompt and one constraint kind")
    rng = Random(seed)
    tasks: dict[str, Task] = {}
    order: list[Prompt] = []
    for turn in range(20 * n):
        if len(tasks) == n:
            break
        if not order:
            order = rng.sample(list(prompts), len(prompts))
        task = draw(order.pop(), kinds[turn % len(kinds)], kinds, rng, two=two)
        tasks.setdefault(task.id, task)
    if len(tasks) < n:
        raise ConfigError(f"{len(prompts)} prompts and {len(kinds)} kinds give {len(tasks)} different tasks, not {n}")
    return list(tasks.values())
