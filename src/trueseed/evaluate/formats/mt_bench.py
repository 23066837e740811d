"""MT-bench (Zheng et al. 2023; FastChat's llm_judge 0.2): JSON lines of

    {"question_id", "category", "turns": ["…", "…"]}                                    question.jsonl
    {"question_id", "model_id", "choices": [{"index", "turns": ["…", "…"]}]}            model_answer, reference_answer
    {"question_id", "model", "judge": [name, prompt], "score", "turn"}                  …_single.jsonl
    {"question_id", "model_1", "model_2", "g1_winner", "g2_winner", "judge", "turn"}    …_pair.jsonl
    {"question_id", "model_a", "model_b", "winner", "judge", "turn",
     "conversation_a", "conversation_b"}                                                people's votes

A score is from 1 to 10, -1 where the judge gave none; a winner is `model_1`, `model_2`, `tie` or `error`. In the first
game model_1 is shown first, in the second model_2.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trueseed.core.canonical import digest
from trueseed.evaluate.formats.row import (
    FOLLOWS,
    REFERENCE,
    Answered,
    Judged,
    Mark,
    Reader,
    Row,
    chosen_turns,
    origin_in,
    question_id,
    text,
    turn_id,
)  # fmt: skip
from trueseed.evaluate.verdicts import Order, Verdict, Winner

NAME = "MT-bench"
NO_MARK, ERROR = -1, "error"
GAMES: tuple[tuple[str, Order], ...] = (("g1", "ab"), ("g2", "ba"))
_WON: dict[str, Winner] = {"model_1": "a", "model_2": "b", "model_a": "a", "model_b": "b", "tie": "tie"}


def _turns(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{what} must be a list of strings that is not empty, not {value!r}"[:300])
    return value


def _asked(row: Row) -> Iterator[Row]:
    references = row.get(REFERENCE) or []
    for turn, prompt in enumerate(_turns(row["turns"], "'turns'"), start=1):
        found: dict[str, Any] = {"id": turn_id(_question(row), turn), "prompt": prompt, "turn": turn}
        if turn > 1:
            found[FOLLOWS] = turn_id(_question(row), turn - 1)
        if isinstance(references, list) and len(references) >= turn:
            found[REFERENCE] = references[turn - 1]
        yield {**found, "category": row["category"]} if "category" in row else found


def _question(row: Row) -> int | str:
    return question_id(row, "question_id")


def _answered(row: Row) -> Iterator[Answered]:
    """Of several choices the first, as FastChat judges them."""
    choices = row["choices"]
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError(f"'choices' must be a list of objects, not {choices!r}"[:300])
    for turn, output in enumerate(_turns(choices[0].get("turns"), "the `turns` of a choice"), start=1):
        yield Answered(
            sample=turn_id(_question(row), turn), output=output, generator=text(row, "model_id"), said=origin_in(row)
        )


def _judge(row: Row) -> str:
    """`[model, name of its prompt]`: the model."""
    found = row["judge"]
    found = found[0] if isinstance(found, list) and found else found
    if not isinstance(found, str) or not found:
        raise ValueError(f"'judge' must be a name, or a list that begins with one, not {row['judge']!r}"[:300])
    return found


def _turn(row: Row) -> int:
    found = row.get("turn", 1)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ValueError(f"'turn' must be a number from 1, not {found!r}")
    return found


def _marked(row: Row) -> Iterator[Judged]:
    score = row["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not (score == NO_MARK or 0 <= score <= 10):
        raise ValueError(f"'score' must be from 1 to 10, or {NO_MARK} for none, and not {score!r}")
    if score == NO_MARK:
        yield None
        return
    yield Mark(
        sample=turn_id(_question(row), _turn(row)),
        model=text(row, "model"),
        judge=_judge(row),
        score=float(score),
        reason=str(row.get("judgment", "")),
    )


def _judged(row: Row) -> Iterator[Judged]:
    for game, order in GAMES:
        said = row[f"{game}_winner"]
        if said == ERROR:
            yield None
            continue
        yield Verdict(
            sample=turn_id(_question(row), _turn(row)),
            a=text(row, "model_1"),
            b=text(row, "model_2"),
            winner=_winner(said, f"{game}_winner"),
            order=order,
            judge=_judge(row),
            reason=str(row.get(f"{game}_judgment", "")),
        )


def _winner(said: Any, name: str) -> Winner:
    known = "tie" if isinstance(said, str) and said.startswith("tie") else said  # people's say `tie (bothbad)` too
    if not isinstance(known, str) or known not in _WON:
        raise ValueError(f"{name!r} must be model_1, model_2, tie or error, and not {said!r}"[:300])
    return _WON[known]


def _voted(row: Row) -> Iterator[Judged]:
    yield Verdict(
        sample=turn_id(_question(row), _turn(row)),
        a=text(row, "model_a"),
        b=text(row, "model_b"),
        winner=_winner(row["winner"], "winner"),
        order="",
        judge=_judge(row),
    )


def gold(rows: Iterable[Row]) -> Iterator[Row]:
    """Pairs that people voted on, one a turn of a pair: by their majority. What is tied is no gold."""
    votes: defaultdict[str, Counter[Winner]] = defaultdict(Counter)
    pairs: dict[str, tuple[str, str, str]] = {}
    for row in rows:
        (prompt, one), (again, other) = (_said(row, side) for side in ("conversation_a", "conversation_b"))
        if prompt != again:
            raise ValueError("the two conversations ask different things")
        name = f"{turn_id(_question(row), _turn(row))}:{digest([one, other])[:8]}"
        pairs[name] = prompt, one, other
        votes[name][_winner(row["winner"], "winner")] += 1
    for name, (prompt, one, other) in pairs.items():
        if votes[name]["a"] != votes[name]["b"] and one != other:
            right, wrong = (one, other) if votes[name]["a"] > votes[name]["b"] else (other, one)
            yield {"id": name, "prompt": prompt, "right": right, "wrong": wrong}


def _said(row: Row, side: str) -> tuple[str, str]:
    """What was asked, all turns up to the one that was voted on, and what was answered to them."""
    chat = row[side]
    if not isinstance(chat, list) or len(chat) < 2 * _turn(row) or not all(isinstance(each, dict) for each in chat):
        raise ValueError(f"{side!r} must be the messages of {_turn(row)} turns, and not {chat!r}"[:300])
    words = [text(each, "content") for each in chat[: 2 * _turn(row)]]
    return in_turns(words[::2]), in_turns(words[1::2])


def in_turns(texts: Sequence[str]) -> str:
    """One as it is; several with their turns named."""
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"[turn {turn}]\n{each}" for turn, each in enumerate(texts, start=1))


def _of_strings(row: Row) -> bool:
    return isinstance(row["turns"], list) and all(isinstance(each, str) for each in row["turns"])


def _of_plain_turns(row: Row) -> bool:
    return not any(isinstance(each, dict) for each in chosen_turns(row))


QUESTIONS: Reader[Row] = Reader(format=NAME, fields=("question_id", "turns"), read=_asked, fits=_of_strings)
ANSWERS: Reader[Answered] = Reader(
    format=NAME, fields=("question_id", "model_id", "choices"), read=_answered, fits=_of_plain_turns
)
MARKS: Reader[Judged] = Reader(format=NAME, fields=("question_id", "model", "judge", "score"), read=_marked)
PAIRS: Reader[Judged] = Reader(
    format=NAME, fields=("question_id", "model_1", "model_2", "judge", "g1_winner", "g2_winner"), read=_judged
)
VOTES: Reader[Judged] = Reader(
    format=NAME, fields=("question_id", "model_a", "model_b", "judge", "winner"), read=_voted
)
GOLD = ("question_id", "conversation_a", "conversation_b", "winner")
