"""One model's scores on a task, read back sample by sample, and two of them paired.

    one, two = read(scores), read(others)          # artifacts of `evaluate.score`
    found = compare(one, two)

Reading is strict: a sample that comes twice, counts for what is no number, or was answered by only one of the two stops
it. Scores that were not measured alike are compared, and it is said how they differ.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.plural import form, many
from trueseed.errors import ConfigError
from trueseed.evaluate import stats
from trueseed.evaluate.score import SAMPLES_FILE, SCORES_FILE
from trueseed.evaluate.scorers import Kind, named
from trueseed.evaluate.stats import Measured
from trueseed.ledger.looks import Looks
from trueseed.terms.model import parse_source
from trueseed.worth import of_training

LOW_IS_GOOD = frozenset({"perplexity", "bits_per_byte"})  # of all other metrics of our scorers, more is better
NO_MERIT = frozenset({"characters"})  # of answers that only a judge can rank
GAIN = 0.03  # of which it is told how many samples it takes to see it


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A sample and what came of it. worth: 1 for all that it could count, 0 for none of it. asked, said, why: as of
    `Flip`.
    """

    id: str
    asked: str
    said: str
    why: str
    worth: float


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A model's scores. about: scores.json. lines: samples.jsonl by id, in its order. digest: of the artifact."""

    digest: str
    about: Mapping[str, Any]
    lines: Mapping[str, Mapping[str, Any]]

    @property
    def task(self) -> str:
        """Digest of the frozen samples."""
        return str(self.about["task"]["artifact"])

    @property
    def name(self) -> str:
        return str(self.about["task"]["name"])

    @property
    def source(self) -> str:
        return str(self.about["model"]["source"])

    @property
    def model(self) -> str:
        """Name of the model in a table: its source, and which weights, or which version, as far as that is known; and
        as what its server answered, where that is another name.
        """
        model = self.about["model"]
        weights = model.get("weights")
        on = model.get("recorded", model.get("version", {})).get("on")
        served = (name for name in model.get("served", ()) if name != parse_source(self.source).model)
        return " ".join(filter(None, (self.source, ", ".join(served), weights and weights[:8], on)))

    @property
    def identity(self) -> str:
        """Digest of all that decides who answers; how many are answered at a time does not."""
        said = dict(self.about["model"])
        if "engine" in said:
            said["engine"] = {name: value for name, value in said["engine"].items() if name != "slots"}
        return digest(said)

    @property
    def metric(self) -> str:
        """The one the scorer is known by."""
        return str(self.about["metric"])

    @property
    def contamination(self) -> tuple[str, ...]:
        """What of the samples the model was trained on, in words."""
        return tuple(of_training(self.about))

    def kind(self, metric: str) -> Kind:
        kinds = self.about["task"].get("kinds")  # of a task that is not of our scorers
        kind: Kind = kinds[metric] if kinds is not None else named(self.about["task"]["scorer"]).metrics[metric]
        return kind

    def less_is_better(self, metric: str) -> bool:
        return metric in LOW_IS_GOOD or metric in self.about["task"].get("lower_is_better", ())

    def measured(self, metric: str) -> Measured:
        """Raises `ConfigError` when it has no such metric."""
        self._must_have(metric)
        return Measured(**self.about["metrics"][metric])

    def counts(self, metric: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Sums and what they are out of, one of each a sample. Raises `ConfigError` when it has no such metric."""
        self._must_have(metric)
        if metric not in _of_samples(self.about):
            raise ConfigError(
                f"{self.name}: {metric} is known as it was reported, and not by sample; of each sample are known "
                f"{', '.join(_of_samples(self.about)) or 'none'}"
            )
        pairs = [line["counts"][metric] for line in self.lines.values()]
        return tuple(float(top) for top, _ in pairs), tuple(float(bottom) for _, bottom in pairs)

    def _must_have(self, metric: str) -> None:
        if metric not in self.about["metrics"]:
            raise ConfigError(f"{self.name} has no metric {metric!r}; it has {', '.join(self.about['metrics'])}")

    def values(self, metric: str) -> tuple[float, ...]:
        """What each sample is worth, more being better; 0 of nothing. Raises `ConfigError` when nothing is better."""
        if metric in NO_MERIT:
            raise ConfigError(
                f"{self.name}: {metric} say how much was answered, and not how well; let a judge compare two of them "
                f"(`trueseed judge pairwise`), or all (`trueseed arena --task {self.name} --judge MODEL --verdicts N`)"
            )
        sign = -1.0 if self.less_is_better(metric) else 1.0
        return tuple(sign * top / bottom if bottom else 0.0 for top, bottom in zip(*self.counts(metric), strict=True))

    def answered(self) -> tuple[Answered, ...]:
        """Every sample by the metric that the scorer is known by; none where that is no share of right ones."""
        if self.metric not in _of_samples(self.about) or self.kind(self.metric) != "share":
            return ()
        return tuple(
            Answered(id=name, asked=_asked(line), said=_said(line), why=line["why"], worth=worth)
            for (name, line), worth in zip(self.lines.items(), self.values(self.metric), strict=True)
        )

    def influences(self, metric: str) -> NDArray[np.float64]:
        """How far each sample moves the score (N), more being better: zero on average, and their variance by N is that
        of the score, as far as it is a straight line in the sums (Hampel 1974).
        """
        top, bottom = (np.array(each, float) for each in self.counts(metric))
        value = top.sum() / bottom.sum()
        steep = math.exp(value) if self.kind(metric) == "perplexity" else 1.0
        sign = -1.0 if self.less_is_better(metric) else 1.0
        return np.asarray(sign * steep * (top - value * bottom) / bottom.mean())


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A sample that counts otherwise. asked: what both were asked; '' where that is not one text. a, b: what it is
    worth, more being better. said_a, said_b: the first answers.
    """

    id: str
    asked: str
    a: float
    b: float
    said_a: str
    said_b: str
    why_a: str
    why_b: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """B beside A on one task. difference: B − A. p: of that by chance; holm: corrected for the tasks it was tested on
    beside this one. better, worse: samples of B. detectable: the least difference that so many samples show four times
    of five. needed: samples to see one of `GAIN`. apart: in what the two were not measured alike. held: what of the
    samples each of them was trained on, in words. looks: at the samples, so far. tested: comparisons made at once.
    scores: digests of the two artifacts.
    """

    task: str
    metric: str
    models: tuple[str, str]
    a: Measured
    b: Measured
    difference: Measured
    p: float
    test: str
    better: int
    worse: int
    flips: tuple[Flip, ...]
    apart: tuple[str, ...]
    lower_is_better: bool = False
    held: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    looks: Looks | None = None
    scores: tuple[str, str] = ("", "")
    tested: int = 1
    holm: float = math.nan

    @cached_property
    def detectable(self) -> float:
        return stats.detectable(self.difference.se)

    @cached_property
    def needed(self) -> int:
        return stats.needed(self.difference.se, self.difference.n, GAIN)

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "metric": self.metric,
            "lower_is_better": self.lower_is_better,
            "models": list(self.models),
            "scores": list(self.scores),
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "difference": self.difference.to_json(),
            "p": self.p,
            "p_holm": self.holm,
            "test": self.test,
            "better": self.better,
            "worse": self.worse,
            "detectable": self.detectable,
            "needed": {"gain": GAIN, "samples": self.needed},
            "apart": list(self.apart),
            "contamination": {name: list(said) for name, said in zip("ab", self.held, strict=True)},
            "looks": self.looks.to_json() if self.looks else None,
            "comparisons": self.tested,
            "flips": [flip.to_json() for flip in self.flips],
        }


def read(artifact: Artifact) -> Scored:
    """Raises `ConfigError` for scores of something else than a task, and for lines that are wrong."""
    if not (artifact.path(SCORES_FILE).is_file() and artifact.path(SAMPLES_FILE).is_file()):
        raise ConfigError(f"{artifact} holds no scores of a task; `trueseed evaluate` prints the name of one that does")
    about = json.loads(artifact.path(SCORES_FILE).read_bytes())
    if "metrics" not in about:
        raise ConfigError(
            f"{artifact} holds scores on a run's own sets; take one of a task, as `trueseed evaluate` makes"
        )
    if "judges" in about:
        raise ConfigError(
            f"{artifact} holds what a judge said, and no score by a task's own check; to set models side by side by a "
            f"judge let it compare them (`trueseed judge pairwise A B`), and rate those verdicts "
            f"(`trueseed arena scores:<digest>`)"
        )
    if "artifact" not in about["task"]:
        raise ConfigError(
            f"{artifact} holds what was reported of {about['task']['name']}, without its samples, which a comparison "
            f"needs: import it again with them (`trueseed harness MODEL --results FILE --samples FILE`)"
        )
    return of_lines(artifact.digest, about, artifact.path(SAMPLES_FILE).read_bytes().splitlines())


def of_lines(digest: str, about: Mapping[str, Any], lines: Sequence[str | bytes]) -> Scored:
    """Raises `ConfigError` for a sample that comes twice or counts for what is no number, and for none or too many."""
    found: dict[str, Mapping[str, Any]] = {}
    where = f"scores {digest[:12]} of {about['model']['source']} on {about['task']['name']}"
    for line in map(json.loads, lines):
        if line["id"] in found:
            raise ConfigError(f"{where}: sample {line['id']!r} comes twice; measure it again")
        for metric in _of_samples(about):
            counted = line["counts"].get(metric, [math.nan])
            if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in counted):
                raise ConfigError(f"{where}: sample {line['id']!r} counts {counted} for {metric}: that is no score")
        found[line["id"]] = line
    if len(found) != about["task"]["samples"]:
        raise ConfigError(f"{where}: {len(found)} samples are there, of {about['task']['samples']}; measure it again")
    return Scored(digest=digest, about=about, lines=found)


def _of_samples(about: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metrics in which samples have a part; of our scorers, all."""
    found: Mapping[str, Any] = about["task"].get("kinds", about["metrics"])
    return found


def compare(a: Scored, b: Scored, *, metric: str | None = None, seed: int = 0) -> Comparison:
    """metric: the scorer's own when left out. Raises `ConfigError` for scores on other samples."""
    if a.task != b.task:
        raise ConfigError(f"{a.model} was measured on {a.name} ({a.task[:12]}), {b.model} on {b.name} ({b.task[:12]})")
    b = replace(b, lines={each: b.lines[each] for each in _paired(a, b)})
    metric = metric or a.metric
    ours, theirs = b.counts(metric), a.counts(metric)
    if not (sum(ours[1]) and sum(theirs[1])):
        raise ConfigError(f"{a.name}: {metric} of {a.model} or of {b.model} is out of nothing; choose another metric")
    p, test = stats.swapped_p(*ours, *theirs, seed=seed)
    flips = tuple(_flips(a, b, metric))
    return Comparison(
        task=a.name,
        metric=metric,
        models=(a.model, b.model),
        a=a.measured(metric),
        b=b.measured(metric),
        difference=stats.paired_difference(*ours, *theirs, kind=a.kind(metric)),
        p=p,
        test=test,
        better=sum(flip.b > flip.a for flip in flips),
        worse=sum(flip.b < flip.a for flip in flips),
        flips=flips,
        apart=tuple(_apart(a.about, b.about)),
        lower_is_better=a.less_is_better(metric),
        held=(a.contamination, b.contamination),
        scores=(a.digest, b.digest),
        holm=p,
    )


def upwards(difference: Measured, metric: str) -> Measured:
    """A difference turned so that more is better."""
    if metric not in LOW_IS_GOOD:
        return difference
    low, high = -difference.high, -difference.low
    return replace(difference, value=-difference.value, low=low, high=high)


def together(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Corrected for being tested on all these tasks at once."""
    corrected = stats.holm([each.p for each in comparisons])
    tested = len(comparisons)
    return tuple(replace(each, holm=p, tested=tested) for each, p in zip(comparisons, corrected, strict=True))


def _paired(a: Scored, b: Scored) -> list[str]:
    """Ids of the samples, in a's order. Raises `ConfigError` naming those that only one of them has."""
    if apart := sorted(a.lines.keys() ^ b.lines.keys()):
        raise ConfigError(
            f"{a.name}: {many(len(apart), 'sample')} {form(len(apart), 'was', 'were')} scored for only one of "
            f"{a.model} and {b.model}, {apart[0]!r} for instance; measure both on the same samples"
        )
    return list(a.lines)


def _flips(a: Scored, b: Scored, metric: str) -> Iterator[Flip]:
    for (name, one), two, before, after in zip(
        a.lines.items(), b.lines.values(), a.values(metric), b.values(metric), strict=True
    ):
        if before != after:
            yield Flip(
                id=name,
                asked=_asked(one),
                a=before,
                b=after,
                said_a=_said(one),
                said_b=_said(two),
                why_a=one["why"],
                why_b=two["why"],
            )


def _asked(line: Mapping[str, Any]) -> str:
    """The last turn of the chat, or the text that was gone on from, or that before what likelihoods are of."""
    first = next(iter(line.get("asked", ())), None)
    if not isinstance(first, Mapping):
        return ""
    if first.get("messages"):
        return str(first["messages"][-1]["content"])
    return str(first.get("continues", first.get("before", "")))


def _said(line: Mapping[str, Any]) -> str:
    """The first answer; of likelihoods, all of them."""
    if "text" in line["said"][0]:
        return str(line["said"][0]["text"])
    return ", ".join(f"nll {each['nll']:.2f}" for each in line["said"])


def _apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for part in ("settings", "versions"):
        for name in sorted(a[part].keys() | b[part].keys()):
            one, two = (str(each[part].get(name, "none"))[:12] for each in (a, b))
            if one != two:
                yield f"{name}: {one}, {two}"
    if a["seed"] != b["seed"]:
        yield f"seed: {a['seed']}, {b['seed']}"
