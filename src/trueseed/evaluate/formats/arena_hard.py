"""arena-hard (Li et al. 2024; arena-hard-auto v0.1 and v2.0): JSON lines of

    {"uid", "category", "prompt"}                                           question.jsonl; v0.1: question_id, turns
    {"uid", "model", "messages": […, {"role", "content": {"answer"}}]}      model_answer;   v0.1: question_id, choices
    {"uid", "category", "judge", "model", "baseline", "games"}              model_judgment; v0.1: without a baseline

A judgment is two games of {"score"}: in the first the baseline is shown as A, in the second as B. A score is one of
five grades, from `A>>B` to `B>>A`, or none. In its ratings a side that is much better (`>>`) counts as three verdicts.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trueseed.evaluate.formats.row import (
    Answered,
    Judged,
    Reader,
    Row,
    chosen_turns,
    origin_in,
    question_id,
    text,
    turn_id,
)
from trueseed.evaluate.verdicts import Order, Verdict, Winner

NAME = "arena-hard"
MUCH = 3  # verdicts that a much better answer counts as, as arena-hard's `weight`
V01_BASELINE = "gpt-4-0314"
_IDS = ("uid", "question_id")  # of v2.0, of v0.1
_GRADES: Mapping[str, tuple[str, bool]] = {
    "A>>B": ("A", True), "A>B": ("A", False), "A=B": ("", False), "A<B": ("B", False), "A<<B": ("B", True),
    "B>>A": ("B", True), "B>A": ("B", False), "B=A": ("", False), "B<A": ("A", False), "B<<A": ("A", True),
}  # fmt: skip
# Of a = the model and b = the baseline: who is A in each game, and which order that is.
GAMES: tuple[tuple[Mapping[str, Winner], Order], ...] = (
    ({"A": "b", "B": "a", "": "tie"}, "ba"),
    ({"A": "a", "B": "b", "": "tie"}, "ab"),
)


def grade(verdict: Verdict) -> str:
    """How arena-hard says it, of a = the model and b = the baseline.

    >>> grade(Verdict(sample="1", a="m", b="base", winner="a", order="ba", judge="j", much=True))
    'B>>A'
    """
    sides, _ = GAMES[0] if verdict.order == "ba" else GAMES[1]
    if verdict.winner == "tie":
        return "A=B"
    first = next(side for side, winner in sides.items() if winner == verdict.winner)
    return f"{first}{'>>' if verdict.much else '>'}{'B' if first == 'A' else 'A'}"


def _id(row: Row) -> int | str:
    return question_id(row, *_IDS)


def _asked(row: Row) -> Iterator[Row]:
    yield {"id": turn_id(_id(row), 1), "prompt": text(row, "prompt"), "category": str(row.get("category", ""))}


def _asked_v01(row: Row) -> Iterator[Row]:
    if len(row["turns"]) != 1:
        raise ValueError(f"'turns' must hold the one question, and holds {len(row['turns'])}")
    yield {"id": turn_id(_id(row), 1), "prompt": text(row["turns"][0], "content"), "category": row.get("category", "")}


def _answered(row: Row) -> Iterator[Answered]:
    messages = row["messages"]
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise ValueError(f"'messages' must be a chat that ends in the answer, not {messages!r}"[:300])
    asked = [each["content"] for each in messages if each.get("role") == "user" and isinstance(each["content"], str)]
    yield Answered(
        sample=turn_id(_id(row), 1),
        output=_told(messages[-1].get("content")),
        generator=text(row, "model"),
        instruction=asked[-1] if asked else "",
        said=origin_in(row),
    )


def _answered_v01(row: Row) -> Iterator[Answered]:
    turns = row["choices"][0]["turns"]
    yield Answered(
        sample=turn_id(_id(row), 1), output=_told(turns[0]), generator=text(row, "model_id"), said=origin_in(row)
    )


def _told(content: Any) -> str:
    """`{"answer": …}`, `{"content": …}`, or the words themselves."""
    found = content
    if isinstance(content, Mapping):
        found = content["answer"] if "answer" in content else content.get("content")
    if not isinstance(found, str):
        raise ValueError(f"the answer must be a string, or an object that holds one, not {content!r}"[:300])
    return found


def judgments(baseline: str = "") -> Reader[Judged]:
    """baseline: whom the model met, where the file does not say."""

    def judged(row: Row) -> Iterator[Judged]:
        met = row.get("baseline") or baseline
        if not met:
            raise ValueError(
                f"it does not say which baseline the model met; name it (--baseline; of arena-hard v0.1 it is "
                f"{V01_BASELINE})"
            )
        games = row["games"]
        if not isinstance(games, list) or not 0 < len(games) <= len(GAMES):
            raise ValueError(f"'games' must be a list of two, not {games!r}"[:300])
        for (sides, order), game in zip(GAMES, games, strict=False):
            yield _verdict(row, str(met), sides, order, game)

    return Reader(
        format=NAME, fields=("model", "judge", "games"), read=judged, fits=lambda row: any(name in row for name in _IDS)
    )


def _verdict(row: Row, baseline: str, sides: Mapping[str, Winner], order: Order, game: Any) -> Judged:
    """None where the game has no grade."""
    if game is None or (isinstance(game, Mapping) and game.get("score") is None):
        return None
    said = game.get("score") if isinstance(game, Mapping) else game
    if not isinstance(said, str) or said not in _GRADES:
        raise ValueError(f"the score of a game must be one of A>>B, A>B, A=B, B>A and B>>A, and not {said!r}"[:300])
    first, much = _GRADES[said]
    judgment = game.get("judgment", "")
    return Verdict(
        sample=turn_id(_id(row), 1),
        a=text(row, "model"),
        b=baseline,
        winner=sides[first],
        order=order,
        judge=text(row, "judge"),
        reason=judgment if isinstance(judgment, str) else str(judgment.get("answer", "")),
        much=much,
    )


def _of_contents(row: Row) -> bool:
    turns = row["turns"]
    return isinstance(turns, list) and bool(turns) and all(isinstance(each, dict) for each in turns)


def _of_turns_with_content(row: Row) -> bool:
    turns = chosen_turns(row)
    return bool(turns) and all(isinstance(each, dict) for each in turns)


QUESTIONS: tuple[Reader[Row], ...] = (
    Reader(format=NAME, fields=("uid", "prompt"), read=_asked),
    Reader(format=f"{NAME} v0.1", fields=("question_id", "turns"), read=_asked_v01, fits=_of_contents),
)
ANSWERS: tuple[Reader[Answered], ...] = (
    Reader(format=NAME, fields=("uid", "model", "messages"), read=_answered),
    Reader(
        format=f"{NAME} v0.1", fields=("question_id", "model_id", "choices"), read=_answered_v01,
        fits=_of_turns_with_content,
    ),
)  # fmt: skip

_HEADER = re.compile(r"^(#{1,6})\s", re.MULTILINE)
_NUMBERED, _BULLET = re.compile(r"^\s*\d+\.\s", re.MULTILINE), re.compile(r"^\s*[-*+]\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*")
_CODE = re.compile(r"```[^`]*```")


def style(answer: str) -> dict[str, Any]:
    """What its style control counts, outside code. Its `token_len` counts tokens of OpenAI's; here they are words."""
    told = _CODE.sub("", answer)
    heads = [len(each) for each in _HEADER.findall(told)]
    return {
        "token_len": len(answer.split()),
        "header_count": {f"h{level}": heads.count(level) for level in range(1, 7)},
        "list_count": {"ordered": len(_NUMBERED.findall(told)), "unordered": len(_BULLET.findall(told))},
        "bold_count": {"**": len(_BOLD.findall(told)), "__": 0},
    }
