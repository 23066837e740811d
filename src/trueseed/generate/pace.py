"""Which kind is asked next, and on which rung: kinds advance together, however hard they are.

A kind's share of the records is fixed beforehand. The next question is for the kind that is furthest behind its share,
counting what is under way by the rate at which it succeeded so far, so that hard kinds get most of the asking. A kind
that costs more than its bound is left where it is, and the others make up for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from trueseed.generate.ladder import Rung


@dataclass(slots=True)
class Tally:
    """What a rung has given a kind so far. asked counts what is under way, too."""

    asked: int = 0
    judged: int = 0
    accepted: int = 0

    @property
    def rate(self) -> float:
        """Share accepted, starting from two imagined answers of which one was right."""
        return (self.accepted + 1) / (self.judged + 2)

    @property
    def expected(self) -> float:
        return self.accepted + (self.asked - self.judged) * self.rate


@dataclass(kw_only=True)
class Pace:
    """accept: records in all. shares: of each kind, together 1. ladders: the rungs of each kind, in order.

    effort: answers a kind may cost for each record of its share. tries: answers after which a rung's rate is believed.
    poor: the rate below which it is then passed over.
    """

    accept: int
    shares: Mapping[str, float]
    ladders: Mapping[str, Sequence[Rung]]
    effort: int
    tries: int
    poor: float
    tallies: dict[tuple[str, Rung], Tally] = field(init=False)

    def __post_init__(self) -> None:
        self.tallies = {(name, rung): Tally() for name in self.shares for rung in self.ladders[name]}

    def next_kind(self) -> str | None:
        """The kind furthest behind its share; None when what is under way should do, or no kind may be asked more."""
        if sum(tally.expected for tally in self.tallies.values()) >= self.accept:
            return None
        left = [name for name in self.shares if self.of_kind(name).asked < self.most(name)]
        return min(left, key=lambda name: self._expected(name) / self.shares[name], default=None)

    def first_rung(self, name: str, possible: Sequence[Rung]) -> Rung:
        """For a new task: the lowest rung that is not known to be poor, or else the best.

        A rung on trial gets no more than `tries` questions until their answers are in; the next one is asked meanwhile.
        """
        good = [rung for rung in possible if not self.is_poor(name, rung)]
        ready = [rung for rung in good if not self._on_trial(name, rung)]
        if good:
            return ready[0] if ready else good[-1]
        return max(possible, key=lambda rung: self.tallies[name, rung].rate)

    def _on_trial(self, name: str, rung: Rung) -> bool:
        tally = self.tallies[name, rung]
        return tally.asked >= self.tries > tally.judged

    def is_poor(self, name: str, rung: Rung) -> bool:
        tally = self.tallies[name, rung]
        return tally.judged >= self.tries and tally.accepted < self.poor * tally.judged

    def most(self, name: str) -> int:
        """How many answers a kind may cost."""
        return max(self.tries, ceil(self.accept * self.shares[name] * self.effort))

    def of_kind(self, name: str) -> Tally:
        return _sum([self.tallies[name, rung] for rung in self.ladders[name]])

    def of_rung(self, rung: Rung) -> Tally:
        return _sum([tally for (_, found), tally in self.tallies.items() if found == rung])

    def _expected(self, name: str) -> float:
        return sum(self.tallies[name, rung].expected for rung in self.ladders[name])


def _sum(tallies: Sequence[Tally]) -> Tally:
    return Tally(
        asked=sum(tally.asked for tally in tallies),
        judged=sum(tally.judged for tally in tallies),
        accepted=sum(tally.accepted for tally in tallies),
    )
