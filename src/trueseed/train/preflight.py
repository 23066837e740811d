"""Before a teacher is asked and before a student learns: which way of distilling is right here, and is any?

    route = check(config, student_folder, teacher_folder, rows)
    print(route)                     # stored top-k: ids stand for the same strings in both models, …

Comparing log-probabilities is right only where the same id is the same string for both models and both read the same
ids. Where that is so, the route is the one that `config` asks for; heads that are padded to other lengths are compared
as far as both go. Where it is not, the one right way is to learn from the teacher's words, `sequence-level`, and that
is said, with the reason. What would be wrong on any route is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trueseed.core.chat import Message, user
from trueseed.errors import ConfigError
from trueseed.lm.format import Format
from trueseed.lm.vocabulary import Vocabulary
from trueseed.train.batches import Example
from trueseed.train.settings import Config, Distil, Distilling, Learning
from trueseed.train.signals import About

Name = Literal["sequence-level", "stored top-k", "in memory", "on-policy"]
UNLIKE = 100.0  # how many times one term of a loss may be another before it is the only one that teaches

# Chats that templates are known to render in ways of their own: a system prompt or none, several turns, text that
# spells special tokens, blanks, other scripts.
_ANSWER = Message("assistant", "Two words.")
_PROBES: tuple[tuple[Message, ...], ...] = (
    (*user("Say two words."), _ANSWER),
    (Message("system", "Be brief."), *user("Say two words."), _ANSWER),
    (*user("Say two words."), _ANSWER, *user("And  now?\n"), Message("assistant", "  déjà vu, 好的 <|im_end|>\n")),
)


@dataclass(frozen=True, slots=True)
class Route:
    """reasons: sentences without a full stop, as people are told them."""

    name: Name
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.reasons)}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "reasons": list(self.reasons)}


class _Unlike(Exception):  # noqa: N818  a reason, not an error
    """Ids cannot be compared. Its text says why."""


def check(config: Learning, student: Path, teacher: Path | About, rows: Sequence[Example]) -> Route:
    """student, teacher: folders of weights; or what is said of a teacher's stored signals. rows: what is learned from,
    as the student reads it.

    Raises `ConfigError` for rows that cannot teach, for more log-probabilities than are stored, and for stored signals
    of a teacher whose ids mean other strings: nothing takes their place silently.
    """
    _must_teach(rows)
    if isinstance(config, Config):
        return Route("sequence-level", ("`method: sft` learns from the teacher's words alone",))
    assert isinstance(config, Distilling)
    own = Vocabulary.of(student)
    _must_be_in(rows, own.rows, "the student")
    if isinstance(teacher, About):
        return Route("stored top-k", _stored(config, own, teacher))
    try:
        reasons = (*_same_ids(own, Vocabulary.of(teacher)), *_same_chats(student, teacher), *_known(rows, teacher))
    except _Unlike as why:
        return Route("sequence-level", (str(why), "so log-probabilities cannot be compared, only words be learned"))
    return Route(_asked_for(config), (*reasons, *_as_configured(config)))


def comparable(kl: float, ce: float, config: Distilling) -> tuple[str, ...]:
    """Reasons. kl, ce: the loss's terms on the first batch, in nats a token, before they are weighed.

    Raises `ConfigError` when one weighs more than `UNLIKE` times the other: then one of them is there in name only.
    """
    if not config.ce_weight:
        return ()
    weighed = config.ce_weight * ce
    if max(kl, weighed) > UNLIKE * min(kl, weighed):
        raise ConfigError(
            f"on the first batch the teacher's term is {kl:.3g} nats a token and cross-entropy times `ce_weight` is "
            f"{weighed:.3g}: one is more than {UNLIKE:.0f} times the other, which would teach nothing. Set `ce_weight` "
            f"near {kl / ce if ce else 0:.1g}, or to 0, or lower `temperature` (now {config.temperature:g})"
        )
    return (f"on the first batch the teacher's term is {kl:.3g} nats a token, weighed cross-entropy {weighed:.3g}",)


def _asked_for(config: Distilling) -> Name:
    if not isinstance(config, Distil):
        return "on-policy"
    return "stored top-k" if config.signals == "stored" else "in memory"


def _as_configured(config: Distilling) -> tuple[str, ...]:
    if not config.loss_top_k:
        return ("the whole vocabulary is compared",)
    draws = config.tail_draws if isinstance(config, Distil) else 0
    others = f"{draws} drawn from the others stand for these" if draws else "all others together as one"
    found = f"the teacher's {config.loss_top_k} most probable tokens are compared, {others}"
    soft = isinstance(config, Distil) and config.signals == "stored" and config.temperature != 1
    return (found, f"temperature {config.temperature:g} softens these, the others keep their share")[: 1 + soft]


def _stored(config: Distilling, own: Vocabulary, about: About) -> tuple[str, ...]:
    draws = config.tail_draws if isinstance(config, Distil) else 0
    if draws and (config.loss_top_k, draws) != (about.k, about.draws):
        raise ConfigError(
            f"`loss_top_k: {config.loss_top_k}` with `tail_draws: {draws}` is not what is stored of {about.source}, "
            f"{about.k} with {about.draws}; set these, or make the signals again"
        )
    if config.loss_top_k > about.k:
        raise ConfigError(
            f"`loss_top_k: {config.loss_top_k}` compares more tokens than the {about.k} that are stored of "
            f"{about.source}; lower it, or make the signals again"
        )
    if own.digest(about.vocabulary) != about.tokenizer:
        raise ConfigError(
            f"the stored log-probabilities of {about.source} are of other tokens: its ids do not stand for the "
            f"student's strings. Make them with a teacher of the student's tokenizer, or learn from its words "
            f"(`method: sft`)"
        )
    template = "the chat template is the teacher's" if own.template == about.template else "the chat templates differ"
    return (
        f"the {about.vocabulary:,} ids of {about.source} stand for the same strings in the student",
        f"{template}, and each record was read as the same ids",
        f"the {about.k} stored tokens hold {about.mass:.1%} of the teacher's probability",
        *_as_configured(config),
    )


def _same_ids(own: Vocabulary, teacher: Vocabulary) -> tuple[str, ...]:
    both = min(len(own.tokens), len(teacher.tokens))
    for at, (ours, theirs) in enumerate(zip(own.tokens, teacher.tokens, strict=False)):
        if ours != theirs:
            raise _Unlike(f"id {at} is {theirs!r} for the teacher and {ours!r} for the student")
    reasons = [f"{both:,} ids stand for the same strings in both models"]
    if len(own.tokens) != len(teacher.tokens):
        longer = "student" if len(own.tokens) > both else "teacher"
        extra = abs(len(own.tokens) - len(teacher.tokens))
        reasons.append(f"the {longer} knows {extra} more, which are not compared")
    if own.rows != teacher.rows:
        reasons.append(
            f"the student's head has {own.rows:,} rows, the teacher's {teacher.rows:,}: one is padded, and the first "
            f"{min(own.rows, teacher.rows):,} are compared"
        )
    if unlike := own.specials ^ teacher.specials:
        reasons.append(f"special for one of them only: {', '.join(sorted(unlike)[:3])}")
    return tuple(reasons)


def _same_chats(student: Path, teacher: Path) -> tuple[str, ...]:
    """Templates and tokenizers together, by what they give: names and digests may differ where ids do not."""
    ours, theirs = Format(student), Format(teacher)
    for probe in _PROBES:
        if _read(ours, probe) != _read(theirs, probe):
            raise _Unlike(
                f"the two models read a chat of {len(probe)} messages as other ids: tokenizers cut text otherwise, or "
                f"chat templates differ"
            )
    return ("both read chats as the same ids",)


def _read(form: Format, probe: Sequence[Message]) -> tuple[list[int], list[bool]] | None:
    """None for a chat that the template does not take."""
    try:
        return form.training(probe)
    except ConfigError:
        return None


def _known(rows: Sequence[Example], teacher: Path) -> tuple[str, ...]:
    vocabulary = Vocabulary.of(teacher)
    for row in rows:
        if max(row.tokens) >= len(vocabulary.tokens):
            raise _Unlike(f"record {row.id[:16]} has the token {max(row.tokens)}, which the teacher does not know")
    return ()


def _must_teach(rows: Sequence[Example]) -> None:
    for row in rows:
        if len(row.mask) != len(row.tokens):
            raise ConfigError(
                f"record {row.id[:16]} has {len(row.tokens)} tokens and says of {len(row.mask)} whether they are "
                f"learned: the mask was made before the record was cut. Make both anew"
            )
        if not row.targets:
            raise ConfigError(
                f"record {row.id[:16]} has no trainable token, so the loss would say nothing; take it out of the data"
            )


def _must_be_in(rows: Sequence[Example], known: int, whose: str) -> None:
    for row in rows:
        if not 0 <= min(row.tokens) <= max(row.tokens) < known:
            raise ConfigError(
                f"record {row.id[:16]} has token {max(row.tokens)} and {whose} knows {known}: its tokenizer does not "
                f"belong to its weights. No id is bent to fit; give the right tokenizer"
            )
