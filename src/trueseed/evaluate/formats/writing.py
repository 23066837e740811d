"""Answers, verdicts and marks, out: as the field's own scripts read them, in the layout that they look for.

    for name, content in files(sheet, "mt-bench").items(): ...      # path in the folder, bytes

Every row has one more member, `trueseed`: whose model spoke, or judged. Their scripts ignore it. Models and judges go
by names that may be file names: `own/sprout` is `own__sprout`; `origins.json` says which is whose.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trueseed.errors import ConfigError
from trueseed.evaluate.conversation import Conversations
from trueseed.evaluate.formats import alpaca_eval, arena_hard, mt_bench
from trueseed.evaluate.formats.row import OURS, Mark, Row
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.verdicts import Verdict

ORIGINS_FILE = "origins.json"
_BOTH = 2  # orders


@dataclass(frozen=True, kw_only=True)
class Side:
    """A model's answers, by sample. name: in the files. origin: whose it is, and what it learned from."""

    name: str
    answers: Mapping[str, str]
    origin: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What is written: of one task. Models and judges by their names in the files. judges: their origins."""

    samples: Sequence[Sample]
    sides: Sequence[Side]
    verdicts: Sequence[Verdict] = ()
    marks: Sequence[Mark] = ()
    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def origins(self) -> dict[str, Any]:
        return {"models": {side.name: dict(side.origin) for side in self.sides}, "judges": dict(self.judges)}

    def place(self, sample: str) -> tuple[str, int]:
        """The question that its conversation began with, and its turn, from 1."""
        turns = self._talk.turns(self._talk.sample(sample))
        return turns[0].id, len(turns)

    @cached_property
    def _talk(self) -> Conversations:
        return Conversations(self.samples)

    def of(self, name: str) -> Side:
        return next(side for side in self.sides if side.name == name)


def file_name(source: str) -> str:
    """A name for a model that can be one of a file.

    >>> file_name("huggingfacetb/smollm2-135m-instruct@weights")
    'huggingfacetb__smollm2-135m-instruct@weights'
    """
    return source.replace("/", "__")


def files(sheet: Sheet, form: str) -> dict[str, bytes]:
    """By path in the folder. Raises `ConfigError` for an unknown format, and for what it cannot hold."""
    if form not in FORMS:
        raise ConfigError(f"there is no format {form!r}; the formats are {', '.join(FORMS)}")
    found = dict(FORMS[form](sheet))
    return {**found, ORIGINS_FILE: (json.dumps(sheet.origins, indent=1, ensure_ascii=False) + "\n").encode()}


def _lines(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _list(rows: Iterable[Row]) -> bytes:
    return (json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n").encode()


def _one_turn(sheet: Sheet, form: str) -> None:
    if any(sample.follows for sample in sheet.samples):
        raise ConfigError(f"{form} has no questions of several turns; write these as mt-bench")


def _by_judge(verdicts: Iterable[Verdict]) -> Iterator[tuple[str, str, str, str, dict[str, Verdict]]]:
    """Judge, sample, a, b, and what was said in each order, by its name."""
    found: defaultdict[tuple[str, str, str, str], dict[str, Verdict]] = defaultdict(dict)
    for each in verdicts:
        found[each.judge, each.sample, each.a, each.b][each.order] = each
    for key, said in found.items():
        yield (*key, said)


# ------------------------------------------------------------------------------------------------------------- MT-bench


def _id(question: str) -> int | str:
    return int(question) if question.isdigit() else question


def _mt_bench(sheet: Sheet) -> Iterator[tuple[str, bytes]]:
    conversations: defaultdict[int | str, list[Sample]] = defaultdict(list)
    for sample in sheet.samples:
        conversations[_id(sheet.place(sample.id)[0])].append(sample)
    yield (
        "question.jsonl",
        _lines(
            {
                "question_id": name,
                "category": turns[0].row.get("category", ""),
                "turns": [each.prompt for each in turns],
            }
            for name, turns in conversations.items()
        ),
    )
    for side in sheet.sides:
        rows = (
            {
                "question_id": name,
                "answer_id": f"{side.name}:{name}",
                "model_id": side.name,
                "choices": [{"index": 0, "turns": [side.answers[each.id] for each in turns]}],
                OURS: dict(side.origin),
            }
            for name, turns in conversations.items()
        )
        yield f"model_answer/{side.name}.jsonl", _lines(rows)
    yield from _by_file((f"model_judgment/{judge}_pair.jsonl", row) for judge, row in _pairs(sheet))
    yield from _by_file((f"model_judgment/{mark.judge}_single.jsonl", _single(mark, sheet)) for mark in sheet.marks)


def _pairs(sheet: Sheet) -> Iterator[tuple[str, Row]]:
    sides = {"a": "model_1", "b": "model_2", "tie": "tie"}
    for judge, sample, a, b, said in _by_judge(sheet.verdicts):
        games = [(game, said.get(order)) for game, order in mt_bench.GAMES]
        question, turn = sheet.place(sample)
        row = {"question_id": _id(question), "model_1": a, "model_2": b, "judge": [judge, "trueseed"]}
        row |= {f"{game}_winner": sides[each.winner] if each else mt_bench.ERROR for game, each in games}
        row |= {f"{game}_judgment": each.reason or "" if each else "" for game, each in games}
        yield judge, {**row, "turn": turn, OURS: dict(sheet.judges[judge])}


def _single(mark: Mark, sheet: Sheet) -> Row:
    question, turn = sheet.place(mark.sample)
    return {
        "question_id": _id(question),
        "model": mark.model,
        "judge": [mark.judge, "trueseed"],
        "judgment": mark.reason,
        "score": mark.score,
        "turn": turn,
        OURS: dict(sheet.judges[mark.judge]),
    }


def _by_file(rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, bytes]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for path, row in rows:
        found[path].append(row)
    for path, of_path in found.items():
        yield path, _lines(of_path)


# ----------------------------------------------------------------------------------------------------------- arena-hard


def _arena_hard(sheet: Sheet) -> Iterator[tuple[str, bytes]]:
    """Rows are of v2.0 and of v0.1 at once: the one's members beside the other's."""
    _one_turn(sheet, arena_hard.NAME)
    if sheet.marks:
        raise ConfigError(f"{arena_hard.NAME} has verdicts on pairs, and no marks; write these as mt-bench")
    yield "question.jsonl", _lines(_asked(sample) for sample in sheet.samples)
    for side in sheet.sides:
        yield f"model_answer/{side.name}.jsonl", _lines(_answer(sample, side) for sample in sheet.samples)
    category = {sample.id: _category(sample) for sample in sheet.samples}
    yield from _by_file(
        (f"model_judgment/{judge}/{a}.jsonl", _games(sheet, judge, sample, a, b, said, category[sample]))
        for judge, sample, a, b, said in _by_judge(sheet.verdicts)
    )


def _category(sample: Sample) -> str:
    return str(sample.row.get("category") or "hard_prompt")


def _asked(sample: Sample) -> Row:
    ids = {"uid": sample.id, "question_id": sample.id, "category": _category(sample)}
    return {**ids, "prompt": sample.prompt, "turns": [{"content": sample.prompt}]}


def _answer(sample: Sample, side: Side) -> Row:
    said = side.answers[sample.id]
    style = arena_hard.style(said)
    messages = [{"role": "user", "content": sample.prompt}, {"role": "assistant", "content": {"answer": said}}]
    choices = [{"index": 0, "turns": [{"content": said, "token_len": style["token_len"]}]}]
    return {
        "uid": sample.id,
        "ans_id": f"{side.name}:{sample.id}",
        "model": side.name,
        "messages": messages,
        "metadata": style,
        "question_id": sample.id,
        "model_id": side.name,
        "choices": choices,
        "conv_metadata": style,
        OURS: dict(side.origin),
    }


def _games(sheet: Sheet, judge: str, sample: str, a: str, b: str, said: Mapping[str, Verdict], category: str) -> Row:
    games: list[Row] = []
    for _, order in arena_hard.GAMES:
        found = said.get(order)
        score = arena_hard.grade(found) if found else None
        games.append({"score": score, "judgment": {"answer": found.reason or "" if found else ""}, "prompt": []})
    return {
        "uid": sample,
        "question_id": sample,
        "category": category,
        "judge": judge,
        "model": a,
        "baseline": b,
        "games": games,
        OURS: dict(sheet.judges[judge]),
    }


# ----------------------------------------------------------------------------------------------------------- AlpacaEval


def _alpaca_eval(sheet: Sheet) -> Iterator[tuple[str, bytes]]:
    _one_turn(sheet, alpaca_eval.NAME)
    if sheet.marks:
        raise ConfigError(f"{alpaca_eval.NAME} has verdicts on pairs, and no marks; write these as mt-bench")
    for side in sheet.sides:
        yield f"{side.name}/model_outputs.json", _list(_output(sample, side) for sample in sheet.samples)
    judged: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    samples = {sample.id: sample for sample in sheet.samples}
    for judge, sample, a, b, said in _by_judge(sheet.verdicts):
        if len(said) == _BOTH or "" in said:
            judged[judge, a].append(_annotation(sheet, samples[sample], (judge, a, b), said))
    for (judge, a), rows in judged.items():
        yield f"{a}/{judge}/annotations.json", _list(rows)
        if len(rows) > 1:
            yield f"{a}/{judge}/leaderboard.csv", _leaderboard(a, rows)


def _output(sample: Sample, side: Side) -> Row:
    return {
        "instruction": sample.prompt,
        "output": side.answers[sample.id],
        "generator": side.name,
        "dataset": sample.row.get("dataset", ""),
        "id": sample.id,
        OURS: dict(side.origin),
    }


def _annotation(sheet: Sheet, sample: Sample, who: tuple[str, str, str], said: Mapping[str, Verdict]) -> Row:
    """preference: what both orders say, and a tie where they differ; of a judge that tells its odds, their mean."""
    judge, a, b = who
    return {
        "instruction": sample.prompt,
        "output_1": sheet.of(b).answers[sample.id],
        "generator_1": b,
        "output_2": sheet.of(a).answers[sample.id],
        "generator_2": a,
        "dataset": sample.row.get("dataset", ""),
        "annotator": judge,
        "preference": 1 + _worth(list(said.values())),
        "id": sample.id,
        OURS: dict(sheet.judges[judge]),
    }


def _worth(said: Sequence[Verdict]) -> float:
    if all(each.share is None for each in said) and len({each.winner for each in said}) > 1:
        return 0.5
    return sum(each.worth for each in said) / len(said)


def _leaderboard(model: str, rows: Sequence[Row]) -> bytes:
    found = alpaca_eval.leaderboard_row([row["preference"] for row in rows], [row["output_2"] for row in rows])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["", *found])
    table.writerow([model, *found.values()])
    return text.getvalue().encode()


FORMS: Mapping[str, Callable[[Sheet], Iterator[tuple[str, bytes]]]] = {
    "alpaca-eval": _alpaca_eval,
    "mt-bench": _mt_bench,
    "arena-hard": _arena_hard,
}
