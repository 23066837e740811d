"""What a reader is told of a comparison: the win rate, who judged, and why they may not be believed.

    trial = Trial(samples=samples, a=a, b=b, judges=[Judgement(source=…, card=…, opinions=…)])
    trial.to_json()      # part of scores.json
    trial.lines()        # samples.jsonl: a line a sample, with both answers and all that was said of them
    counted([heard(scores)])        # of artifacts with both and verdicts.parquet: what counts beyond one comparison

Judges that passed their card decide. Where none did, all of them do, and the scores say that they are not to be
believed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.plural import form, many
from trueseed.evaluate.judge_card import cost, faults
from trueseed.evaluate.pairwise import Contestant, Opinion, Tally, decided, kinship, summarise
from trueseed.evaluate.sample import Sample
from trueseed.evaluate.verdicts import VERDICTS_FILE, Verdict, merged, read
from trueseed.teachers.rubric import Method

_WHY_NONE = {
    "too_long": ("is", "are", "too long for its context"),
    "out_of_scope": ("holds", "hold", "nothing that it goes by"),
}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """All that one judge said. method: how its verdicts were had. card: `artifact`, `passed` and `failed` of its card;
    None when it was not checked. usd: what it cost, where that is known.
    """

    source: str
    rubric: Mapping[str, Any]
    card: Mapping[str, Any] | None
    method: Method = "words"
    opinions: Sequence[Opinion] = ()
    usd: float | None = None

    @property
    def passed(self) -> bool:
        return bool(self.card and self.card["passed"])

    @property
    def called(self) -> str:
        """As its verdicts name it, so that those of one model asked in two ways are not taken for each other's."""
        return self.source if self.method == "words" else f"{self.source} by {self.method}"

    @property
    def about(self) -> dict[str, Any]:
        """Who it is, as scores say it."""
        said = {"name": self.called, "source": self.source, "method": self.method, "rubric": dict(self.rubric)}
        return {**said, "card": self.card}

    def came_to(self, sides: Iterable[Contestant]) -> dict[str, Any]:
        """What its opinions of them came to beside verdicts, and why it may prefer one."""
        return {
            "kinship": self.kinship(sides),
            "faults": faults(self.opinions),
            "repaired": sum(each.ruling.repaired for each in self.opinions),
            "cost": cost(self.opinions, self.usd),
        }

    def kinship(self, sides: Iterable[Contestant]) -> list[str]:
        return [why for each in sides if (why := kinship(self.source, each))]

    def doubts(self, decides: bool) -> list[str]:
        """What its card says against it."""
        if self.card is None:
            return [f"the judge {self.called} was not checked: `trueseed judge check` tells whether to believe it"]
        if self.passed:
            return []
        voice = "" if decides else ", and has no voice here"
        why = "; ".join(f"{name} {said}" for name, said in self.card["failed"].items())
        return [f"the judge {self.called} failed its card{voice}: {why}"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Two contestants before their judges."""

    samples: Sequence[Sample]
    a: Contestant
    b: Contestant
    judges: Sequence[Judgement]
    seed: int = 0

    @property
    def voices(self) -> tuple[Judgement, ...]:
        """Who decides."""
        return tuple(judge for judge in self.judges if judge.passed) or tuple(self.judges)

    @cached_property
    def tally(self) -> Tally:
        return self._of(self.voices)

    def _of(self, judges: Sequence[Judgement]) -> Tally:
        opinions = {judge.called: judge.opinions for judge in judges}
        return summarise(self.samples, opinions, self.a, self.b, seed=self.seed)

    @property
    def verdicts(self) -> list[Verdict]:
        """Of all judges, those without a voice too."""
        return [each for judge in self.judges for each in decided(judge.opinions, self.a, self.b, judge.called)]

    def to_json(self) -> dict[str, Any]:
        agreement = self.tally.agreement.items()
        return {
            "metrics": {name: each.to_json() for name, each in self.tally.metrics.items()},
            "metric": "win_rate",
            "counts": self.tally.counts,
            "judges": [self._told(judge) for judge in self.judges],
            "agreement": [{"judges": list(pair), "kappa": each.to_json()} for pair, each in agreement],
            "believed": any(judge.passed for judge in self.judges),
            "warnings": self.warnings,
            "seed": self.seed,
        }

    def _told(self, judge: Judgement) -> dict[str, Any]:
        alone = self._of([judge])
        return {
            **judge.about,
            "scope": (judge.card or {}).get("scope", ""),
            "decides": judge in self.voices,
            "counts": {name: n for name, n in alone.counts.items() if name != "split"},
            "metrics": {name: each.to_json() for name, each in alone.metrics.items()},
            **judge.came_to((self.a, self.b)),
        }

    @property
    def warnings(self) -> list[str]:
        """What a reader of the win rate must know, in words."""
        found = [doubt for judge in self.judges for doubt in judge.doubts(judge in self.voices)]
        found += [why for judge in self.judges for why in judge.kinship((self.a, self.b))]
        tally = self.tally
        if tally.win_rate and not any(judge.passed for judge in self.judges):
            found.append("no judge here is known to be any good: this win rate is not to be believed")
        have = form(tally.no_verdict, "has", "have")
        undecided = f"{tally.no_verdict} of {many(tally.samples, 'sample')} {have} no verdict"
        if tally.order_decides:
            of = f"{tally.by_order} of {many(len(tally.won), 'sample')} that were decided"
            found.append(f"there is no win rate: on {of} the verdict turned with the order of the answers")
        elif tally.win_rate is None:
            found.append(f"there is no win rate: {undecided}")
        elif tally.no_verdict:
            found.append(f"{undecided} and {form(tally.no_verdict, 'is', 'are')} left out")
        for judge in self.judges:
            for why, n in self._not_asked(judge).items():
                one, several, what = _WHY_NONE[why]
                found.append(f"{judge.called}: {many(n, 'sample')} {form(n, one, several)} {what}")
        return found

    def _not_asked(self, judge: Judgement) -> dict[str, int]:
        """Samples that could not be put to it, by why."""
        told: dict[str, set[str]] = {why: set() for why in _WHY_NONE}
        for each in judge.opinions:
            if each.ruling.fault in told:
                told[each.ruling.fault].add(each.sample)
        return {why: len(samples) for why, samples in told.items() if samples}

    def lines(self) -> Iterator[dict[str, Any]]:
        """won: what a sample counts for in the win rate; chance: in the weighted one; None of what was not decided."""
        for sample in self.samples:
            said = {
                judge.called: [each.to_json() for each in judge.opinions if each.sample == sample.id]
                for judge in self.judges
            }
            sides = {"a": self.a.answers[sample.id], "b": self.b.answers[sample.id]}
            counts = {"won": self.tally.won.get(sample.id), "chance": self.tally.chances.get(sample.id)}
            yield {"id": sample.id, "prompt": sample.prompt, **sides, **counts, "judges": said}


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A judge in scores that were kept. decides: whether its verdicts count there. kinship: as of `Judgement`."""

    judge: Judgement
    decides: bool
    kinship: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What judges said of models. voices: of those whose cards are known; of a file of verdicts none are. verdicts: of
    everybody.
    """

    voices: tuple[Voice, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def judges(self) -> set[str]:
        return {each.judge.called for each in self.voices} | {each.judge for each in self.verdicts}


def heard(scores: Artifact) -> Heard:
    """Reads back what `Trial` wrote, and what it was written beside."""
    told = json.loads(scores.path("scores.json").read_bytes())["judges"]
    voices = [
        Voice(
            judge=Judgement(**{name: each[name] for name in ("source", "method", "rubric", "card")}),
            decides=each["decides"],
            kinship=tuple(each["kinship"]),
        )
        for each in told
    ]
    return Heard(voices=tuple(voices), verdicts=tuple(read(scores.path(VERDICTS_FILE), may_be_none=True)))


def counted(parts: Sequence[Heard], only: str = "") -> tuple[list[Verdict], list[str]]:
    """The verdicts that count of all this together, and what speaks against whoever gave them, in words. only: of this
    judge, with a voice or without.

    Who failed its card has no voice beside one that passed, also where the two did not sit together; a card that failed
    weighs more than one that passed, and either more than none. A verdict that was kept twice, for a run and for a
    target, counts once. Raises `ConfigError` for a verdict that is in two files.
    """
    voices = [each for part in parts for each in part.voices]
    failed = {_tried(each.judge) for each in voices if each.judge.card and not each.judge.passed}
    passed = {_tried(each.judge) for each in voices if each.judge.passed} - failed
    believed = any(each.decides and _tried(each.judge) in passed for each in voices)

    def counts(voice: Voice) -> bool:
        if only:
            return voice.judge.called == only
        return voice.decides and (not believed or _tried(voice.judge) in passed)

    kept, files, doubts = list[Verdict](), list[list[Verdict]](), list[str]()
    for part in parts:
        silent = {each.judge.called for each in part.voices if not counts(each)}
        said = [each for each in part.verdicts if each.judge not in silent and only in ("", each.judge)]
        (kept.extend if part.voices else files.append)(said)
        for each in part.voices:
            if only in ("", each.judge.called):
                doubts += [] if _tried(each.judge) in passed else each.judge.doubts(counts(each))
                doubts += each.kinship if counts(each) else ()
    return merged([list(dict.fromkeys(kept)), *files]), list(dict.fromkeys(doubts))


def _tried(judge: Judgement) -> tuple[str, str]:
    """What a card is of."""
    return judge.called, json.dumps(judge.rubric, sort_keys=True)
