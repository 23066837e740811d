"""What lm-evaluation-harness wrote, as our scores: its results file, and its samples where it logged them.

With samples every metric that is a sum over them is summed again (`harness_samples`), so that it has an interval, can
be paired with another model's, and a results file that does not follow from its own samples is noticed. Any other keeps
the standard error that the harness reported, and one that has none is left out by name.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trueseed.errors import Broken, ConfigError
from trueseed.evaluate.harness_samples import Logged, Sums, by_filter, in_words, logged, number, summed
from trueseed.evaluate.scorers import Kind
from trueseed.evaluate.stats import Measured

SCORER = "lm-evaluation-harness"
_SUFFIX = "_stderr"
_NOT_METRICS = {"alias", "name", "sample_len", "sample_count", "bypass"}  # the last of runs that only answer
_CLOSE = 1e-6
AS_REPORTED = "as reported, normal"  # of metrics that were not summed again
_FEWEST = "an interval needs two: run it again with more (`--limit 2` at least)"


class _Counted(BaseModel):
    effective: int = Field(ge=0)


class _Configured(BaseModel):
    metric_list: list[dict[str, Any]] | None = None


class Reported(BaseModel):
    """A results file, as far as it is read; what `simple_evaluate` returns is the same."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    results: dict[str, dict[str, Any]] = Field(min_length=1)
    versions: dict[str, Any] = {}
    shots: dict[str, int | None] = Field(default={}, alias="n-shot")
    counted: dict[str, _Counted] = Field(default={}, alias="n-samples")
    higher_is_better: dict[str, dict[str, bool | None] | None] = {}
    configs: dict[str, _Configured] = {}
    config: dict[str, Any] = {}
    chat_template: str | None = None
    lm_eval_version: str | None = None

    def samples(self, task: str) -> int:
        """How many there were; 0 where that is not said."""
        if task in self.counted:
            return self.counted[task].effective
        said = self.results[task].get("sample_len")
        return said if isinstance(said, int) else 0

    def aggregation(self, task: str, metric: str) -> str | None:
        """As `harness_samples.summed` takes it."""
        listed = (self.configs[task].metric_list or []) if task in self.configs else []
        for each in listed:
            if each.get("metric") == metric:
                return str(each.get("aggregation", ""))
        own = any("def " in str(each.get("metric")) for each in listed)  # functions of the task's, without their names
        return None if own else ""

    def less_is_better(self, task: str, metric: str) -> bool:
        return (self.higher_is_better.get(task) or {}).get(metric) is False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One task. kinds: of the metrics that are sums over samples. lower: those of which less is better. docs: the
    samples themselves, by id. lines: what came of them, as `evaluate.score` writes them. left_out: metrics that are no
    numbers, or have no error.
    """

    task: str
    version: str
    shots: int | None
    samples: int
    metrics: Mapping[str, Measured]
    kinds: Mapping[str, Kind]
    lower: Sequence[str]
    docs: Mapping[str, Mapping[str, Any]]
    lines: Sequence[Mapping[str, Any]]
    left_out: Sequence[str]


def sample_id(task: str, doc_id: int) -> str:
    return f"{task}:{doc_id}"


def read(file: Path, samples: Sequence[Path]) -> tuple[list[Result], Reported]:
    """results_….json and its samples_….jsonl, and all that the file says. Raises as `results`."""
    found = reported(_json(file), repr(file.name))
    rows: dict[str, list[Any]] = {}
    for path in samples:
        named = [task for task in found.results if path.name.startswith(f"samples_{task}_")]
        if not named:
            raise ConfigError(f"{path.name!r} belongs to no task of {file.name!r}: {', '.join(found.results)}")
        task = max(named, key=len)  # `arc` and `arc_easy` begin alike
        if task in rows:
            raise ConfigError(f"{path.name!r}: samples of task {task!r} were given before; give one file of each task")
        rows[task] = [_parsed(line, f"{path.name!r}, line {n}") for n, line in enumerate(_lines(path), start=1)]
        if not rows[task]:
            raise ConfigError(f"{path.name!r} holds no samples; leave it out, or write it again with --log_samples")
    return list(results(found, rows, repr(file.name))), found


def reported(said: Any, where: str) -> Reported:
    """Raises `ConfigError` for what is no results file."""
    try:
        return Reported.model_validate(said)
    except ValidationError as err:
        raise ConfigError(
            f"{where} is no results file of lm-evaluation-harness: {in_words(err)}; give the results_….json "
            f"that it wrote with --output_path, as it is"
        ) from err


def results(found: Reported, rows: Mapping[str, Sequence[Logged]], where: str) -> Iterator[Result]:
    """rows: of each task that was logged. where: for errors.

    Raises `Broken` when a reported value does not follow from the samples, and `ConfigError`, naming the task, for an
    id that comes twice, for fewer samples than two, and for what is no number.
    """
    for task, said in found.results.items():
        yield _result(task, said, found, rows.get(task, ()), f"{where}, task {task!r}")


def _result(task: str, said: Mapping[str, Any], found: Reported, rows: Sequence[Logged], where: str) -> Result:
    filters = by_filter(rows, where)
    n = max(map(len, filters.values()), default=found.samples(task))
    if rows and n < 2:
        raise ConfigError(f"{where}: 1 sample is logged, and {_FEWEST}")
    if rows and n < (told := found.samples(task)):  # more are logged where some count for nothing
        raise Broken(f"{where}: {told} samples are reported, and {n} are logged: one of both was changed")
    metrics, sums, left_out = dict[str, Measured](), dict[str, Sums](), []
    for name, value, se in _values(said, where):
        metric, _, filtered = name.partition(",")
        again = _summed(metric, filters.get(filtered, ()), value, found.aggregation(task, metric), f"{where}: {name}")
        if again is not None:
            metrics[name], sums[name] = again.measured(), again
        elif value is not None and se is not None and n >= 2:
            metrics[name] = _as_reported(value, se, n)
        else:
            left_out.append(name)
    return Result(
        task=task,
        version=str(found.versions.get(task, "")),
        shots=found.shots.get(task),
        samples=n,
        metrics=metrics,
        kinds={name: each.kind for name, each in sums.items()},
        lower=[name for name in metrics if found.less_is_better(task, name.partition(",")[0])],
        docs={sample_id(task, row.doc_id): row.doc for row in next(iter(filters.values()), ())},
        lines=list(_sample_lines(task, next(iter(filters.values()), ()), sums)),
        left_out=left_out,
    )


def _values(said: Mapping[str, Any], where: str) -> Iterator[tuple[str, float | None, float | None]]:
    """Metrics (`acc,none`) with their values and standard errors, as far as they are numbers."""
    for name, value in said.items():
        metric, comma, filtered = name.partition(",")
        if not comma or metric.endswith(_SUFFIX) or metric in _NOT_METRICS:
            continue
        yield name, _score(value, f"{where}: {name}"), _error(said.get(f"{metric}{_SUFFIX},{filtered}"))


def _score(value: Any, where: str) -> float | None:
    """None for what is no number, as `N/A`. Raises `ConfigError` for NaN and what is infinite."""
    if not isinstance(value, int | float):
        return None
    try:
        return number(value)
    except ValueError as err:
        raise ConfigError(
            f"{where} is {str(value)[:40]}, which is no score: the run went wrong, or the file was changed. Run the "
            f"task again, or take this metric out of the file"
        ) from err


def _error(value: Any) -> float | None:
    """None where there is none, as `N/A`."""
    try:
        return se if (se := number(value)) >= 0 else None
    except ValueError:
        return None


def _summed(
    metric: str, rows: Sequence[Logged], value: float | None, aggregation: str | None, where: str
) -> Sums | None:
    """None where there are no samples, or they have no part in it."""
    if value is None or not rows or not all(row.has(metric) for row in rows):
        return None
    try:
        found = summed(metric, [row.value(metric) for row in rows], aggregation)
        again = found.value if found else value
    except ValueError as err:
        raise ConfigError(f"{where}: of a sample it is no number ({err}); run the task again") from err
    if math.isclose(again, value, rel_tol=_CLOSE, abs_tol=_CLOSE):
        return found
    assert found
    if found.sure:
        raise Broken(f"{where} is reported as {value}, and its samples give {again}: one of both was changed")
    return None


def _as_reported(value: float, se: float, n: int) -> Measured:
    return Measured(value=value, se=se, low=value - 1.96 * se, high=value + 1.96 * se, n=n, method=AS_REPORTED)


def _sample_lines(task: str, rows: Sequence[Logged], sums: Mapping[str, Sums]) -> Iterator[Mapping[str, Any]]:
    """A line a sample, with the counts of every filter, named as in the results."""
    for at, row in enumerate(rows):
        counts = {name: list(each.pairs[at]) for name, each in sums.items()}
        yield {"id": sample_id(task, row.doc_id), "asked": row.asked, "said": row.said, "counts": counts, "why": ""}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as err:
        raise ConfigError(f"results file {str(path)!r} cannot be read: {err}") from err


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"samples file {str(path)!r} cannot be read: {err}") from err


def _parsed(line: str, where: str) -> Logged:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{where}: not JSON ({err})") from err
    return logged(row, where)
