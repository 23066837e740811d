"""What tasks, judges and targets ask of whom, counted from the samples as they lie in their files.

    asks = asked(file, read(file), may, kept)      # pure: how many calls, of whom, for which use, how large at most
    Examining(asks, tempos, pace, rng).parts()     # the same as intervals, in each one's own price

How many answers and verdicts there are is known; a verdict is asked for once, or once more when the first reply is
none. How many tokens they have is not: a prompt has a token for every 2 to 6 of its characters (English prose about 4,
code and other scripts fewer), and of an answer only its bound is known.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trueseed.asking import May, judges, ladder, targets
from trueseed.core.chat import Request, user
from trueseed.errors import Refused
from trueseed.evaluate.fewshot import in_text
from trueseed.evaluate.task import Task, Whom
from trueseed.evaluate.task import read as read_task
from trueseed.judging import Tried
from trueseed.plan.draws import Floats, between, interval
from trueseed.plan.history import Tempos
from trueseed.plan.part import ASKS_NOTHING, NO_SPEED, Asking, Part, part
from trueseed.report.planned import Planned
from trueseed.runfile import Asked, Judging, RunFile
from trueseed.teachers.account.amounts import FREE, Amount, Price
from trueseed.teachers.api import wire
from trueseed.teachers.judge import Pair, comparison
from trueseed.terms.model import Use

CHARACTERS = (2.0, 6.0)  # of a token in a prompt
FRAME = (3.0, 20.0)  # tokens that a chat template puts around a question
ORDERS = 2  # in which a pair is shown

Pace = Callable[[Asked, Floats, Floats], Floats | None]  # seconds that calls of so many tokens take, where measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """What one step asks. asked: whom; None for the student, who is nobody's to ask. least, most: calls. characters: of
    a prompt on average, as far as they are written. answers: of others that stand in each prompt, each of at most
    `answer_tokens`. max_tokens: of a reply. largest: the longest prompt that is written, in bytes. tempo: by which
    name the step's pace is remembered.
    """

    step: str
    source: str
    use: Use
    asked: Asked | None
    least: int
    most: int
    characters: float
    largest: int
    max_tokens: int
    answers: int = 0
    answer_tokens: int = 0
    tempo: str = ""

    def to_json(self) -> dict[str, Any]:
        """What an estimate rests on."""
        said = (self.step, self.source, self.use.value, self.least, self.most, round(self.characters, 1))
        return {"asks": [*said, self.max_tokens, self.answers, self.answer_tokens]}

    @property
    def price(self) -> Price | None:
        """None when it is not known."""
        if self.asked is None or self.asked.remote is None:
            return FREE
        try:
            return self.asked.remote.known_price()
        except Refused:
            return None

    @property
    def upper(self) -> Amount:
        """The most that one of its calls reserves."""
        beside = self.answers * self.answer_tokens * 4  # bytes of a token of an answer, generously
        question = Request(messages=user("x" * (self.largest + beside)), max_tokens=self.max_tokens)
        tokens, price = wire.most(question), self.price
        micros = price.micros(tokens.prompt, tokens.completion) if price else 0
        return Amount(requests=1, tokens=tokens.tokens, micros=micros)


def read(file: RunFile) -> tuple[Task, ...]:
    """The run's tasks, in its order. Raises `ConfigError` as `evaluate.task.read`."""
    return tuple(map(read_task, file.tasks))


def asked(file: RunFile, tasks: Sequence[Task], may: May, kept: Collection[str] = ()) -> tuple[Asks, ...]:
    """In the order of a run: targets, then everybody who is measured, then the judges. kept: judges whose cards are."""
    return (*_of_targets(file, tasks), *_of_models(file, tasks, may), *_of_judges(file, tasks, may, kept))


def _of_targets(file: RunFile, tasks: Sequence[Task]) -> Iterator[Asks]:
    places = {config.named: place for place, config in enumerate(file.tasks)}
    now = [each for each in file.targets if each.teacher]
    for (name, whom), target in zip(targets(file).items(), now, strict=True):
        place = places[target.task]
        yield _answers(name, whom, file, place, tasks[place])


def _of_models(file: RunFile, tasks: Sequence[Task], may: May) -> Iterator[Asks]:
    names = [task.name for task in tasks]
    for place, (config, task) in enumerate(zip(file.tasks, tasks, strict=True)):
        name = f"{task.name} by {task.scorer.name}" if names.count(task.name) > 1 else task.name
        for whom in ladder(file, config, may).whom:
            yield _answers(f"{name}: {whom}", file.model_of(whom), file, place, task)


def _answers(step: str, whom: Asked | None, file: RunFile, place: int, task: Task) -> Asks:
    config, scorer = file.tasks[place], task.scorer
    texts = [in_text(task.shots, sample.prompt) for sample in task.samples]
    if scorer.needs == "choices":
        both = zip(texts, task.samples, strict=True)
        texts = [f"{text} {choice}" for text, each in both for choice in each.row["choices"]]
    calls = len(texts) * config.draws
    return Asks(
        step=step,
        source=whom.named if whom else "student",
        use=Use.BENCHMARK_TEACHER,
        asked=whom,
        least=calls,
        most=calls,
        characters=_mean(texts),
        largest=_largest(texts),
        max_tokens=(config.max_tokens or scorer.max_tokens) if scorer.needs == "answers" else 1,
        tempo=f"score {scorer.name} {whom.named if whom else 'student'}",
    )


def _of_judges(file: RunFile, tasks: Sequence[Task], may: May, kept: Collection[str]) -> Iterator[Asks]:
    compared = [
        (task, config.max_tokens or task.scorer.max_tokens, len(set(config.of or ()) - {"student", *_absent(file)}))
        for config, task in zip(file.tasks, tasks, strict=True)
        if config.is_compared
    ]
    places = {config.named: place for place, config in enumerate(file.tasks)}
    for name, judge in judges(file).items():
        if name not in kept:
            yield from _of_card(f"{name}: its card", judge, may)
        questions = [(each.prompt, bound) for task, bound, others in compared for each in task.samples * others]
        for target in file.targets:  # the student that the run makes, as earlier ones were compared before; the ladder
            if target.judge == judge.called:
                task, config = tasks[places[target.task]], file.tasks[places[target.task]]
                bound = config.max_tokens or task.scorer.max_tokens
                rungs = len(ladder(file, config, may).whom)
                questions += [(each.prompt, bound) for each in task.samples * rungs]
        if questions:
            yield _verdicts(name, judge, [(text, "", "") for text, _ in questions], max(b for _, b in questions))


def _absent(file: RunFile) -> set[Whom]:
    return set() if file.teacher else {"teacher"}


def _of_card(step: str, judge: Judging, may: May) -> Iterator[Asks]:
    """Pairs with known answers, both ways; and its own answers beside others that are as right, where it may be
    measured.
    """
    from trueseed.evaluate import judge_card
    from trueseed.evaluate.task import Config

    gold = read_task(Config(scorer="gold", file=str(judge_card.GOLD), source=judge_card.GOLD_SOURCE))
    pairs = [(each.prompt, str(each.row["right"]), str(each.row["wrong"])) for each in gold.samples]
    yield _verdicts(step, judge, pairs, 0)
    if may(judge, Use.BENCHMARK_TEACHER):
        texts, most = [each.prompt for each in gold.samples], gold.scorer.max_tokens
        yield Asks(
            step=f"{step}, own answers", source=judge.named, use=Use.BENCHMARK_TEACHER, asked=judge,
            least=len(texts), most=len(texts), characters=_mean(texts), largest=_largest(texts),
            max_tokens=most, tempo=f"score gold {judge.named}",
        )  # fmt: skip
        yield _verdicts(f"{step}, its own beside others", judge, [(text, "", "") for text in texts], most, least=0)


def _verdicts(
    step: str, judge: Judging, pairs: Sequence[tuple[str, str, str]], bound: int, *, least: int | None = None
) -> Asks:
    """pairs: question and answers, '' for an answer of at most `bound` tokens that is not given yet."""
    texts = [comparison(Pair(question=q, first=a, second=b), judge.rubric) for q, a, b in pairs]
    in_words = judge.method == "words"  # a verdict by likelihood is one look, and no reply
    reply = judge.rubric.max_tokens if in_words else 1
    return Asks(
        step=step,
        source=judge.named,
        use=Use.JUDGE,
        asked=judge,
        least=ORDERS * len(pairs) if least is None else least,
        most=(1 + in_words) * ORDERS * len(pairs),  # a reply that is no verdict is put back once
        characters=_mean(texts),
        largest=_largest(texts) + 4 * reply,  # its first reply stands in the second question
        max_tokens=reply,
        answers=2 if bound else 0,
        answer_tokens=bound,
        tempo=f"judge {judge.named}",
    )


def _mean(texts: Sequence[str]) -> float:
    return sum(map(len, texts)) / len(texts)


def _largest(texts: Sequence[str]) -> int:
    return max(len(text.encode()) for text in texts)


def told(asks: Sequence[Asks], kept: Mapping[str, Tried]) -> tuple[str, ...]:
    """How much is asked of whom, a line each; how it is counted, and what is not counted. kept: judges' cards."""
    lines = [
        f"{name}: its card of {card.on} is kept ({'passed' if card.passed else 'failed'}): nothing is asked for it"
        for name, card in kept.items()
    ]
    lines += [
        f"{each.step}: {each.source} {_counted(each)}, for {each.use.value}"
        if each.asked
        else f"{each.step}: {_counted(each)} of our own"
        for each in asks
    ]
    if asks:
        lines.append(
            "tokens of these: prompts at 2 to 6 characters a token, answers of anything up to their bound; what was "
            "asked before is not asked again, and is in the numbers all the same"
        )
    return tuple(lines)


def _counted(asks: Asks) -> str:
    what = "verdicts" if asks.use is Use.JUDGE else "answers" if asks.max_tokens > 1 else "likelihoods"
    if asks.use is Use.JUDGE:
        verdicts = asks.most // 2 if asks.max_tokens > 1 else asks.most
        calls = f"{asks.least:,} to {asks.most:,}" if asks.least < asks.most else f"{asks.most:,}"
        return f"{'' if asks.least else 'at most '}{verdicts:,} {what}, in {calls} calls"
    return f"{asks.most:,} {what}"


class Examining:
    """The draws for what is asked."""

    def __init__(self, asks: Sequence[Asks], tempos: Tempos, pace: Pace, rng: np.random.Generator, draws: int) -> None:
        self._asks, self._tempos, self._pace = asks, tempos, pace
        self._rng, self._draws = rng, draws

    def planned(self) -> Iterator[Planned]:
        for each in self._asks:
            numbers, unknown = self._part(each)
            yield Planned(step=each.step, settings="", numbers=numbers, unknown=unknown)

    def _part(self, asks: Asks) -> Part:
        calls = self._rng.uniform(asks.least, asks.most, self._draws)
        known = self._tempos.of(asks.tempo, self._rng, self._draws)
        if asks.asked is None:
            if known is None:
                return {**ASKS_NOTHING}, {"seconds": NO_SPEED}
            return {**ASKS_NOTHING, "seconds": interval(known * calls)}, {}
        prompt = self._prompt(asks, calls)
        completion = calls * (between(1, asks.max_tokens, self._rng, self._draws) if asks.max_tokens > 1 else 1.0)
        seconds_of = known * calls if known is not None else None
        if seconds_of is None and asks.max_tokens > 1:  # how fast somebody speaks says nothing of how fast it reads
            seconds_of = self._pace(asks.asked, calls, completion)
        asking = Asking(requests=calls, prompt=prompt, completion=completion, seconds=seconds_of)
        return part(asking, asks.price, why=NO_SPEED)

    def _prompt(self, asks: Asks, calls: Floats) -> Floats:
        """Tokens of all prompts."""
        each = asks.characters / between(*CHARACTERS, self._rng, self._draws)
        each = each + between(*FRAME, self._rng, self._draws)
        if asks.answers:
            each = each + asks.answers * between(1, asks.answer_tokens, self._rng, self._draws)
        found: Floats = calls * each
        return found
