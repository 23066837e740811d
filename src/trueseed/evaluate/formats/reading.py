"""Published files, in: which format one is in is told by its fields, and by those of its first row alone.

    format, rows = task_rows(rows, "open")               # questions, as the scorer `open` reads them
    found = outputs(path, origin, task.samples)          # what a model answered once
    said = judgments(path)                               # who was better, for the arena

A file that is in none of them, and a row that is not as the first one, is a `ConfigError` that says what is missing.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any, TypeVar

from trueseed.errors import ConfigError
from trueseed.evaluate import verdicts
from trueseed.evaluate.formats import alpaca_eval, arena_hard, mt_bench
from trueseed.evaluate.formats.row import REFERENCE, Answered, Judged, Mark, Reader, Row, lacking, reader_of
from trueseed.evaluate.lines import json_lines, told
from trueseed.evaluate.outputs import Output, Outputs, Recorded
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.verdicts import Verdict

Numbered = tuple[int, Any]
T = TypeVar("T")

QUESTIONS = (*arena_hard.QUESTIONS, mt_bench.QUESTIONS, alpaca_eval.QUESTIONS)
ANSWERS = (alpaca_eval.ANSWERS, *arena_hard.ANSWERS, mt_bench.ANSWERS)
EVEN = 0.1  # points between two marks that are a tie, as FastChat has it


@dataclass(frozen=True, kw_only=True)
class Judgments:
    """What judges decided. format: of the file, '' for our own. none: judgments that were no verdict."""

    verdicts: Sequence[Verdict]
    format: str = ""
    none: int = 0


# ------------------------------------------------------------------------------------------------------------ questions


def task_rows(rows: Iterable[Numbered], scorer: str) -> tuple[str, Iterator[Numbered]]:
    """The format, '' for our own, and the rows as the scorer reads them: those of the scorers `open` and `gold` may be
    in a published one.
    """
    first, rows = _peeked(rows)
    if scorer == "gold":
        return _gold(first, rows)
    is_ours = scorer != "open" or ("prompt" in first and "uid" not in first)
    if is_ours or (reader := reader_of(first, QUESTIONS)) is None:
        return "", rows
    return reader.format, _each(rows, reader, QUESTIONS)


def _peeked(rows: Iterable[Numbered]) -> tuple[Row, Iterator[Numbered]]:
    """The first row that is one, and all of them."""
    rest, seen = iter(rows), list[Numbered]()
    for number, row in rest:
        seen.append((number, row))
        if isinstance(row, Mapping):
            return row, chain(seen, rest)
    return {}, iter(seen)


def _each(rows: Iterable[Numbered], reader: Reader[T], readers: Sequence[Reader[T]]) -> Iterator[tuple[int, Any]]:
    """What every row holds, with its number; a `ValueError` in the place of a row that is not as the first one."""
    for number, row in rows:
        try:
            if isinstance(row, ValueError):
                raise row
            if reader_of(row, readers) is not reader:
                raise ValueError(f"it is not as the first row, {reader.format}: {lacking(row, [reader])}")
            yield from ((number, found) for found in list(reader.read(row)))
        except ValueError as err:
            yield number, err
        except (KeyError, IndexError, TypeError, AttributeError) as err:
            yield number, ValueError(f"it is not as {reader.format} writes it ({err!r})")


def _gold(first: Row, rows: Iterator[Numbered]) -> tuple[str, Iterator[Numbered]]:
    """Pairs that people judged, put together by pair."""
    for form in (alpaca_eval, mt_bench):
        if "right" not in first and first.keys() >= set(form.GOLD):
            return form.NAME, iter(enumerate(form.gold(_whole(rows, form.GOLD)), start=1))
    return "", rows


def _whole(rows: Iterable[Numbered], fields: Sequence[str]) -> Iterator[Row]:
    for number, row in rows:
        if isinstance(row, ValueError) or not isinstance(row, Mapping) or not row.keys() >= set(fields):
            why = row if isinstance(row, ValueError) else f"it must have {', '.join(fields)}"
            raise ConfigError(f"line {number}: {why}")
        yield row


def with_references(rows: Iterable[Numbered], path: Path) -> Iterator[Numbered]:
    """Rows with the answer that judges are shown, where the file has one. Raises `ConfigError` where it has none."""
    found = {each.sample: each.output for each in _answered(path)[1]}
    met = 0
    for number, row in rows:
        if isinstance(row, Mapping) and str(row.get("id")) in found:
            met += 1
            row = {**row, REFERENCE: found[str(row["id"])]}
        yield number, row
    if not met:
        raise ConfigError(f"references: {str(path)!r} answers none of the task's questions; their ids must be the same")


# -------------------------------------------------------------------------------------------------------------- answers


def outputs(path: Path, origin: Recorded, asked: Sequence[Sample] = ()) -> Outputs:
    """What a model answered once. asked: the task's samples, for formats that hold no questions.

    Raises `ConfigError` naming every row (up to ten) that is wrong or comes twice, for several generators in one file,
    for none, and where the file says that somebody else spoke.
    """
    format, answered = _answered(path)
    by_id = {sample.id: sample for sample in asked}
    generators = {each.generator or path.stem for each in answered}
    if len(generators) != 1:
        raise ConfigError(f"{str(path)!r} holds the outputs of {len(generators)} generators; one file is one model's")
    says = {str(each.said["source"]) for each in answered if "source" in each.said} - {origin.source}
    if says:
        raise ConfigError(
            f"{str(path)!r} says that {', '.join(sorted(says))} spoke, and you that {origin.source} did; name the one "
            f"that is right"
        )
    rows = [_output(each, by_id) for each in answered]
    known = [row for row in rows if row is not None]
    if not known:
        why = "answers none of the task's questions" if asked else "holds no questions; name the task it answers"
        raise ConfigError(f"{str(path)!r} ({format}) {why}")
    return Outputs(generator=generators.pop(), origin=origin, rows=tuple(known), format=format)


def _answered(path: Path) -> tuple[str, list[Answered]]:
    reader, rows = _read(path, ANSWERS, "outputs")
    found: dict[str, Answered] = {}
    wrong: list[str] = []
    for number, each in _each(rows, reader, ANSWERS):
        if isinstance(each, ValueError):
            wrong.append(f"row {number}: {each}")
        elif each.sample in found:
            of = f" ({each.instruction[:40]!r})" if each.instruction else ""
            wrong.append(f"row {number}: {each.sample[:16]!r}{of} was answered before; give each row an `id`")
        else:
            found[each.sample] = each
    if wrong:
        raise told(wrong, f"{str(path)!r} does not hold outputs ({reader.format})")
    return reader.format, list(found.values())


def _output(answered: Answered, asked: Mapping[str, Sample]) -> Output | None:
    """None of a question that is not the task's, where only the task knows its words."""
    sample = asked.get(answered.sample)
    if not answered.instruction and sample is None:
        return None
    return Output(
        id=answered.sample,
        instruction=answered.instruction or (sample.prompt if sample else ""),
        output=answered.output,
        dataset=answered.dataset,
        follows=sample.follows if sample else "",
    )


# ------------------------------------------------------------------------------------------------------------- verdicts


def judgments(path: Path, baseline: str = "") -> Judgments:
    """baseline: whom the models of arena-hard v0.1 met, which its file does not say.

    Marks become verdicts of each two models on each sample, before each judge. Raises `ConfigError` as `verdicts.read`.
    """
    if path.suffix == ".parquet":
        return Judgments(verdicts=verdicts.read(path))
    first, rows = _peeked(_rows(path, "verdicts"))
    if first.keys() >= {"sample", "a", "b"}:
        return Judgments(verdicts=verdicts.read(path))
    readers = _judges(baseline)
    reader = reader_of(first, readers)
    if reader is None:
        ours = "our own needs sample, a, b, winner, order, judge"
        raise ConfigError(f"{str(path)!r} holds no verdicts: {lacking(first, readers)}; {ours}")
    wrong, said, none = list[str](), list[Judged](), 0
    for number, each in _each(rows, reader, readers):
        if isinstance(each, ValueError):
            wrong.append(f"line {number}: {each}")
        elif each is None:
            none += 1
        else:
            said.append(each)
    if wrong:
        raise told(wrong, f"{str(path)!r} does not hold verdicts ({reader.format})")
    decided = [each for each in said if isinstance(each, Verdict)]
    marks = [each for each in said if isinstance(each, Mark)]
    found = verdicts.merged([decided, list(_of_marks(marks))])
    if not found:
        raise ConfigError(f"{str(path)!r} holds no verdicts: of {none} judgments none decided")
    return Judgments(verdicts=found, format=reader.format, none=none)


def _judges(baseline: str) -> tuple[Reader[Judged], ...]:
    return (
        mt_bench.PAIRS,
        mt_bench.MARKS,
        mt_bench.VOTES,
        arena_hard.judgments(baseline),
        alpaca_eval.VERDICTS,
    )


def _of_marks(marks: Iterable[Mark]) -> Iterator[Verdict]:
    """Every two models that one judge marked on one sample. Raises `ConfigError` for a mark that comes twice."""
    groups: defaultdict[tuple[str, str], dict[str, Mark]] = defaultdict(dict)
    for mark in marks:
        group = groups[mark.judge, mark.sample]
        if mark.model in group:
            raise ConfigError(f"{mark.judge} marked {mark.model} on {mark.sample!r} before")
        group[mark.model] = mark
    for (judge, sample), group in groups.items():
        for one, other in combinations(sorted(group), 2):
            ahead = group[one].score - group[other].score
            winner: verdicts.Winner = "tie" if abs(ahead) <= EVEN else "a" if ahead > 0 else "b"
            yield Verdict(sample=sample, a=one, b=other, winner=winner, order="", judge=judge)


# -------------------------------------------------------------------------------------------------------------- reading


def _read(path: Path, readers: Sequence[Reader[T]], what: str) -> tuple[Reader[T], Iterator[Numbered]]:
    first, rows = _peeked(_rows(path, what))
    reader = reader_of(first, readers)
    if reader is None:
        raise ConfigError(f"{str(path)!r} holds no {what}: {lacking(first, readers) if first else 'no row at all'}")
    return reader, rows


def _rows(path: Path, what: str) -> Iterator[Numbered]:
    """By row, from 1. Raises `ConfigError` for a file that cannot be read."""
    if path.suffix != ".json":
        return json_lines(path, what)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise ConfigError(f"{what}: {str(path)!r} cannot be read: {err}") from err
    if not isinstance(rows, list):
        raise ConfigError(f"{what}: {str(path)!r} must be a JSON list of rows, or JSON lines in a .jsonl file")
    return iter(enumerate(rows, start=1))
