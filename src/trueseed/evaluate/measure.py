"""Teacher and student on the same frozen tasks, greedily, and on the same frozen chats.

    baseline   before any training: the teacher's answers to every set, and its own answers to unconstrained prompts
    compare    the student on the same, with intervals and a paired test

Three sets: `held_out_prompts` (unseen prompts, trained kinds of constraint), `held_out_kinds` (unseen prompts and
kinds, so that a student which merely learned formats shows) and `chat_perplexity` (how well each model predicts the
teacher's own free answers, so that damage elsewhere shows). The last needs the weights of both: behind an API a
teacher cannot be asked how likely it finds a text, so there that set is left out, with the reason.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal, Protocol

from trueseed.checks import Task
from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Answer, ChatModel, Finish, Message, Request, TokenLogprob, user
from trueseed.core.settings import Settings
from trueseed.evaluate import contamination
from trueseed.evaluate.contamination import Learned
from trueseed.evaluate.sets import CHAT, TASK_SETS, read_chat, read_tasks
from trueseed.similarity.held_out import samples_of
from trueseed.workspace import Step

Side = Literal["teacher", "base"]
UNSCORED = "no free answer of the teacher could be scored: its weights are not here, or it said nothing"


class Config(Settings):
    """samples: per set. max_tokens: bound on an answer. chat_temperature, chat_top_p: how the teacher's free answers
    are drawn, by default as people talk to it (at temperature 1 most of a small model's perplexity is its own noise).
    """

    samples: int = 320
    max_tokens: int = 192
    chat_temperature: float = 0.7
    chat_top_p: float = 0.95
    chat_max_tokens: int = 96
    seed: int = 7


class Scored(Protocol):
    """Total negative log-likelihood (nats) of an answer, and its number of tokens."""

    @property
    def nll(self) -> float: ...

    @property
    def tokens(self) -> int: ...


class Scorer(Protocol):
    """Scores answers given what comes before them. cut: positions of those that did not end. known: by position, the
    log-probabilities of those that this very model spoke.
    """

    def score(
        self,
        conversations: Sequence[tuple[Message, ...]],
        *,
        cut: Collection[int] = (),
        known: Mapping[int, Sequence[TokenLogprob]] = ...,
    ) -> Sequence[Scored]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One task and one model's answer. faults: what is wrong with it, by kind of check; empty when right.

    finish: `enough` for an answer that was not heard to its end, since nothing could have made it right.
    """

    set: str
    task: Task
    text: str
    faults: Mapping[str, str]
    finish: Finish

    @property
    def right(self) -> bool:
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        task, faults = self.task.to_json(), dict(self.faults)
        return {"set": self.set, "task": task, "text": self.text, "faults": faults, "finish": self.finish}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Sample":
        return cls(**{**value, "task": Task.from_json(value["task"])})


def baseline(
    config: Config, sets: Artifact, teacher: ChatModel, scorer: Scorer | None, step: Step, *, of: Side = "teacher"
) -> Artifact:
    """The teacher's part, as a `scores` artifact: samples.jsonl, chats.jsonl (messages, nll, tokens).

    scorer: the teacher's own weights. None when they are not here; then no free answers are asked and none are scored.
    of: whom the student will be compared with; its own base, where nobody taught it.
    """
    folder = step.read(sets)
    samples = list(_answer_sets(config, folder, teacher, step))
    chats, known = _free_answers(config, folder, teacher, step) if scorer else ([], {})
    scored = _scored(chats, scorer, known) if scorer else []

    def fill(target: Path) -> None:
        _write_lines(target / "samples.jsonl", (sample.to_json() for sample in samples))
        _write_lines(
            target / "chats.jsonl",
            ({**chat, "nll": s.nll, "tokens": s.tokens} for chat, s in zip(chats, scored, strict=True)),
        )

    return step.write("scores", fill, {"of": teacher.source, "side": of})


def compare(
    config: Config, sets: Artifact, before: Artifact, student: ChatModel, scorer: Scorer, learned: Learned, step: Step
) -> Artifact:
    """The student's part beside the teacher's: samples.jsonl, chats.jsonl and scores.json, whose `beside` says whether
    what it calls `teacher` is one, or the student's base. learned: what the student was trained on.
    """
    folder, base = step.read(sets), step.read(before)
    teacher_samples = [Sample.from_json(line) for line in _read_lines(base / "samples.jsonl")]
    samples = list(_answer_sets(config, folder, student, step))
    chats = list(_read_lines(base / "chats.jsonl"))
    scored = _scored(chats, scorer, {}) if chats else []
    scores = summarise(teacher_samples, samples, chats, scored, seed=config.seed)
    scores["beside"] = before.meta.get("side", "teacher")
    scores["contamination"] = contamination.report(
        samples_of(sets), learned, step, lambda clean: _shares(samples, clean)
    )
    scores |= {"looks": learned.looks.to_json()} if learned.looks else {}

    def fill(target: Path) -> None:
        _write_lines(target / "samples.jsonl", (sample.to_json() for sample in samples))
        _write_lines(target / "chats.jsonl", ({"nll": s.nll, "tokens": s.tokens} for s in scored))
        (target / "scores.json").write_text(json.dumps(scores, indent=1))

    return step.write("scores", fill, {"of": student.source})


def summarise(
    teacher: Sequence[Sample],
    student: Sequence[Sample],
    chats: Sequence[Mapping[str, Any]],
    scored: Sequence[Scored],
    *,
    seed: int,
) -> dict[str, Any]:
    """`{"teacher" | "student" | "difference": {set: {value, low, high, n}}, "p": {set: …}, "chat_perplexity_ratio"}`.

    Without chats there is no perplexity, and `{"not_measured": {set: why}}` says so.
    Raises `ValueError` when the two sides did not answer the same tasks.
    """
    from trueseed.evaluate import stats  # scipy takes a second to import, and most steps measure nothing

    scores: dict[str, Any] = {"teacher": {}, "student": {}, "difference": {}, "p": {}}
    for name in TASK_SETS:
        ours, theirs = _by_prompt(student, name), _by_prompt(teacher, name)
        if ours.keys() != theirs.keys():
            raise ValueError(f"teacher and student answered different prompts of {name}")
        samples = [float(len(ours[prompt])) for prompt in ours]
        right = [float(sum(ours[prompt])) for prompt in ours]
        other = [float(sum(theirs[prompt])) for prompt in ours]
        scores["teacher"][name] = stats.share(other, samples).to_json()
        scores["student"][name] = stats.share(right, samples).to_json()
        scores["difference"][name] = stats.share_difference(right, other, samples).to_json()
        scores["p"][name] = stats.paired_p(right, other, seed=seed)
    if not chats:
        scores["not_measured"] = {CHAT: UNSCORED}
        return scores
    before, after, tokens = _sums_by_chat(chats, scored)
    scores["teacher"][CHAT] = stats.perplexity(before, tokens).to_json()
    scores["student"][CHAT] = stats.perplexity(after, tokens).to_json()
    scores["difference"][CHAT] = stats.perplexity_difference(after, before, tokens).to_json()
    scores["p"][CHAT] = stats.paired_p(after, before, seed=seed)
    scores["chat_perplexity_ratio"] = stats.perplexity_ratio(after, before, tokens).to_json()
    return scores


def _shares(samples: Sequence[Sample], clean: Collection[str]) -> dict[str, Any] | None:
    """The student's shares on the tasks with these ids alone (`<set>:<line>`, as the sets lie in their files)."""
    from trueseed.evaluate import stats

    found = {}
    for name in TASK_SETS:
        of_set = (sample for sample in samples if sample.set == name)
        left = [each for line, each in enumerate(of_set, start=1) if f"{name}:{line}" in clean]
        by_prompt = _by_prompt(left, name)
        if len(by_prompt) > 1:
            right, out_of = ([float(count(each)) for each in by_prompt.values()] for count in (sum, len))
            found[name] = stats.share(right, out_of).to_json()
    return found or None


def _answer_sets(config: Config, folder: Path, model: ChatModel, step: Step) -> Iterator[Sample]:
    """Greedy answers, in the order of the tasks."""
    tasks = [(name, task) for name in TASK_SETS for task in read_tasks(folder, name)[: config.samples]]
    requests = [
        Request(messages=task.messages, max_tokens=config.max_tokens, temperature=0.0, watch=task) for _, task in tasks
    ]
    for (name, task), answer in zip(tasks, _in_order(model, requests, step, "answers"), strict=True):
        faults = {"skipped": answer.because} if answer.finish == "skipped" else task.faults(answer.text)
        yield Sample(set=name, task=task, text=answer.text, faults=faults, finish=answer.finish)


def _scored(
    chats: Sequence[Mapping[str, Any]], scorer: Scorer, known: Mapping[int, Sequence[TokenLogprob]]
) -> Sequence[Scored]:
    cut = [position for position, chat in enumerate(chats) if chat["finish"] == "length"]
    return scorer.score([tuple(Message.from_json(m) for m in chat["messages"]) for chat in chats], cut=cut, known=known)


def _free_answers(
    config: Config, folder: Path, teacher: ChatModel, step: Step
) -> tuple[list[dict[str, Any]], dict[int, tuple[TokenLogprob, ...]]]:
    """Chats, and by position what the teacher thought of its own tokens.

    Drawn at `chat_temperature`; prompts come round again, with other seeds, when more samples are wanted.
    """
    prompts = list(islice(cycle(read_chat(folder)), config.samples))
    requests = [
        Request(
            messages=user(prompt.text),
            max_tokens=config.chat_max_tokens,
            temperature=config.chat_temperature,
            top_p=config.chat_top_p,
            seed=config.seed + i,
            logprobs=True,
        )
        for i, prompt in enumerate(prompts)
    ]
    answers = _in_order(teacher, requests, step, "free answers")
    said = [(request, answer) for request, answer in zip(requests, answers, strict=True) if answer.text.strip()]
    chats = [
        {
            "messages": [m.to_json() for m in (*request.messages, Message("assistant", answer.text))],
            "finish": answer.finish,
        }
        for request, answer in said
    ]
    return chats, {at: answer.logprobs for at, (_, answer) in enumerate(said)}


def _in_order(model: ChatModel, requests: Sequence[Request], step: Step, unit: str) -> list[Answer]:
    found: dict[int, Answer] = {}
    for position, answer in model.answers(requests):
        found[position] = answer
        step.progress(len(found), len(requests), unit)
    return [found[position] for position in range(len(requests))]


def _by_prompt(samples: Sequence[Sample], name: str) -> dict[str, list[bool]]:
    grouped: dict[str, list[bool]] = {}
    for sample in samples:
        if sample.set == name:
            grouped.setdefault(sample.task.prompt_id, []).append(sample.right)
    return grouped


def _sums_by_chat(
    chats: Sequence[Mapping[str, Any]], scored: Sequence[Scored]
) -> tuple[list[float], list[float], list[float]]:
    """Sums over the answers to the same prompt: nll before, nll after, tokens."""
    sums: dict[str, list[float]] = {}
    for chat, score in zip(chats, scored, strict=True):
        row = sums.setdefault(chat["messages"][0]["content"], [0.0, 0.0, 0.0])
        for column, value in enumerate((chat["nll"], score.nll, chat["tokens"])):
            row[column] += value
    before, after, tokens = (list(column) for column in zip(*sums.values(), strict=True))
    return before, after, tokens


def _write_lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
