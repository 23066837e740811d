"""Recipe: verifiable instructions. Everyday prompts get constraints that can be checked; right answers become records.

    records = generate(Config(accept=600), prompts, teacher, step)

Every answer is checked; what fails is asked again with more help (`ladder`), and rejected answers are kept beside the
records with the reason. Kinds of constraint advance together (`pace`). A share of the records may be free: the
teacher's ordinary talk, without constraints, so that a student does not lose it.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from trueseed.checks import FREE, HELD_OUT_KINDS, TRAIN_KINDS, Task, draw
from trueseed.core.artifacts import Artifact
from trueseed.core.canonical import digest
from trueseed.core.chat import Answer, ChatModel, Message, Request
from trueseed.core.prompts import PROMPTS_FILE, Prompt, read_prompts
from trueseed.core.records import RECORDS_FILE, Record, record_root, write_parquet
from trueseed.core.settings import Settings
from trueseed.errors import Short, TrueSeedError
from trueseed.generate import ladder
from trueseed.generate.formed import Sentences, fit
from trueseed.generate.in_order import ask_in_order
from trueseed.generate.ladder import Help, Rung
from trueseed.generate.pace import Pace, Tally
from trueseed.similarity import OverlapIndex

if TYPE_CHECKING:
    from trueseed.workspace import Step

REJECTED_FILE = "rejected.parquet"
NEW_TASK_DRAWS = 50  # after which a task is asked again, with another seed: the prompts are few
COPIED_WORDS = 7  # in a row, from what was shown as help


def _trainable(kinds: list[str]) -> list[str]:
    for name in kinds:
        if name in HELD_OUT_KINDS:
            raise ValueError(f"{name!r} is held out for evaluation")
        if name not in TRAIN_KINDS:
            raise ValueError(f"there is no kind {name!r}; the kinds are {', '.join(TRAIN_KINDS)}")
    if len(set(kinds)) < len(kinds):
        raise ValueError("a kind stands twice in the list")
    return kinds


def _climbable(rungs: list[Rung]) -> list[Rung]:
    if rungs and rungs[0] in ("worked", "repair"):
        raise ValueError(f"the ladder cannot begin with {rungs[0]!r}, which needs an earlier answer")
    if len(set(rungs)) < len(rungs):
        raise ValueError("a rung stands twice in the ladder")
    return rungs


class Sampling(Settings):
    """How the teacher's words are drawn."""

    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=128, gt=0)


class Free(Settings):
    """share: of the records, without any constraint. sampling: by default as the teacher talks, and long enough that it
    comes to an end by itself: what is cut is not kept.
    """

    share: float = Field(default=0.0, ge=0, lt=1)
    sampling: Sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=320)


class Config(Settings):
    """accept: how many records, exactly.

    kinds: of constraint, by default all that are not held out. two: share of tasks with a second constraint.
    rungs: the ladder, in order. poor: a rung that succeeds less often than this for a kind, after `tries` answers, is
    passed over.
    effort: answers a kind may cost for each record of its share; beyond that the other kinds make up for it.
    asked_at_most: bound on all answers (default: `effort` for every record). ahead: requests outstanding at once.
    temperature, top_p, max_tokens: of requests with constraints. free: records without. seed: of everything drawn.
    """

    accept: int = Field(gt=0)
    kinds: Annotated[list[str], AfterValidator(_trainable)] = Field(default=[*TRAIN_KINDS], min_length=1)
    two: float = Field(default=0.25, ge=0, le=1)
    rungs: Annotated[list[Rung], AfterValidator(_climbable)] = Field(
        default=["plain", "worked", "spelt", "repair"], min_length=1
    )
    tries: int = Field(default=8, gt=0)
    poor: float = Field(default=0.25, ge=0, le=1)
    effort: int = Field(default=8, gt=0)
    asked_at_most: int | None = Field(default=None, gt=0)
    ahead: int = Field(default=160, gt=0)
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=128, gt=0)
    free: Free = Free()
    seed: int = 0


Leave = Callable[[TrueSeedError], bool]  # whether what the teacher ended with is reason to do without the rest of it


def generate(
    config: Config, prompts: Artifact, teacher: ChatModel, step: "Step", *, leave: Leave = lambda _: False
) -> Artifact:
    """A `records` artifact: records.parquet with exactly `config.accept` records, rejected.parquet with the reasons.

    Fewer, and `left` in its meta says why, when the teacher ended and `leave` lets it go. Raises what the teacher ends
    with otherwise, and `Short` with the account of every kind when the bounds do not allow that many.
    """
    recipe = Recipe(config, read_prompts(step.read(prompts) / PROMPTS_FILE), teacher.source, step)
    try:
        ask_in_order(teacher, recipe.want, recipe.take, ahead=config.ahead, missed=recipe.missed)
    except TrueSeedError as ending:
        if not recipe.is_complete:
            if not leave(ending):
                raise
            step.cut_short(str(ending))
            return recipe.write(left=str(ending))
    recipe.must_be_complete()
    return recipe.write()


def pace(config: Config) -> Pace:
    """Shares and ladders of the kinds, nothing asked yet."""
    shares = dict.fromkeys(config.kinds, (1 - config.free.share) / len(config.kinds))
    ladders: dict[str, list[Rung]] = dict.fromkeys(config.kinds, config.rungs)
    if config.free.share:
        shares[FREE], ladders[FREE] = config.free.share, ["plain"]
    return Pace(
        accept=config.accept,
        shares=shares,
        ladders=ladders,
        effort=config.effort,
        tries=config.tries,
        poor=config.poor,
    )


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """One question that is under way, or waits to be asked: a task on a rung."""

    task: Task
    rung: Rung
    failed: Record | None = None  # the answer to repair
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    attempt: _Attempt
    help: Help
    request: Request


@dataclass(frozen=True, slots=True)
class _Judged:
    """A task, the answer as it would be kept, and what is wrong with it, by reason. formed: it was laid out by rule."""

    task: Task
    text: str
    faults: dict[str, str]
    formed: bool = False


class Recipe:
    """The state of one run. `want` and `take` are called in an order that depends on the answers alone."""

    def __init__(self, config: Config, prompts: tuple[Prompt, ...], source: str, step: "Step") -> None:
        self.config, self.source, self.step = config, source, step
        self.accepted: list[Record] = []
        self.rejected: list[Record] = []
        self.pace = pace(config)
        self.reasons: dict[str, Counter[str]] = {name: Counter() for name in self.pace.shares}
        self._outstanding: deque[_Asked] = deque()
        self._again: dict[str, deque[_Attempt]] = {name: deque() for name in self.pace.shares}
        self._examples: dict[str, list[Record]] = {name: [] for name in self.pace.shares}
        self._prompts = prompts
        self._unused: list[Prompt] = []
        self._drawn: set[str] = set()
        self._random = Random(config.seed)
        self._asked = 0

    # asking

    def want(self) -> Request | None:
        """The next request, or None when what is under way should do, or the bounds are reached."""
        name = self.pace.next_kind() if self._asked < self._most else None
        if name is None:
            return None
        attempt = self._again[name].popleft() if self._again[name] else self._new(name)
        asked = self._put(attempt)
        self._outstanding.append(asked)
        self.pace.tallies[name, attempt.rung].asked += 1
        self._asked += 1
        return asked.request

    @property
    def _most(self) -> int:
        return self.config.asked_at_most or self.config.accept * self.config.effort

    def _new(self, name: str) -> _Attempt:
        possible = [rung for rung in self.pace.ladders[name] if rung != "repair" and self._possible(name, rung)]
        return _Attempt(task=self._new_task(name), rung=self.pace.first_rung(name, possible))

    @property
    def _repairs(self) -> bool:
        """Whether answers that fail may be repaired, for which they must be whole."""
        return "repair" in self.config.rungs

    def _possible(self, name: str, rung: Rung) -> bool:
        return rung != "worked" or bool(self._examples[name])

    def _new_task(self, name: str) -> Task:
        for _ in range(NEW_TASK_DRAWS):
            if not self._unused:
                self._unused = self._random.sample(self._prompts, len(self._prompts))
            task = draw(self._unused.pop(), name, self.config.kinds, self._random, two=self.config.two)
            if task.id not in self._drawn:
                break
        self._drawn.add(task.id)
        return task

    def _put(self, attempt: _Attempt) -> _Asked:
        help_ = self._help(attempt)
        sampling = self.config.free.sampling if attempt.task.kind == FREE else self.config
        request = Request(
            messages=help_.messages,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=("\n\n",) if attempt.rung == "formed" else (),  # its first paragraph is enough to be formed
            watch=help_.watch if attempt.rung == "formed" or not self._repairs else None,
            seed=int(digest([self.config.seed, self._asked])[:8], 16),
        )
        return _Asked(attempt=attempt, help=help_, request=request)

    def _help(self, attempt: _Attempt) -> Help:
        task = attempt.task
        match attempt.rung:
            case "plain":
                return ladder.plain(task)
            case "worked":
                return ladder.worked(task, self._random.choice(self._examples[task.kind]))
            case "spelt":
                return ladder.spelt(task)
            case "formed":
                return ladder.bare(task, self._random)
            case "repair":
                assert attempt.failed is not None
                return ladder.repair(task, attempt.failed, attempt.faults)

    # judging

    @property
    def oldest(self) -> tuple[str, Rung]:
        """Kind and rung of the question that `take` judges next."""
        attempt = self._outstanding[0].attempt
        return attempt.task.kind, attempt.rung

    def take(self, answer: Answer) -> None:
        """Judges the answer to the oldest outstanding request."""
        asked = self._outstanding.popleft()
        found = self._judge(asked, answer)
        tally = self.pace.tallies[asked.attempt.task.kind, asked.attempt.rung]
        tally.judged += 1
        if found.faults:
            failed = self._reject(asked, found, next(iter(found.faults)))
            if answer.finish != "skipped":  # a teacher that will not answer is not pressed
                self._climb(asked.attempt, failed, found.faults, whole=answer.finish == "stop")
        elif len(self.accepted) == self.config.accept:
            self._reject(asked, found, "not needed")
        else:
            tally.accepted += 1
            self._accept(asked, found)
        self.step.progress(len(self.accepted), self.config.accept, "records", f"{self._asked} asked")

    def missed(self) -> None:
        """The oldest outstanding request stays without an answer."""
        asked = self._outstanding.popleft()
        self.pace.tallies[asked.attempt.task.kind, asked.attempt.rung].asked -= 1
        self._asked -= 1

    def _judge(self, asked: _Asked, answer: Answer) -> _Judged:
        """The answer as it would be kept, and why it cannot be."""
        task, text = asked.attempt.task, answer.text.strip()
        if answer.finish == "skipped":
            return _Judged(task, text, {"skipped": answer.because})
        if answer.finish == "length":
            return _Judged(
                task, text, {"cut": f"it was cut after {answer.completion_tokens} tokens"} | task.faults(text)
            )
        if isinstance(asked.help.watch, Sentences):
            text = asked.help.watch.of(text)
            prompt = Prompt(task.prompt_id, task.prompt)
            rng = Random(digest([self.config.seed, asked.request.to_json()]))
            try:
                task, text = fit(prompt, task.constraints[0], self.config.kinds, text, rng, two=self.config.two)
            except ValueError as err:
                return _Judged(task, text, {"unfit": str(err)})
        faults = task.faults(text)
        shown = asked.help.shown
        if not faults and shown and (copied := OverlapIndex([shown], n=COPIED_WORDS).shared(text)):
            faults = {"copied": f"it repeats what was shown as help: {copied!r}"}
        return _Judged(task, text, faults, formed=asked.attempt.rung == "formed")

    def _accept(self, asked: _Asked, found: _Judged) -> None:
        record = self._record(asked, found, {})
        self.accepted.append(record)
        if len(record.task["constraints"]) == 1:
            self._examples[asked.attempt.task.kind].append(record)
        self.step.count("accepted")
        self.step.count(f"accepted:{asked.attempt.rung}")

    def _reject(self, asked: _Asked, found: _Judged, reason: str) -> Record:
        record = self._record(asked, found, {"reason": reason, "faults": found.faults})
        self.rejected.append(record)
        self.reasons[asked.attempt.task.kind][reason] += 1
        self.step.count(f"rejected:{reason}")
        return record

    def _record(self, asked: _Asked, found: _Judged, more: dict[str, object]) -> Record:
        task = found.task
        origin = self.step.origin(
            source=self.source,
            request=digest(asked.request.to_json()),
            parents=asked.help.parents,
            transformed=found.formed,
        )
        return Record(
            messages=(*task.messages, Message("assistant", found.text)),
            origin=origin,
            task={**task.to_json(), "recipe": "verifiable", "rung": asked.attempt.rung, **more},
        )

    def _climb(self, attempt: _Attempt, failed: Record, faults: dict[str, str], *, whole: bool) -> None:
        """Puts the task on its next rung that can be taken and is not known to be poor."""
        name, rungs = attempt.task.kind, self.pace.ladders[attempt.task.kind]
        for rung in rungs[rungs.index(attempt.rung) + 1 :]:
            repairable = rung != "repair" or (whole and bool(failed.answer))
            if repairable and self._possible(name, rung) and not self.pace.is_poor(name, rung):
                self._again[name].append(_Attempt(task=attempt.task, rung=rung, failed=failed, faults=faults))
                return

    # closing

    @property
    def is_complete(self) -> bool:
        return len(self.accepted) == self.config.accept

    def must_be_complete(self) -> None:
        if not self.is_complete:
            raise Short(
                f"{len(self.accepted)} of {self.config.accept} records were accepted after {self._asked} answers "
                f"(at most {self._most}; {self.config.effort} for every record of a kind's share). {self._account()} "
                f"Ask for fewer, raise `effort` or `asked_at_most`, or leave out the kinds that fail"
            )

    def _account(self) -> str:
        lines = []
        for name in sorted(self.pace.shares, key=lambda name: self.pace.of_kind(name).accepted):
            tally = self.pace.of_kind(name)
            why = ", ".join(f"{reason} {n}" for reason, n in self.reasons[name].most_common(3))
            lines.append(f"{name}: {tally.accepted} of {tally.judged}" + (f" ({why})" if why else ""))
        return "; ".join(lines) + "."

    def write(self, left: str = "") -> Artifact:
        """left: why the teacher was left before there were as many as asked for."""

        def fill(folder: Path) -> None:
            write_parquet(self.accepted, folder / RECORDS_FILE)
            write_parquet(self.rejected, folder / REJECTED_FILE)

        meta = {
            "recipe": "verifiable",
            "records": len(self.accepted),
            "rejected": len(self.rejected),
            "record_root": record_root(record.id for record in self.accepted),
            "kinds": {name: _counts(self.pace.of_kind(name)) for name in self.pace.shares},
            "rungs": {rung: _counts(self.pace.of_rung(rung)) for rung in ["plain", *self.config.rungs]},
            **({"left": left} if left else {}),
        }
        return self.step.write("records", fill, meta)


def _counts(tally: Tally) -> dict[str, int]:
    return {"asked": tally.asked, "accepted": tally.accepted}
