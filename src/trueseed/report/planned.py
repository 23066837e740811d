"""What a plan expected of a run, and what became of it: estimate beside actual.

A plan leaves an artifact with `estimate.json`, made by the step "estimate" and so in the ledger before the run it
speaks of. A step of the run is compared only when it was done with the settings that the plan was made for.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from trueseed.core.artifacts import Store
from trueseed.core.canonical import digest
from trueseed.errors import Broken
from trueseed.ledger.log import Entry
from trueseed.similarity.held_out import LEFT_OUT
from trueseed.teachers.account.amounts import Price

ESTIMATE = "estimate.json"
STEP = "estimate"  # the name of the step
Quantity = Literal["requests", "tokens", "micros", "seconds", "accepted"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """likely: the median. low, high: 95 % of what was drawn lies between them."""

    likely: float
    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> "Range":
        return cls(likely=value, low=value, high=value)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def to_json(self) -> dict[str, float]:
        return {"likely": self.likely, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One step. settings: digest of the configuration that the step will be opened with; '' when it will be several
    steps, which are not compared. numbers: what it takes;
    micros: millionths of a US dollar. unknown: why a quantity is not among them.
    """

    step: str
    settings: str
    numbers: Mapping[Quantity, Range]
    unknown: Mapping[Quantity, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "settings": self.settings,
            "numbers": {name: each.to_json() for name, each in self.numbers.items()},
            "unknown": dict(self.unknown),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """rows: questions that were really asked for it. price: what the run file said then; None when it said nothing."""

    rows: int
    price: Price | None
    steps: tuple[Planned, ...]

    def to_json(self) -> dict[str, Any]:
        price = self.price and [self.price.input_micros_per_mtok, self.price.output_micros_per_mtok]
        return {"rows": self.rows, "price": price, "steps": [each.to_json() for each in self.steps]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Estimate":
        """Raises `KeyError`, `TypeError` or `ValueError` for what `to_json` did not make."""
        steps = tuple(
            Planned(
                step=each["step"],
                settings=each["settings"],
                numbers={name: Range(**numbers) for name, numbers in each["numbers"].items()},
                unknown=each["unknown"],
            )
            for each in value["steps"]
        )
        return cls(rows=value["rows"], price=Price(*value["price"]) if value["price"] else None, steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One quantity of one step. expected, inside: None where nothing was expected, because of `unknown`."""

    step: str
    quantity: Quantity
    expected: Range | None
    actual: float
    inside: bool | None
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """made_at: when the plan was. artifact: where it is kept. other_settings: steps that the run did otherwise than
    planned, and that are not compared.
    """

    made_at: str
    artifact: str
    rows: int
    beside: tuple[Beside, ...]
    other_settings: tuple[str, ...] = ()


def outcome(entries: Iterable[Entry], store: Store, done: Mapping[str, Entry]) -> Outcome | None:
    """The newest plan that was made before records were generated, or curated where none were, beside what was done;
    None when there is none.

    done: by name of the step, the statement that closed it. Raises `Broken` when the plan cannot be read.
    """
    entries = tuple(entries)
    first = done.get("generate", done.get("curate"))
    before = first.index if first else 0
    plans = [entry for entry in entries if _is_plan(entry) and entry.index < before]
    if not plans:
        return None
    made = plans[-1]
    artifact = store.get("{kind}:{digest}".format(**made.predicate["outputs"][0]))
    try:
        estimate = Estimate.from_json(json.loads(artifact.path(ESTIMATE).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise Broken(f"the plan {artifact} cannot be read ({err}); restore it from a copy of the workspace") from err
    as_planned = [step for step in estimate.steps if step.step in done and _settings(done[step.step]) == step.settings]
    told = [step for step in estimate.steps if step.step in done and step.settings]
    other = tuple(step.step for step in told if step not in as_planned)
    return Outcome(
        made_at=made.predicate["at"],
        artifact=f"{artifact.kind}:{artifact.digest}",
        rows=estimate.rows,
        beside=tuple(each for step in as_planned for each in _beside(step, estimate.price, done[step.step], entries)),
        other_settings=other,
    )


def _is_plan(entry: Entry) -> bool:
    said = entry.predicate
    return said.get("event") == "done" and said.get("step") == STEP and bool(said.get("outputs"))


def _settings(entry: Entry) -> str:
    config = entry.predicate["config"]
    return digest({name: said for name, said in config.items() if name != LEFT_OUT})  # not known when a plan is made


def _beside(step: Planned, price: Price | None, closed: Entry, entries: Iterable[Entry]) -> Iterable[Beside]:
    actual = _actual(closed, price, entries)
    for quantity in QUANTITIES:
        expected = step.numbers.get(quantity)
        if quantity in actual and (expected or quantity in step.unknown):
            yield Beside(
                step=step.step,
                quantity=quantity,
                expected=expected,
                actual=actual[quantity],
                inside=expected.holds(actual[quantity]) if expected else None,
                unknown=step.unknown.get(quantity, ""),
            )


def _actual(closed: Entry, price: Price | None, entries: Iterable[Entry]) -> dict[Quantity, float]:
    """Counts stand in the closing statement for all tries; seconds are those of every try that left a statement."""
    counts, said = closed.predicate["counts"], closed.predicate
    tries = [
        entry.predicate["cost"]["seconds"]
        for entry in entries
        if entry.predicate.get("fingerprint") == said["fingerprint"]
        and entry.predicate["event"] in ("done", "paused", "failed")
    ]
    found: dict[Quantity, float] = {"seconds": sum(tries)}
    if "asked" in counts:
        prompts, answers = counts.get("prompt_tokens", 0), counts.get("completion_tokens", 0)
        found |= {"requests": counts["asked"], "tokens": prompts + answers}
        if price is not None:
            found["micros"] = price.micros(prompts, answers)
    elif "tokens" in counts:
        found["tokens"] = counts["tokens"]
    if "accepted" in counts:
        found["accepted"] = counts["accepted"]
    return found
