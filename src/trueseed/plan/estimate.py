"""From a few measured rows to what every step of a run takes, as intervals: requests, tokens, money, seconds, records.

How many questions: courses of the recipe drawn from the posterior of its acceptance (`generate.course`). Tokens and
seconds: means drawn by Student's t (`draws`). Money: those tokens at the run file's price. What nothing was measured of
has a reason instead of a number, never a guess that looks like one, and an unknown price is never zero.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trueseed.checks import FREE
from trueseed.core.canonical import digest
from trueseed.generate.course import DRAWS, Courses, Seen, imagine
from trueseed.generate.verifiable import Config as Recipe
from trueseed.plan.draws import Floats, between, interval, mean
from trueseed.plan.history import Tempos, training
from trueseed.plan.measured import Answered, Machine
from trueseed.plan.part import ASKS_NOTHING, NO_ROWS, NO_SPEED, Asking, Part, part
from trueseed.plan.tasks import Asks, Examining
from trueseed.report.planned import Estimate, Planned, Quantity, Range
from trueseed.runfile import Asked, RunFile
from trueseed.teachers.account.amounts import Price
from trueseed.train.settings import OnPolicy

if TYPE_CHECKING:
    from trueseed.train.tempo import Tempo

NO_BASE = "the base weights are not here yet: `trueseed weights SPEC` fetches them, then plan again"
NOISE = {"train": (0.6, 1.25)}  # seconds a token in training, beside those of a throw-away step on noise (docs/log.md)
NO_DISTILLER = "the distiller's weights are not here yet: `trueseed weights SPEC` fetches them, then plan again"
NO_SPEAKING = "how fast the student speaks is not known before its first training of this kind here"
HEARD = (0.7, 2.0)  # seconds a token of hearing, beside those of a few rows of noise: full batches, and what is kept
UNTRIED = "rewriting and translation are not tried beforehand"
FULLER = 1.0  # the least by which more chats at once slow each other down: not at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How the run asks. at_once: most calls or chats under way. is_ours: weights on this machine. price: None when it
    is not known. per_minute: requests that the run file lets through.
    """

    at_once: int
    is_ours: bool
    price: Price | None
    per_minute: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Imported records. messages: in all of them, those with something in them."""

    rows: int = 0
    messages: int = 0


def estimate(
    file: RunFile,
    answered: Answered,
    machine: Machine,
    wire: Wire,
    tempos: Tempos,
    *,
    identity: Mapping[str, Any],
    given: Given = Given(),
    asks: Sequence[Asks] = (),
) -> Estimate:
    """The same whenever it is made from the same. identity: of the teacher, as steps are opened with it. asks: what
    tasks, judges and targets ask.
    """
    maker = _Maker(file, answered, machine, wire, tempos, given)
    measuring = {**file.evaluate.model_dump(), "engine": file.engine.identity}
    steps: list[Planned] = []

    def add(name: str, part: Part, settings: Mapping[str, Any] | None) -> None:
        said = digest(dict(settings)) if settings is not None else ""
        steps.append(Planned(step=name, settings=said, numbers=part[0], unknown=part[1]))

    if file.generate:
        add("generate", maker.generate(file.generate), {**file.generate.model_dump(), **identity})
    for place, name in enumerate(file.transforms):
        add(name, maker.rewriting(place), None)  # a step for each artifact of records
    add("curate", maker.curate(), file.curate.model_dump())
    if file.generate:
        add("baseline", maker.baseline(), {**file.evaluate.model_dump(), **identity})
    else:
        add("baseline", maker.measuring("baseline"), {**measuring, "of": "base"})
    heard_in, of_teacher = file.hears_distiller_in, file.distiller == file.teacher
    if heard_in == "signals":
        add("signals", maker.signals(), {**file.hearing, **identity} if of_teacher else None)
    told = file.training.model_dump() | (dict(identity) if heard_in == "train" else {})
    add("train", maker.train(), told if of_teacher or heard_in != "train" else None)
    add("evaluate", maker.evaluate(), measuring)
    steps += maker.examining(asks)
    return Estimate(rows=len(answered.rows), price=wire.price, steps=tuple(steps))


class _Maker:
    """The draws that the steps share."""

    def __init__(
        self,
        file: RunFile,
        answered: Answered,
        machine: Machine,
        wire: Wire,
        tempos: Tempos,
        given: Given,
    ) -> None:
        self._file, self._answered, self._machine, self._wire = file, answered, machine, wire
        self._tempos, self._rng, self._given = tempos, np.random.default_rng(0), given
        self._generated = file.generate.accept if file.generate else 0
        self._records = (self._generated + given.rows) * 2 ** sum(each.keep for each in file.transform)
        self._kept = self._records * between(0.6, 1.0, self._rng, DRAWS)  # after curation: few or many go
        self._unmeasured = NO_ROWS if file.generate and not answered.rows else NO_SPEED

    # the steps

    def generate(self, config: Recipe) -> Part:
        courses = imagine(config, _seen(self._answered), self._rng)
        asking = self._asked(courses, config)
        numbers, unknown = part(asking, self._wire.price)
        short = courses.accepted < config.accept - 0.5
        numbers["accepted"] = interval(courses.accepted) if short.any() else Range.exactly(config.accept)
        return numbers, unknown

    def rewriting(self, place: int) -> Part:
        """The transformation at this place: as many questions as there are answers, or messages to translate."""
        each, asked = self._file.transform[place], self._file.rewriters[place]
        before = 2 ** sum(earlier.keep for earlier in self._file.transform[:place])
        generated = self._generated * (2 if each.translate else 1)
        imported = self._given.messages if each.translate else self._given.rows
        numbers: dict[Quantity, Range] = {"requests": Range.exactly((generated + imported) * before)}
        unknown: dict[Quantity, str] = {"tokens": UNTRIED, "seconds": UNTRIED}
        if asked.weights:
            numbers["micros"] = Range.exactly(0)
        else:
            unknown["micros"] = UNTRIED
        return numbers, unknown

    def measuring(self, step: str) -> Part:
        """A model on this machine answers the frozen sets."""
        known = self._tempos.of(step, self._rng, DRAWS)
        if known is not None:
            return {**ASKS_NOTHING, "seconds": interval(known * self._file.evaluate.samples)}, {}
        return {**ASKS_NOTHING}, {"seconds": self._unmeasured}

    def baseline(self) -> Part:
        """Two sets of tasks asked greedily; free chats where their likelihood can be told."""
        config, plain = self._file.evaluate, [row for row in self._answered.rows if row.rung == "plain"]
        tasks, chats = 2.0 * config.samples, float(config.samples if self._wire.is_ours else 0)
        requests = np.full(DRAWS, tasks + chats)
        if not plain:
            return part(Asking(requests=requests), self._wire.price)
        prompt = mean([row.prompt_tokens for row in plain], self._rng, DRAWS, low=1)
        answer = mean([min(row.completion_tokens, config.max_tokens) for row in plain], self._rng, DRAWS,
                      low=1, high=config.max_tokens)  # fmt: skip
        chat = between(1, config.chat_max_tokens, self._rng, DRAWS)
        chat_prompt = prompt * between(0.3, 1.0, self._rng, DRAWS)  # without a constraint in it
        completion = tasks * answer + chats * chat
        asking = Asking(
            requests=requests,
            prompt=tasks * prompt + chats * chat_prompt,
            completion=completion,
            seconds=self._asking_s(requests, completion),
        )
        return part(asking, self._wire.price)

    def curate(self) -> Part:
        known = self._tempos.of("curate", self._rng, DRAWS)
        if known is not None:
            return {**ASKS_NOTHING, "seconds": interval(known * self._records)}, {}
        if self._machine.curate_s is None:
            return {**ASKS_NOTHING}, {"seconds": self._unmeasured}
        times = self._records / max(1, len(self._answered.rows))  # most of it may be there once, or for each
        seconds = self._machine.curate_s * between(0.5, max(times, 1.0), self._rng, DRAWS)
        return {**ASKS_NOTHING, "seconds": interval(seconds)}, {}

    def train(self) -> Part:
        measured = self._machine.train
        if measured is None:
            why = NO_BASE if self._answered.rows else self._unmeasured
            return {**ASKS_NOTHING}, {"tokens": why, "seconds": why}
        config = self._file.training
        tokens = self._length(measured) * self._kept * (1 - self._file.curate.validation) * config.num_train_epochs
        if config.max_steps:
            most = config.max_steps * config.tokens_per_batch * config.gradient_accumulation_steps
            tokens = np.minimum(tokens, most)
        known = self._tempos.of(training(config.model_dump()), self._rng, DRAWS)
        if known is not None:
            return {**ASKS_NOTHING, "tokens": interval(tokens), "seconds": interval(tokens * known)}, {}
        seconds = tokens * measured.seconds_per_token * between(*NOISE["train"], self._rng, DRAWS)
        if self._file.hears_distiller_in == "train":
            if self._machine.hear_s is None:
                return {**ASKS_NOTHING, "tokens": interval(tokens)}, {"seconds": NO_DISTILLER}
            seconds = seconds + tokens * self._machine.hear_s * between(*HEARD, self._rng, DRAWS)
        if isinstance(config, OnPolicy):
            spoken = self._spoken_s(config)
            if spoken is None:
                return {**ASKS_NOTHING, "tokens": interval(tokens)}, {"seconds": NO_SPEAKING}
            seconds = seconds + self._kept * (1 - self._file.curate.validation) * config.num_train_epochs * spoken
        return {**ASKS_NOTHING, "tokens": interval(tokens), "seconds": interval(seconds)}, {}

    def signals(self) -> Part:
        """The distiller reads every record once."""
        measured, known = self._machine.train, self._tempos.of("signals", self._rng, DRAWS)
        if measured is None or (known is None and self._machine.hear_s is None):
            why = self._unmeasured if measured is None else NO_DISTILLER
            return {**ASKS_NOTHING}, {"tokens": why, "seconds": why}
        tokens = self._kept * self._length(measured)
        if known is None:
            known = (self._machine.hear_s or 0.0) * between(*HEARD, self._rng, DRAWS)
        return {**ASKS_NOTHING, "tokens": interval(tokens), "seconds": interval(tokens * known)}, {}

    def _length(self, measured: "Tempo") -> Floats:
        """Tokens of a record."""
        return mean(measured.tokens, self._rng, DRAWS, low=2, high=self._file.train.max_length)

    def _spoken_s(self, config: OnPolicy) -> Floats | None:
        """Seconds that the student speaks for a record. It speaks as fast as its base, if that is the teacher whole or
        in part; of any other nothing is known.
        """
        answered, teacher = self._answered, self._file.teacher
        spoken = sum(row.completion_tokens for row in answered.rows)
        if not (spoken and self._wire.is_ours and teacher and teacher.weights == self._file.base.weights):
            return None
        length = between(1, config.max_new_tokens, self._rng, DRAWS)
        layers = between(0.4, 1.0, self._rng, DRAWS) if self._file.base.layers else 1.0
        share = 1.0 if config.seq_kd else config.lmbda  # of the answers, that are drawn
        return share * length * layers * answered.elapsed_s / spoken * between(0.3, 1.5, self._rng, DRAWS)

    def evaluate(self) -> Part:
        """The student answers what the teacher did, on this machine."""
        numbers, unknown = self.measuring("evaluate")
        teacher = self._file.teacher
        if unknown and teacher and self._wire.is_ours and teacher.weights == self._file.base.weights:
            as_the_teacher, _ = self.baseline()
            if "seconds" in as_the_teacher:
                return {**ASKS_NOTHING, "seconds": as_the_teacher["seconds"]}, {}
        return numbers, unknown

    def examining(self, asks: Sequence[Asks]) -> Iterator[Planned]:
        """Tasks, judges and targets: the teacher's own pace counts where it is the same model that is asked."""

        def pace(asked: Asked, requests: Floats, completion: Floats) -> Floats | None:
            teacher = self._file.teacher
            same = teacher and (asked.remote, asked.weights) == (teacher.remote, teacher.weights)
            return self._asking_s(requests, completion) if same else None

        return Examining(asks, self._tempos, pace, self._rng, DRAWS).planned()

    # the pieces

    def _asked(self, courses: Courses, config: Recipe) -> Asking:
        requests = courses.asked.sum((1, 2))
        if not self._answered.rows:
            return Asking(requests=requests)
        prompt, completion = np.zeros(DRAWS), np.zeros(DRAWS)
        free_K = np.array([kind == FREE for kind in courses.kinds])
        for r, rung in enumerate(courses.rungs):
            for free in (False, True):
                asked = courses.asked[:, free_K == free, r].sum(1)
                if asked.any():
                    prompts, answers = self._tokens(config, rung, free)
                    prompt, completion = prompt + asked * prompts, completion + asked * answers
        return Asking(
            requests=requests,
            prompt=prompt,
            completion=completion,
            seconds=self._asking_s(requests, completion),
        )

    def _tokens(self, config: Recipe, rung: str, free: bool) -> tuple[Floats, Floats]:
        """Draws of the mean tokens of a question and its answer. Of a rung that was not seen, the question is taken as
        half to three times as long as those that were, and of the answer only its bound is known.
        """
        most = config.free.sampling.max_tokens if free else config.max_tokens
        rows = [row for row in self._answered.rows if row.rung == rung and (row.kind == FREE) == free]
        if rows:
            return (
                mean([row.prompt_tokens for row in rows], self._rng, DRAWS, low=1),
                mean([row.completion_tokens for row in rows], self._rng, DRAWS, low=1, high=most),
            )
        prompts = mean([row.prompt_tokens for row in self._answered.rows], self._rng, DRAWS, low=1)
        return prompts * between(0.5, 3.0, self._rng, DRAWS), between(1, most, self._rng, DRAWS)

    def _asking_s(self, requests: Floats, completion: Floats) -> Floats | None:
        """Between two bounds that are both possible: more at once do not slow each other down, or they gain nothing."""
        answered, wire = self._answered, self._wire
        if not answered.seconds or answered.elapsed_s <= 0:
            return None
        ahead = self._file.generate.ahead if self._file.generate else wire.at_once
        at_once = max(1, min(wire.at_once, ahead))
        gain = max(FULLER, at_once / max(1, answered.at_once))
        if wire.is_ours:
            spoken = max(1, sum(row.completion_tokens for row in answered.rows))
            slowest = completion * answered.elapsed_s / spoken
        else:
            slowest = requests * mean(answered.seconds, self._rng, DRAWS, low=1e-4) / max(1, answered.at_once)
        seconds = slowest / between(1.0, gain + 1e-9, self._rng, DRAWS)
        if not wire.is_ours:  # it begins with few, and doubles while answers come
            seconds = seconds + float(np.mean(answered.seconds)) * math.log2(max(2.0, at_once / 4))
        allowed = [each for each in (answered.allowed_per_s, wire.per_minute and wire.per_minute / 61) if each]
        for per_s in allowed:
            seconds = np.maximum(seconds, (requests - 61 * per_s) / per_s)  # what a minute lets through at once
        return seconds


def _seen(answered: Answered) -> dict[tuple[str, Any], Seen]:
    tallies: defaultdict[tuple[str, Any], list[int]] = defaultdict(lambda: [0, 0])
    for row in answered.rows:
        tally = tallies[row.kind, row.rung]
        tally[0] += 1
        tally[1] += row.accepted
    return {key: Seen(judged=judged, accepted=accepted) for key, (judged, accepted) in tallies.items()}
