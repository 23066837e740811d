"""AlpacaEval (Dubois et al. 2023; package alpaca_eval 0.6): a JSON list, or JSON lines, of

    {"instruction", "output", "generator", "dataset"}                            outputs of one model
    {"instruction", "output_1", "generator_1", "output_2", "generator_2", "annotator", "preference"}   annotations

`preference` runs from 1 (output_1 is better) to 2; 1.5 is a tie, as 0 was in older files; none, or NaN, is no verdict.
Which of the two the annotator saw first is not written down. A model's leaderboard row counts output_2's wins.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trueseed.core.canonical import digest
from trueseed.evaluate.formats.row import Answered, Judged, Reader, Row, origin_in, text
from trueseed.evaluate.verdicts import Verdict, Winner

NAME = "AlpacaEval"
BASELINE, BETTER, TIE = 1.0, 2.0, 1.5


def prompt_id(instruction: str, dataset: str = "") -> str:
    """Of a prompt that has no id of its own."""
    return digest([dataset, instruction])


def _id(row: Row) -> str:
    return str(row["id"]) if row.get("id") is not None else prompt_id(text(row, "instruction"), _dataset(row))


def _dataset(row: Row) -> str:
    found = row.get("dataset") or ""
    if not isinstance(found, str):
        raise ValueError(f"'dataset' must be a string, not {found!r}"[:300])
    return found


def _asked(row: Row) -> Iterator[Row]:
    """The file of the benchmark's questions holds a model's outputs too: they are left out."""
    yield {"id": _id(row), "prompt": text(row, "instruction"), "dataset": _dataset(row)}


def _answered(row: Row) -> Iterator[Answered]:
    output = row["output"]
    if not isinstance(output, str):
        raise ValueError(f"'output' must be a string, not {output!r}"[:300])
    yield Answered(
        sample=_id(row),
        output=output,
        generator=str(row.get("generator") or ""),
        instruction=text(row, "instruction"),
        dataset=_dataset(row),
        said=origin_in(row),
    )


def preference(row: Row) -> float | None:
    """None where there is no verdict. Raises `ValueError` for what cannot be one."""
    found = row["preference"]
    if found is None or (isinstance(found, float) and math.isnan(found)):
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not (found == 0 or 1 <= found <= 2):
        raise ValueError(f"'preference' must be from 1 to 2, and not {found!r}")
    return TIE if found == 0 else float(found)


def _judged(row: Row) -> Iterator[Judged]:
    prefers = preference(row)
    if prefers is None:
        yield None
        return
    yield Verdict(
        sample=_id(row),
        a=text(row, "generator_2"),
        b=text(row, "generator_1"),
        winner="tie" if prefers == TIE else "a" if prefers > TIE else "b",
        order="",
        judge=text(row, "annotator"),
        share=prefers - 1,
        length_a=len(str(row.get("output_2", ""))),
        length_b=len(str(row.get("output_1", ""))),
    )


def gold(rows: Iterable[Row]) -> Iterator[Row]:
    """Pairs that people judged, one a pair of outputs: by the majority of its annotators. What is tied is no gold."""
    votes: defaultdict[tuple[str, str, str], Counter[Winner]] = defaultdict(Counter)
    for row in rows:
        one, other = text(row, "output_1"), text(row, "output_2")
        if (prefers := preference(row)) is not None and prefers != TIE and one != other:
            given = f"\n\n{row['input']}" if row.get("input") else ""
            votes[text(row, "instruction") + given, one, other]["b" if prefers > TIE else "a"] += 1
    for (prompt, one, other), counted in votes.items():
        if counted["a"] != counted["b"]:
            right, wrong = (one, other) if counted["a"] > counted["b"] else (other, one)
            yield {"id": digest([prompt, one, other])[:16], "prompt": prompt, "right": right, "wrong": wrong}


QUESTIONS: Reader[Row] = Reader(format=NAME, fields=("instruction",), read=_asked)
ANSWERS: Reader[Answered] = Reader(format=NAME, fields=("instruction", "output"), read=_answered)
VERDICTS: Reader[Judged] = Reader(
    format=NAME, fields=("instruction", "generator_1", "generator_2", "annotator", "preference"), read=_judged
)
GOLD = ("instruction", "output_1", "output_2", "preference")


def leaderboard_row(preferences: Sequence[float], outputs: Sequence[str]) -> Mapping[str, Any]:
    """As alpaca_eval's `get_winrate` counts, but for its length control, which needs the weights of its own set.

    preferences: 1 to 2, two or more. outputs: all of the model's.
    """
    won = [each - 1 for each in preferences]
    discrete = [0.5 if each == TIE else float(round(each) == BETTER) for each in preferences]
    return {
        "win_rate": 100 * statistics.fmean(won),
        "standard_error": 100 * statistics.stdev(won) / math.sqrt(len(won)),
        "n_wins": sum(each > 0.5 for each in won),
        "n_wins_base": sum(each < 0.5 for each in won),
        "n_draws": sum(each == 0.5 for each in won),
        "n_total": len(won),
        "discrete_win_rate": 100 * statistics.fmean(discrete),
        "mode": "community",
        "avg_length": int(statistics.fmean(map(len, outputs))),
    }
