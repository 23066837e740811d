"""What was measured in a workspace, side by side: two models on their tasks, and a task's ladder of models.

    compare(workspace, "weights:3f2a…", "student")     # sample by sample, on every task that both were measured on
    ladder(workspace, task)                            # everybody who was measured on it, best first

Scores are found in the ledger: of several of one model on one task, the newest.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueseed import judging, scoring, tournament
from trueseed.core.artifacts import Artifact
from trueseed.core.plural import form, many
from trueseed.errors import ConfigError
from trueseed.evaluate.formats import reading
from trueseed.evaluate.formats.arena_hard import MUCH
from trueseed.evaluate.task import OPEN
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Entry
from trueseed.ledger.looks import looks_at
from trueseed.student import newest_student
from trueseed.workspace import Workspace
from trueseed.worth import of_floor, share, sides

if TYPE_CHECKING:
    from trueseed.evaluate.arena import Leaderboard
    from trueseed.evaluate.bradley_terry import Battles
    from trueseed.evaluate.judgement import Heard
    from trueseed.evaluate.scored import Comparison
    from trueseed.evaluate.stats import Measured

STUDENT = "student"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Scores on a task that are in the store. task: digest of its samples, '' where the scores were imported without
    them: those are numbers to be read, and are set beside nothing. weights: digest of the model's, where they are here.
    trained: when it was trained here, None of everybody else.
    """

    scores: Artifact
    entry: Entry
    task: str
    weights: str
    trained: datetime | None


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A model on a ladder. kind: `student`, `target`, or `other` for whom nobody trained here. contaminated: share of
    the samples that stand in what it was trained on here; None where nothing of that is known. floor: that its score is
    no higher than what nothing scores, in words; ''.
    """

    model: str
    kind: str
    on: date
    scores: str
    score: "Measured"
    contaminated: float | None = None
    floor: str = ""

    def to_json(self) -> dict[str, Any]:
        said = {"model": self.model, "kind": self.kind, "on": self.on.isoformat(), "scores": self.scores}
        return {**said, "contaminated": self.contaminated, "floor": self.floor, **self.score.to_json()}


# ------------------------------------------------------------------------------------------------------- two models


def compare(
    workspace: Workspace,
    a: str,
    b: str,
    *,
    metric: str | None = None,
    seed: int = 7,
    note: Callable[[str], None] = lambda _: None,
) -> "tuple[Comparison, ...]":
    """On every task that both were measured on, with p-values corrected for as many. a, b: `scores:<digest>`,
    `student`, `weights:<digest>`, or a model's source. Tasks that only a judge can rank are left out beside others.
    note: told of scores without samples, which are left out.

    Raises `ConfigError` when there is no such task, and what `scored.compare` raises.

    >>> from tempfile import mkdtemp
    >>> from trueseed.evaluate.outputs import Output, Outputs, Recorded
    >>> from trueseed.evaluate.task import Config
    >>> folder = Path(mkdtemp())
    >>> workspace = Workspace.open(folder / "work", create=True)
    >>> rows = [f'{{"id": {n}, "prompt": "{n} + 1?", "target": "{n + 1}"}}' for n in range(8)]
    >>> _ = (folder / "sums.jsonl").write_text("\\n".join(rows))
    >>> task = Config(file=str(folder / "sums.jsonl"), scorer="number", source="own/ada")
    >>> for name, right in (("bob", 2), ("eve", 7)):
    ...     said = (Output(id=str(n), instruction=f"{n} + 1?", output=str(n + (n < right))) for n in range(8))
    ...     origin = Recorded(source=f"own/{name}", maker="own/ada")
    ...     _ = scoring.measure(workspace, Outputs(generator=name, origin=origin, rows=tuple(said)), task)
    >>> (found,) = compare(workspace, "own/bob", "own/eve")
    >>> found.better, found.worse, f"{found.difference.value:+.3f}", f"{found.p:.4f}", found.test
    (5, 0, '+0.625', '0.0625', 'McNemar, exact')
    >>> [flip.id for flip in found.flips]
    ['2', '3', '4', '5', '6']
    """
    from trueseed.evaluate import scored

    before, after = _of(a, workspace, note), _of(b, workspace, note)
    shared = [task for task in before if task in after]
    if not shared:
        raise ConfigError(
            f"{a!r} and {b!r} were never measured on the same task: {_tasks(before)}; {_tasks(after)}. Measure both: "
            f"`trueseed evaluate MODEL --task FILE --scorer NAME`"
        )
    found, lineage = [], workspace.lineage()
    pairs = [(scored.read(before[task]), scored.read(after[task])) for task in shared]
    with_merit = [pair for pair in pairs if (metric or pair[0].metric) not in scored.NO_MERIT]
    for one, two in with_merit or pairs:  # of what only a judge can rank nothing is said here, unless there is no other
        compared = scored.compare(one, two, metric=metric, seed=seed)
        found.append(replace(compared, looks=looks_at(one.task, lineage)))
    return scored.together(found)


def _of(name: str, workspace: Workspace, note: Callable[[str], None]) -> dict[str, Artifact]:
    """Scores of a model, by task. Raises `ConfigError` when nothing goes by that name."""
    kept = list(_kept(workspace))
    if name.startswith("scores:"):
        artifact = workspace.store.get(name)
        found = [each for each in kept if each.scores.digest == artifact.digest]
    elif name == STUDENT or name.startswith("weights:"):
        weights = newest_student(workspace) if name == STUDENT else workspace.store.get(name)
        found = [each for each in kept if each.weights == weights.digest]
    else:
        found = [each for each in kept if each.scores.meta["of"] == name and each.trained is None]
    if not found:
        known = sorted({str(each.scores.meta["of"]) for each in kept}) or ["nobody"]
        raise ConfigError(f"nothing was measured of {name!r} in this workspace; measured were {', '.join(known)}")
    told = _without_samples(found)
    if len(told) == len(found):
        raise ConfigError("; ".join(told))
    for each in told:
        note(each)
    return {each.task: each.scores for each in found if each.task}


def _without_samples(kept: Iterable[Kept]) -> list[str]:
    """Why some of these are set beside nothing, a sentence each."""
    return [
        f"{each.scores.meta['of']} on {each.scores.meta['task']} was imported without its samples, which a comparison "
        f"needs: import it again with them (`trueseed harness MODEL --results FILE --samples FILE`)"
        for each in kept
        if not each.task
    ]


def _tasks(scores: dict[str, Artifact]) -> str:
    return ", ".join(f"{each.meta['task']} ({task[:8]})" for task, each in scores.items())


# ------------------------------------------------------------------------------------------------------- one task


def measured(workspace: Workspace) -> Iterator[Kept]:
    """All scores on tasks that are still in the store, oldest first; none without samples."""
    return (each for each in _kept(workspace) if each.task)


def reported(task: str, workspace: Workspace) -> list[str]:
    """Which scores on a task of this name came without samples, a sentence each."""
    return _without_samples(each for each in _kept(workspace) if each.scores.meta["task"] == task)


def _kept(workspace: Workspace) -> Iterator[Kept]:
    lineage = workspace.lineage()
    for made in lineage.artifacts():
        entry = lineage.maker(made.digest)
        if made.kind != "scores" or entry is None or entry.predicate["step"] != scoring.STEP:
            continue
        if not (workspace.store.folder / "scores" / made.digest).is_dir():
            continue  # destroyed, or lost: the ledger knows of it, and nothing can be read
        inputs = {e["kind"]: e["digest"] for e in entry.predicate["inputs"] if e["role"] == "input"}
        weights = inputs.get("weights", "")
        yield Kept(
            scores=workspace.store.get(f"scores:{made.digest}"),
            entry=entry,
            task=inputs.get("prompts", ""),
            weights=weights,
            trained=_trained(weights, lineage),
        )


def ladder(workspace: Workspace, task: str, metric: str | None = None) -> tuple[Rung, ...]:
    """Everybody who was measured on the task with this digest, best first: each model's newest scores."""
    from trueseed.evaluate import scored

    newest = {}
    for each in measured(workspace):
        if each.task == task:
            found = scored.read(each.scores)
            newest[found.identity] = each, found
    rungs = []
    for each, found in newest.values():
        at = each.trained or datetime.fromisoformat(each.entry.predicate["at"])
        rungs.append(
            Rung(
                model=found.model,
                kind="student" if each.trained else "other",
                on=at.date(),
                scores=each.scores.digest,
                score=found.measured(metric or found.metric),
                contaminated=share(found.about),
                floor="".join(of_floor(found.about, metric or found.metric)),
            )
        )
    low_is_good = any(found.less_is_better(metric or found.metric) for _, found in newest.values())
    return tuple(sorted(rungs, key=lambda rung: rung.score.value, reverse=not low_is_good))


def is_student(weights: str, lineage: Lineage) -> bool:
    """Whether the run trained them here."""
    return _trained(weights, lineage) is not None


def _trained(weights: str, lineage: Lineage) -> datetime | None:
    maker = lineage.makers(weights)[:1] if weights else ()
    trained = [entry for entry in maker if entry.predicate["step"] == "train"]
    return datetime.fromisoformat(trained[0].predicate["at"]) if trained else None


# ------------------------------------------------------------------------------------------------------- the arena


def competing(
    names: Sequence[str], workspace: Workspace | None, *, task: str = "", note: Callable[[str], None] = lambda _: None
) -> "list[Path | Artifact]":
    """What an arena is held on. names: files of verdicts, or `scores:<digest>` of a judge or of models on one task;
    without any, everybody who was measured on the task that is called, or has the digest, `task`. note: told of
    scores on it that came without samples.

    Raises `ConfigError` for a task that nobody was measured on, and for names in a workspace that is not there.
    """
    return [_held(name, workspace) for name in names] if names else [*_on(task, workspace, note)]


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Who met whom. first: how often the answer won that was shown first; None where no order is known. about: by model
    what its scores say of contamination and looks; nothing of verdicts in a file. doubts: what speaks against whoever
    judged, in words.
    """

    battles: "Battles"
    first: "Measured | None"
    about: Mapping[str, Mapping[str, Any]]
    doubts: tuple[str, ...] = ()

    def leaderboard(self, *, anchor: str = "", resamples: int = 0) -> "Leaderboard":
        """As `evaluate.arena.leaderboard`."""
        from trueseed.evaluate import arena

        said: dict[str, Any] = {"first": self.first, "about": self.about, "doubts": self.doubts}
        return arena.leaderboard(self.battles, anchor=anchor, resamples=resamples, **said)

    def next_pairs(self, count: int) -> list[tuple[str, str]]:
        """Whom to judge next, where it tells most."""
        from trueseed.evaluate import pairing

        return pairing.next_pairs(self.battles.models, self.battles, count=count) if count else []


def arena(
    held: "Sequence[Path | Artifact]",
    *,
    judge: str = "",
    metric: str | None = None,
    much: int = MUCH,
    baseline: str = "",
    note: Callable[[str], None] = lambda _: None,
) -> Arena:
    """Any number of models, rated by how they did in pairs. held: files of verdicts, or scores, as `competing` finds
    them. judge: only its verdicts; else, of judges here, those of who decides. much: so many verdicts is one by which
    the winner is much better. baseline: as `formats.reading.judgments`. note: told of files of another format than
    ours, and of what in them was no verdict.

    Raises `ConfigError` for verdicts mixed with scores, for none, and as the readers raise.

    >>> from tempfile import mkdtemp
    >>> file = Path(mkdtemp()) / "verdicts.jsonl"
    >>> row = '{{"sample": "{}", "a": "bob", "b": "eve", "winner": "{}", "order": "ab", "judge": "own/ada"}}'
    >>> _ = file.write_text("\\n".join(row.format(n, "a" if n % 4 == 0 else "b") for n in range(40)))
    >>> met = arena([file])
    >>> [(row.rank, row.model, round(row.rating), f"{row.wins:.0%}") for row in met.leaderboard().rows]
    [(1, 'eve', 1095, '75%'), (2, 'bob', 905, '25%')]
    >>> met.next_pairs(1)
    [('bob', 'eve')]
    """
    from trueseed.evaluate import arena as pairs
    from trueseed.evaluate import scored
    from trueseed.evaluate.judgement import heard

    scores = [scored.read(each) for each in held if isinstance(each, Artifact) and not _is_of_judges(each)]
    if len(scores) == len(held):
        about = {each.model: each.about for each in scores}
        return Arena(battles=pairs.of_scores(scores, metric), first=None, about=about)
    if scores:
        raise ConfigError("verdicts and scores are not rated together; give one or the other")
    said = [heard(each) if isinstance(each, Artifact) else _judgments(each, baseline, note) for each in held]
    about = said_of_sides(each for each in held if isinstance(each, Artifact))
    return by_judges(said, judge=judge, much=much, about=about)


def said_of_sides(comparisons: Iterable[Artifact]) -> dict[str, Mapping[str, Any]]:
    """By model, what scores say of contamination and looks. comparisons: by judges."""
    every = (json.loads(each.path("scores.json").read_bytes()) for each in comparisons)
    return {name: side for scores in every for name, side in sides(scores).items()}


def by_judges(
    said: "Sequence[Heard]", *, judge: str = "", much: int = MUCH, about: Mapping[str, Mapping[str, Any]]
) -> Arena:
    """Who met whom before judges. about: as of `Arena`. A judge whose verdicts turn with the order has no voice.

    Raises `ConfigError` where there is no verdict, or not of this judge, where the order decides and nobody else, and
    as `judgement.counted`.
    """
    from trueseed.evaluate import arena as pairs
    from trueseed.evaluate.bradley_terry import Battles
    from trueseed.evaluate.judgement import counted
    from trueseed.evaluate.order import swayed

    found, doubts = counted(said, judge)
    if not found:
        names = ", ".join(sorted({name for each in said for name in each.judges})) or "nobody"
        raise ConfigError(f"there is no verdict{f' of {judge!r}' if judge else ''}; judges are {names}")
    silent = swayed(found)
    why = [each.told(name) for name, each in silent.items()]
    kept = [each for each in found if each.judge not in silent]
    if not kept:
        raise ConfigError(f"there are no ratings: {'; '.join([*why, *doubts])}")
    battles, first = Battles.of_verdicts(kept, much=much), pairs.shown_first(kept)
    return Arena(battles=battles, first=first, about=about, doubts=(*why, *doubts))


def _judgments(path: Path, baseline: str, note: Callable[[str], None]) -> "Heard":
    from trueseed.evaluate.judgement import Heard

    found = reading.judgments(path, baseline)
    if found.format:
        none = f"{many(found.none, 'judgment')} {form(found.none, 'was', 'were')} none"
        note(f"{path.name}: {found.format}, {many(len(found.verdicts), 'verdict')}; {none}")
    return Heard(voices=(), verdicts=tuple(found.verdicts))


def _held(name: str, workspace: Workspace | None) -> "Path | Artifact":
    if not name.startswith("scores:"):
        return Path(name)
    if workspace is None:
        raise ConfigError(f"{name!r} lies in a workspace; name it with --workspace")
    return workspace.store.get(name)


def _is_of_judges(scores: Artifact) -> bool:
    from trueseed.evaluate.verdicts import VERDICTS_FILE

    return scores.path(VERDICTS_FILE).is_file()


def compete(
    task: str,
    seat: judging.Seat,
    workspace: Workspace,
    *,
    verdicts: int,
    until: float | None = None,
    checked: bool = True,
) -> tuple[tournament.Round, ...]:
    """Everybody who was measured on the task that is called, or has the digest, `task`, before a judge, pair after pair
    where it tells most. seat: who judges. verdicts, until, checked: as of `tournament.hold`.

    Raises `ConfigError` for a task that nobody was measured on, or on which something else tells who does better; and
    as `tournament.hold`.
    """
    named = _called(task, workspace)
    if (scorer := _scorer(named, workspace)) != OPEN:
        raise ConfigError(
            f"task {task!r} is scored by {scorer!r}, so nobody judges: `trueseed arena --task {task}` rates all who "
            f"were measured on it; judges are for tasks of the scorer {OPEN!r}"
        )
    frozen = workspace.store.get(f"prompts:{named}")
    entrants = _entrants(frozen, workspace)
    return tournament.hold(frozen, entrants, seat, workspace, verdicts=verdicts, until=until, checked=checked)


def _on(task: str, workspace: Workspace | None, note: Callable[[str], None]) -> Iterator[Artifact]:
    """The newest scores of everybody on a task, by its name or digest; where only judges tell who does better, what
    they said. Raises `ConfigError` for none, or two tasks.
    """
    if not task:
        raise ConfigError("give files of verdicts, `scores:<digest>`, or --task with a task that was measured here")
    if workspace is None:
        raise ConfigError(f"no task {task!r} was measured, for there is no workspace; name it with --workspace")
    named = _called(task, workspace)
    for why in reported(task, workspace):
        note(why)
    held = list[tournament.Round]()
    if _scorer(named, workspace) == OPEN:
        frozen = workspace.store.get(f"prompts:{named}")
        held = tournament.rounds(frozen, _entrants(frozen, workspace), workspace)
    yield from (each.scores for each in held)
    yield from (workspace.store.get(f"scores:{rung.scores}") for rung in (() if held else ladder(workspace, named)))


def _scorer(task: str, workspace: Workspace) -> str:
    """By what its scores say."""
    one = next(each.scores for each in measured(workspace) if each.task == task)
    return str(json.loads(one.path("scores.json").read_bytes())["task"]["scorer"])


def _called(task: str, workspace: Workspace) -> str:
    tasks = {each.task for each in measured(workspace) if _is_called(each, task)}
    if len(tasks) != 1:
        found = f"{len(tasks)} tasks that were measured here are called {task!r}; name one, or its digest"
        raise ConfigError("; ".join([found, *reported(task, workspace)]))
    return tasks.pop()


def _entrants(task: Artifact, workspace: Workspace) -> dict[str, judging.Entrant]:
    """Everybody by what they answered when they were last measured on a task, under the names of its ladder."""
    kept = {each.scores.digest: each for each in measured(workspace) if each.task == task.digest}
    rungs = ladder(workspace, task.digest)
    names = [rung.model for rung in rungs]
    found = {}
    for rung in rungs:
        each = kept[rung.scores]
        name = rung.model if names.count(rung.model) == 1 else f"{rung.model}#{rung.scores[:8]}"
        found[name] = judging.by_scores(each.scores, _weights(each, workspace), workspace)
    return found


def _weights(kept: Kept, workspace: Workspace) -> Artifact | None:
    """None where there are none, or they were destroyed since."""
    here = kept.weights and (workspace.store.folder / "weights" / kept.weights).is_dir()
    return workspace.store.get(f"weights:{kept.weights}") if here else None


def _is_called(kept: Kept, task: str) -> bool:
    return kept.scores.meta["task"] == task or (len(task) >= 6 and kept.task.startswith(task))
