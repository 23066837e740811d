"""What lm-evaluation-harness wrote, as our scores: its results file, and its samples where it logged them.

With samples every metric is summed again from them, so that it has an interval, can be paired with another model's, and
a results file that does not follow from its own samples is noticed. Without samples a metric keeps the standard error
that the harness reported, and one that has none is left out by name.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trueseed.errors import Broken, ConfigError
from trueseed.evaluate import stats
from trueseed.evaluate.stats import Measured

SCORER = "lm-evaluation-harness"
_SUFFIX = "_stderr"
_NOT_METRICS = {"alias", "name", "sample_len", "sample_count"}
_CLOSE = 1e-6
AS_REPORTED = "as reported, normal"  # of metrics whose samples are not here


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One task. lines: samples as `evaluate.score` writes them. left_out: metrics reported without error."""

    task: str
    version: str
    shots: int | None
    samples: int
    metrics: Mapping[str, Measured]
    lines: Sequence[Mapping[str, Any]]
    left_out: Sequence[str]


def read(file: Path, samples: Sequence[Path]) -> tuple[list[Result], Mapping[str, Any]]:
    """results_….json and its samples_….jsonl, and all that the file says. Raises `ConfigError` for what is neither."""
    found = _json(file)
    if not isinstance(found.get("results"), dict):
        raise ConfigError(f"{str(file)!r} is no results file of lm-evaluation-harness: it has no `results`")
    logged: dict[str, list[Any]] = {}
    for path in samples:
        task = next((name for name in found["results"] if path.name.startswith(f"samples_{name}_")), None)
        if task is None:
            raise ConfigError(f"{path.name!r} belongs to no task of {file.name!r}: {', '.join(found['results'])}")
        logged[task] = [_parsed(line, path, number) for number, line in enumerate(_lines(path), start=1)]
    return list(results(found, logged)), found


def results(found: Mapping[str, Any], logged: Mapping[str, Sequence[Any]], *, seed: int = 7) -> Iterator[Result]:
    """found, logged: `results` and `samples` as `simple_evaluate` returns them.

    Raises `Broken` when a reported value does not follow from the samples, `ConfigError` for an id that comes twice and
    for what is no number.
    """
    for task, said in found["results"].items():
        by_filter = _by_filter(logged.get(task, ()))
        metrics: dict[str, Measured] = {}
        left_out = []
        for name, value, se in _reported(said):
            metric, _, filtered = name.partition(",")
            rows = by_filter.get(filtered, [])
            if rows and all(metric in row for row in rows):
                metrics[name] = _summed(task, name, [row[metric] for row in rows], value, seed)
            elif se is not None:
                metrics[name] = _as_reported(value, se, _samples(found, task))
            else:
                left_out.append(name)
        yield Result(
            task=task,
            version=str(found.get("versions", {}).get(task, "")),
            shots=found.get("n-shot", {}).get(task),
            samples=_samples(found, task),
            metrics=metrics,
            lines=list(_sample_lines(task, by_filter)),
            left_out=left_out,
        )


def _reported(said: Mapping[str, Any]) -> Iterator[tuple[str, float, float | None]]:
    """Metrics (`acc,none`) with their values and standard errors."""
    for name, value in said.items():
        metric, comma, filtered = name.partition(",")
        if not comma or metric.endswith(_SUFFIX) or metric in _NOT_METRICS or not isinstance(value, int | float):
            continue
        se = said.get(f"{metric}{_SUFFIX},{filtered}")
        yield name, float(value), float(se) if isinstance(se, int | float) and math.isfinite(se) else None


def _summed(task: str, name: str, values: Sequence[Any], reported: float, seed: int) -> Measured:
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ConfigError(f"{task}: a sample's {name} is no number")
    measured = stats.ratio([float(value) for value in values], [1.0] * len(values), seed=seed)
    if abs(measured.value - reported) > _CLOSE:
        raise Broken(
            f"{task}: {name} is reported as {reported}, and its samples give {measured.value}: one of both was changed"
        )
    return measured


def _as_reported(value: float, se: float, n: int) -> Measured:
    return Measured(value=value, se=se, low=value - 1.96 * se, high=value + 1.96 * se, n=n, method=AS_REPORTED)


def _by_filter(rows: Sequence[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(str(row.get("filter", "none")), []).append(row)
    for named, part in found.items():
        ids = [row["doc_id"] for row in part]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            raise ConfigError(f"samples of filter {named!r} hold the id {twice[0]} more than once")
    return found


def _sample_lines(task: str, by_filter: Mapping[str, Sequence[Any]]) -> Iterator[Mapping[str, Any]]:
    """A line a sample; counts of every filter together, named as in the results."""
    lines: dict[Any, dict[str, Any]] = {}
    for filtered, rows in by_filter.items():
        for row in rows:
            line = lines.setdefault(
                row["doc_id"],
                {
                    "id": f"{task}:{row['doc_id']}",
                    "asked": [row.get("arguments")],
                    "said": [{"response": each} for each in row.get("resps", [])],
                    "counts": {},
                    "why": "",
                },
            )
            line["counts"] |= {f"{name},{filtered}": [row[name], 1] for name in row.get("metrics", []) if name in row}
    yield from lines.values()


def _samples(found: Mapping[str, Any], task: str) -> int:
    return int(found.get("n-samples", {}).get(task, {}).get("effective", 0))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as err:
        raise ConfigError(f"results file {str(path)!r} cannot be read: {err}") from err
    if not isinstance(value, dict):
        raise ConfigError(f"{str(path)!r} is no results file of lm-evaluation-harness")
    return value


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"samples file {str(path)!r} cannot be read: {err}") from err


def _parsed(line: str, path: Path, number: int) -> Any:
    try:
        row = json.loads(line)
    except ValueError as err:
        raise ConfigError(f"{path.name!r}, line {number}: not JSON ({err})") from err
    if not isinstance(row, dict) or "doc_id" not in row:
        raise ConfigError(f"{path.name!r}, line {number}: not a sample: it has no `doc_id`")
    return row
