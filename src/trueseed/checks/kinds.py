"""All the kinds, and which of them no training prompt may use."""

from random import Random

from trueseed.checks import casing, edges, lengths, shapes, wording
from trueseed.checks.kind import Constraint, Kind
from trueseed.errors import ConfigError

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (*lengths.KINDS, *casing.KINDS, *wording.KINDS, *edges.KINDS, *shapes.KINDS)
}

# Kept for evaluation alone: other demands than the ones trained on, from as many families. Some the teacher meets now
# and then by itself, so that a student that was damaged loses there; others almost never, so that one which understood
# more than formats gains.
HELD_OUT_KINDS = (
    "words_at_least", "sentence_count", "avoided_letter", "no_commas", "digits",
    "capitalised_words", "parentheses", "heading", "opening_question", "final_exclamation", "greeting",
)  # fmt: skip
TRAIN_KINDS = tuple(name for name in KINDS if name not in HELD_OUT_KINDS)


def kind(name: str) -> Kind:
    """The kind of this name. Raises `ConfigError` for an unknown one."""
    if name not in KINDS:
        raise ConfigError(f"there is no constraint kind {name!r}; the kinds are {', '.join(sorted(KINDS))}")
    return KINDS[name]


def sample(name: str, rng: Random) -> Constraint:
    """A constraint of this kind with arguments drawn from `rng`."""
    return Constraint(name, kind(name).draw(rng))


def fault(constraint: Constraint, answer: str) -> str:
    """Empty when the answer satisfies the constraint, else what is wrong with it."""
    return kind(constraint.kind).fault(answer, **constraint.args)


def doomed(constraint: Constraint, beginning: str) -> bool:
    """Whether it is known that no answer that begins so satisfies the constraint."""
    return kind(constraint.kind).doomed(beginning, **constraint.args)


def check(constraint: Constraint, answer: str) -> bool:
    return not fault(constraint, answer)


def phrase(constraint: Constraint, variant: int) -> str:
    """The constraint as a person would say it; `variant` chooses the wording, modulo how many there are."""
    of = kind(constraint.kind)
    return of.wordings[variant % len(of.wordings)].format(**of.say(constraint.args))


def how(constraint: Constraint) -> str:
    """The constraint spelt out step by step."""
    of = kind(constraint.kind)
    return of.how.format(**of.say(constraint.args))
