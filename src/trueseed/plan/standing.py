"""How every teacher that a run file names stands today: what the run will say when it comes to it, in the run's words.

Terms, contract, recall, hold, quota, price. A maker on hold, or whose own quota is used up, does not end a run that can
go on with the next teacher (`failover`); all the rest does, whenever that teacher's turn comes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from trueseed import failover
from trueseed.asking import beside, in_order, must_be_in_force, uses_of, verdicts
from trueseed.errors import ConfigError, Refused, TrueSeedError
from trueseed.runfile import Asked, RunFile
from trueseed.teachers.account.holds import OnHold
from trueseed.teachers.account.quotas import OutOfQuota
from trueseed.teachers.api.held import look
from trueseed.terms.rules import Verdict
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """of: `teacher`, `failover 1`, `transform 1`. verdicts: the terms' on what a run asks. endings: what the run ends
    with for its sake, beside a refusal of the first teacher by its terms. left: the hold or the used-up quota for which
    the next one is asked, or ''.
    """

    of: str
    source: str
    verdicts: tuple[Verdict, ...]
    endings: tuple[TrueSeedError, ...] = ()
    left: str = ""

    @property
    def refused(self) -> bool:
        return any(not verdict.permitted for verdict in self.verdicts) or any(
            isinstance(ending, Refused) for ending in self.endings
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "of": self.of,
            "source": self.source,
            "verdict": "refuse" if self.refused or self.endings else "left" if self.left else "permit",
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "endings": [str(ending) for ending in self.endings],
            "left": self.left,
        }


def standings(file: RunFile, workspace: Workspace, today: date) -> tuple[Standing, ...]:
    """Of each teacher, in the order of asking, and then of those who rewrite or distil. Raises `ConfigError` for a
    source that is none, `Broken`, `AccountUnavailable`.
    """
    last = file.teachers[-1:]
    may_be_left = {of: asked not in last for of, asked in in_order(file).items()}
    everyone = in_order(file) | beside(file)
    return tuple(
        _standing(of, asked, file, workspace, today, may_be_left.get(of, False)) for of, asked in everyone.items()
    )


def _standing(of: str, asked: Asked, file: RunFile, workspace: Workspace, today: date, may_be_left: bool) -> Standing:
    endings: list[TrueSeedError] = []
    left = ""
    for question in _questions(of, asked, file, workspace, today):
        try:
            question()
        except (OnHold, OutOfQuota) as gone:
            if may_be_left:
                left = str(gone)
                break  # it is left before anything else is looked at
            endings.append(gone)
        except (Refused, ConfigError) as err:
            endings.append(err)
    said = verdicts(asked.named, workspace.catalog, file.facts, today, asked.features, uses_of(of))
    return Standing(of=of, source=asked.named, verdicts=said, endings=tuple(endings), left=left)


def _questions(
    of: str, asked: Asked, file: RunFile, workspace: Workspace, today: date
) -> Iterator[Callable[[], object]]:
    """What the run looks at, in its order; each raises when the answer is no."""
    source, catalog = asked.named, workspace.catalog
    yield partial(must_be_in_force, asked.contract, source, catalog, today)
    if of.startswith("failover"):
        yield partial(failover.must_be_permitted, [source], catalog, file.facts, today, {source: asked.features})
    yield partial(workspace.may_be_asked, source, uses_of(of))
    if (remote := asked.remote) is not None:
        yield partial(look, remote, workspace.ledger)
        yield remote.known_price
