"""Many models before one judge, pair after pair, through the door: `trueseed arena --task T --judge J --verdicts N`.

    rounds = hold(task, entrants, seat, workspace, verdicts=400)      # `scores`: scores.json, verdicts.parquet

Every round chooses the pairs that tell most of all ratings (`evaluate.pairing`), draws for each a sample on which the
two have not met, and puts it to the judge in both orders. A round is a step of its own, so what was said is in the
ledger when the next is chosen, and the same call goes on where the last one ended, also with a model more. Choosing
goes by lot with a seed: a round that was cut short is chosen again as it was, and its journal asks only what is left.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trueseed import judging
from trueseed.core.artifacts import Artifact, each_once
from trueseed.core.canonical import digest
from trueseed.errors import ConfigError
from trueseed.evaluate.task import Task, thaw
from trueseed.judging import Entrant, Seat
from trueseed.workspace import Step, Workspace

if TYPE_CHECKING:
    from trueseed.evaluate.bradley_terry import Battles
    from trueseed.evaluate.pairwise import Bout, Opinion
    from trueseed.evaluate.verdicts import Verdict

Pair = tuple[str, str]  # names, in order
BOUTS_FILE = "bouts.jsonl"
ORDERS = 2  # verdicts of a bout
FEWEST = 8  # bouts of a round, or one a model where there are more


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round that is over. about: its scores.json. met: who met on which sample."""

    scores: Artifact
    about: Mapping[str, Any]
    met: tuple[tuple[Pair, str], ...]

    @property
    def faults(self) -> Counter[str]:
        """Replies that were no verdict, by kind."""
        return sum((Counter(judge["faults"]) for judge in self.about["judges"]), Counter())

    @property
    def verdicts(self) -> "list[Verdict]":
        from trueseed.evaluate.verdicts import VERDICTS_FILE, read

        return read(self.scores.path(VERDICTS_FILE), may_be_none=True)


def rounds(task: Artifact, entrants: Mapping[str, Entrant], workspace: Workspace) -> list[Round]:
    """Those on a task that are in the store, oldest first, by whichever judge. Of a round in which somebody stood by
    other answers than now, or who is not among the entrants, nothing counts.
    """
    now = {name: f"scores:{each.artifact.digest}" for name, each in entrants.items()}
    found = []
    for made in workspace.lineage().artifacts():
        if made.kind != "scores" or not (workspace.store.folder / "scores" / made.digest).is_dir():
            continue
        scores = workspace.store.get(f"scores:{made.digest}")
        if scores.meta.get("round_of") != task.digest:
            continue
        about = json.loads(scores.path("scores.json").read_bytes())
        if all(now.get(name) == each["artifact"] for name, each in about["entrants"].items()):
            lines = map(json.loads, scores.path(BOUTS_FILE).read_bytes().splitlines())
            met = tuple(((line["a"], line["b"]), line["sample"]) for line in lines)
            found.append(Round(scores=scores, about=about, met=met))
    return found


def hold(
    task: Artifact,
    entrants: Mapping[str, Entrant],
    seat: Seat,
    workspace: Workspace,
    *,
    verdicts: int,
    until: float | None = None,
    checked: bool = True,
) -> tuple[Round, ...]:
    """Rounds until this judge was asked for so many verdicts on this task, those of earlier calls included; until the
    ratings' standard error is `until` points on average; or until everybody met everybody on every sample. entrants:
    by the name that they have in the arena. checked: the judge gets its card first.

    Raises `ConfigError` for fewer than two entrants; `Refused` when its terms do not let it judge, or do no longer.
    """
    if len(entrants) < 2:
        raise ConfigError(f"an arena needs two models that were measured on the task, and here are {len(entrants)}")
    card = judging.check(seat, workspace) if checked else None
    arena = _Arena(task=task, frozen=thaw(task), entrants=entrants, seat=seat, card=card)
    found = [each for each in rounds(task, entrants, workspace) if each.about["identity"] == digest(seat.identity)]
    while (left := verdicts - ORDERS * sum(len(each.met) for each in found)) >= ORDERS:
        battles = _battles(found)
        if until is not None and _is_sure(battles, len(entrants), until):
            break
        bouts = arena.chosen(found, battles, min(left // ORDERS, max(FEWEST, len(entrants))))
        if not bouts:
            break
        found.append(arena.fight(bouts, workspace))
    return tuple(found)


def _battles(found: Sequence[Round]) -> "Battles | None":
    from trueseed.evaluate.bradley_terry import Battles

    said = [verdict for each in found for verdict in each.verdicts]
    return Battles.of_verdicts(said) if said else None


def _is_sure(battles: "Battles | None", models: int, points: float) -> bool:
    """Whether all are rated, none without a bound, and their errors that small on average."""
    from trueseed.evaluate.arena import POINTS
    from trueseed.evaluate.bradley_terry import fit

    if battles is None or len(battles.models) < models:
        return False
    try:
        fitted = fit(battles)
    except ConfigError:  # groups that did not meet yet
        return False
    errors = POINTS * np.sqrt(np.diag(fitted.covariance))
    return not fitted.regularised and float(errors.mean()) <= points


@dataclass(frozen=True, kw_only=True)
class _Arena:
    task: Artifact
    frozen: Task
    entrants: Mapping[str, Entrant]
    seat: Seat
    card: Artifact | None

    @cached_property
    def samples(self) -> list[str]:
        """Those that this judge can judge. Raises `ConfigError` for none."""
        needed = self.seat.goes_by
        found = [each.id for each in self.frozen.samples if not needed or each.row.get(needed)]
        if not found:
            raise ConfigError(
                f"no sample of {self.frozen.name} has a `{needed}`, by which this judge goes; take another"
            )
        return found

    def chosen(self, found: Sequence[Round], battles: "Battles | None", count: int) -> list[tuple[Pair, str]]:
        """The next bouts: pairs by what they tell, and for each a sample by lot, of those they have not met on."""
        from trueseed.evaluate.pairing import next_pairs

        names, samples = sorted(self.entrants), self.samples
        met = {pair: set[str]() for pair in combinations(names, 2)}
        for pair, sample in (bout for each in found for bout in each.met):
            met[pair].add(sample)
        seed = len(found)
        room = {pair: len(samples) - len(on) for pair, on in met.items()}
        lot, bouts = np.random.default_rng(seed), []
        for pair in next_pairs(names, battles, count=count, seed=seed, room=room):
            free = [each for each in samples if each not in met[pair]]
            bouts.append((pair, free[lot.integers(len(free))]))
            met[pair].add(bouts[-1][1])
        return bouts

    def fight(self, bouts: Sequence[tuple[Pair, str]], workspace: Workspace) -> Round:
        """One round, in a step that asks the judge."""
        there = {name: self.entrants[name] for name in sorted({name for pair, _ in bouts for name in pair})}
        inputs = [self.task, *(each.artifact for each in there.values()), *self.seat.weights]
        inputs += [self.card] if self.card else []
        rows = [{"a": a, "b": b, "sample": sample} for (a, b), sample in bouts]
        config = {**self.seat.identity, "bouts": digest(rows)}
        features = self.seat.model.features
        with workspace.step(
            "judge", inputs=each_once(inputs), ask=self.seat.asks, config=config, features=features
        ) as step:
            scores = step.earlier("scores") or self._fought(bouts, rows, there, step)
        about = json.loads(scores.path("scores.json").read_bytes())
        return Round(scores=scores, about=about, met=tuple(bouts))

    def _fought(
        self,
        bouts: Sequence[tuple[Pair, str]],
        rows: Sequence[Mapping[str, str]],
        there: Mapping[str, Entrant],
        step: Step,
    ) -> Artifact:
        from trueseed.evaluate import verdicts
        from trueseed.evaluate.pairwise import Bout, decided

        sides = {name: each.contestant(name) for name, each in there.items()}
        samples = {each.id: each for each in self.frozen.samples}
        fights = [Bout(sample=samples[sample], a=sides[a], b=sides[b]) for (a, b), sample in bouts]
        said = self._opinions(fights, step)
        judge = judging.judgement(self.seat, self.card, [each for some in said for each in some])
        ruled = [
            verdict
            for bout, some in zip(fights, said, strict=True)
            for verdict in decided(some, bout.a, bout.b, judge.called)
        ]
        about = {
            "task": {**self.frozen.about, "artifact": self.task.digest},
            "entrants": {name: each.to_json() for name, each in there.items()},
            "identity": digest(self.seat.identity),
            "judges": [{**judge.about, **judge.came_to(sides.values()), "decides": True}],
            "counts": {"asked": ORDERS * len(bouts), "verdicts": len(ruled)},
        }
        lines = [{**row, "opinions": [each.to_json() for each in some]} for row, some in zip(rows, said, strict=True)]

        def fill(folder: Path) -> None:
            (folder / "scores.json").write_text(json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False))
            verdicts.write(folder / verdicts.VERDICTS_FILE, ruled)
            text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
            (folder / BOUTS_FILE).write_text(text, encoding="utf-8")

        meta = {"task": self.frozen.name, "judge": self.seat.source, "round_of": self.task.digest}
        return step.write("scores", fill, meta)

    def _opinions(self, fights: "Sequence[Bout]", step: Step) -> "list[list[Opinion]]":
        """By bout, in both orders; those of before a kill too, which are written down as they come."""
        from trueseed.evaluate.conversation import Conversations
        from trueseed.evaluate.pairwise import Opinion, fought

        said: list[list[Opinion]] = [[] for _ in fights]
        journal = step.journal("bouts")
        for line in journal:
            said[line.pop("bout")].append(Opinion.from_json(line))
        known = {(place, each.order) for place, some in enumerate(said) for each in some}
        with self.seat.taken(step) as judge:
            for place, each in fought(fights, judge, Conversations.of(self.frozen), known=known):
                journal.append({"bout": place, **each.to_json()})
                said[place].append(each)
        return [sorted(some, key=lambda each: each.order) for some in said]
