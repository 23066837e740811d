"""Samples as lm-evaluation-harness logs them, as ours: what was asked and said, and what each counts for.

    found = summed("acc", [row.value("acc") for row in rows], "mean")     # a share, (1, 1) or (0, 1) a sample

A metric of the harness is a function over all samples. Where that function is one sum divided by another, as a mean, a
perplexity, or a share over lists are, a sample has a part in it and can be paired with another model's. Where it is
none (F1 over classes, BLEU), the metric is a number as reported.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from trueseed.errors import ConfigError
from trueseed.evaluate import stats
from trueseed.evaluate.scorers import Kind
from trueseed.evaluate.stats import Measured

NO_FILTER = "none"
_MEAN = "mean"
_OWN = {  # aggregations of metrics for which a task names none; of all others the mean (the harness's registry, 0.4.13)
    "perplexity": "perplexity",
    "word_perplexity": "weighted_perplexity",
    "byte_perplexity": "weighted_perplexity",
    "bits_per_byte": "bits_per_byte",
}


def _listed(said: Any) -> Any:
    """Arguments as lists: in files they have names (`gen_args_0`: `arg_0`, `arg_1`)."""
    each = list(said.values()) if isinstance(said, Mapping) else said
    return [list(one.values()) if isinstance(one, Mapping) else one for one in each] if isinstance(each, list) else said


class Logged(BaseModel):
    """A sample by one filter. arguments: of each request. resps: to each request, one for every repeat. Its metrics are
    extra members.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    doc_id: StrictInt = Field(ge=0)
    doc: dict[str, Any]
    arguments: Annotated[list[list[Any]], BeforeValidator(_listed)] = Field(min_length=1)
    resps: list[list[Any]]
    filter: str = NO_FILTER

    def has(self, metric: str) -> bool:
        return metric in (self.model_extra or {})

    def value(self, metric: str) -> Any:
        return (self.model_extra or {})[metric]

    @property
    def asked(self) -> list[dict[str, Any]]:
        """As `evaluate.score` writes requests."""
        return [_asked(request) for request in self.arguments]

    @property
    def said(self) -> list[dict[str, Any]]:
        """As `evaluate.score` writes answers, or likelihoods. Raises `ValueError` for what is neither."""
        if len(self.arguments) != len(self.resps):
            raise ValueError(f"of {len(self.arguments)} requests, {len(self.resps)} were answered")
        pairs = zip(self.arguments, self.resps, strict=True)
        return [_answer(request, answer) for request, answers in pairs for answer in answers]


def logged(row: Any, where: str) -> Logged:
    """Raises `ConfigError` for what is no sample."""
    try:
        found = Logged.model_validate(row)
        json.dumps([row, found.said], ensure_ascii=False).encode()
    except ValueError as err:  # a `ValidationError` is one
        raise ConfigError(f"{where}: not a sample of lm-evaluation-harness: {in_words(err)}") from err
    return found


def in_words(err: ValueError) -> str:
    """What is wrong, and where in the file's own names."""
    if not isinstance(err, ValidationError):
        return str(err)
    first = err.errors()[0]
    name = ".".join(map(str, first["loc"])) or "it"
    return f"it has no `{name}`" if first["type"] == "missing" else f"{name}: {first['msg']}"


def by_filter(rows: Sequence[Logged], where: str) -> dict[str, list[Logged]]:
    """Every filter's rows in the order of their ids. Raises `ConfigError` where one has an id twice, or lacks one."""
    found: dict[str, list[Logged]] = {}
    for row in sorted(rows, key=lambda row: row.doc_id):
        found.setdefault(row.filter, []).append(row)
    every = {row.doc_id for row in rows}
    for name, part in found.items():
        ids = Counter(row.doc_id for row in part)
        if twice := [each for each, n in ids.items() if n > 1]:
            raise ConfigError(f"{where}: samples of filter {name!r} hold the id {twice[0]} more than once")
        if missing := sorted(every - ids.keys()):
            raise ConfigError(f"{where}: filter {name!r} lacks the sample {missing[0]}, which another filter has")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """pairs: a sum, and what it is out of, of each sample. sure: whether the reported value must follow from them."""

    kind: Kind
    pairs: Sequence[tuple[float, float]]
    sure: bool

    @property
    def value(self) -> float:
        """Raises `ValueError` where it is out of nothing, or beyond all numbers."""
        top, bottom = (math.fsum(column) for column in zip(*self.pairs, strict=True))
        try:
            return math.exp(top / bottom) if self.kind == "perplexity" else top / bottom
        except ArithmeticError as err:
            raise ValueError(f"{top} out of {bottom} is no score") from err

    def measured(self) -> Measured:
        """Raises `ValueError` for fewer than two samples."""
        top, bottom = zip(*self.pairs, strict=True)
        if self.kind == "perplexity":
            return stats.perplexity_of(top, bottom)
        return stats.ratio(top, bottom, share=self.kind == "share")


def summed(metric: str, values: Sequence[Any], aggregation: str | None) -> Sums | None:
    """aggregation: a name, or the source of a function, as a task's `metric_list` has it; '' where it names none, None
    where that is not known. None for a metric in which samples have no part.

    Raises `ValueError` for a value that is no number.
    """
    how = _OWN.get(metric, _MEAN) if aggregation == "" else aggregation
    named = how is not None and how.isidentifier()
    if all(isinstance(each, list) for each in values):
        return _of_lists(values, how if named else None)
    numbers = [number(each) for each in values]
    if how == "perplexity":
        return Sums(kind="perplexity", pairs=[(-each, 1.0) for each in numbers], sure=True)
    if named and how != _MEAN:
        return None
    kind: Kind = "share" if all(0 <= each <= 1 for each in numbers) else "ratio"
    return Sums(kind=kind, pairs=[(each, 1.0) for each in numbers], sure=named)


def _of_lists(values: Sequence[list[Any]], name: str | None) -> Sums | None:
    """Log-likelihoods with their weights; or, by a function of the task's own, one verdict each of several parts."""
    if name in ("weighted_perplexity", "bits_per_byte"):
        if any(len(each) != 2 for each in values):
            raise ValueError("not a log-likelihood and its weight")
        pairs = [(-number(likely), number(weight)) for likely, weight in values]
        if name == "weighted_perplexity":
            return Sums(kind="perplexity", pairs=pairs, sure=True)
        return Sums(kind="ratio", pairs=[(nats / math.log(2), size) for nats, size in pairs], sure=True)
    if name is None and all(part in (0, 1) for each in values for part in each) and any(values):
        return Sums(kind="share", pairs=[(float(sum(each)), float(len(each))) for each in values], sure=False)
    return None


def number(value: Any) -> float:
    """Raises `ValueError` for what is none, or is not finite."""
    if isinstance(value, int | float) and abs(value) < math.inf:  # NaN is not below anything
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError(f"{str(value)[:40]!r} is no number")


def _asked(request: Sequence[Any]) -> dict[str, Any]:
    before = request[0] if isinstance(request[0], str) else json.dumps(request[0], ensure_ascii=False)
    if len(request) == 1:
        return {"before": "", "text": before}
    if isinstance(request[1], str):
        return {"before": before, "text": request[1]}
    return {"continues": before, "settings": request[1]}


def _answer(request: Sequence[Any], answer: Any) -> dict[str, Any]:
    if "continues" in _asked(request):
        return {"text": str(answer)}
    likely = answer[0] if isinstance(answer, list) and answer else answer
    nll = -float(likely)  # written as text, with whether it is the greedy one beside it
    if not math.isfinite(nll):
        raise ValueError(f"a log-likelihood is {likely}")
    return {"nll": nll}
