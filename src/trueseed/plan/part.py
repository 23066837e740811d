"""What a step takes: numbers as intervals, and for those that are not known the reason. An unknown price is no zero."""

from collections.abc import Mapping
from dataclasses import dataclass

from trueseed.plan.draws import Floats, interval
from trueseed.report.planned import Quantity, Range
from trueseed.teachers.account.amounts import Price

NO_ROWS = "no question was answered: `--rows N` asks a few real ones"
NO_PRICE = "the price is not known: give a price in the run file (`price: {input: …, output: …}`)"
NO_SPEED = "nothing was measured of it here; the first run of this step in this workspace will be"

Part = tuple[dict[Quantity, Range], dict[Quantity, str]]
ASKS_NOTHING: Mapping[Quantity, Range] = {"requests": Range.exactly(0), "micros": Range.exactly(0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Draws of what a step asks of somebody."""

    requests: Floats
    prompt: Floats | None = None
    completion: Floats | None = None
    seconds: Floats | None = None


def part(asking: Asking, price: Price | None, *, why: str = NO_ROWS) -> Part:
    """price: None when it is not known. why: tokens or seconds are missing."""
    numbers: dict[Quantity, Range] = {"requests": interval(asking.requests)}
    unknown: dict[Quantity, str] = {}
    if asking.prompt is None or asking.completion is None:
        unknown["tokens"] = why
    else:
        numbers["tokens"] = interval(asking.prompt + asking.completion)
    if asking.seconds is None:
        unknown["seconds"] = why
    else:
        numbers["seconds"] = interval(asking.seconds)
    if price is None:
        unknown["micros"] = NO_PRICE
    elif (price.input_micros_per_mtok, price.output_micros_per_mtok) == (0, 0):
        numbers["micros"] = Range.exactly(0)
    elif asking.prompt is None or asking.completion is None:
        unknown["micros"] = why
    else:
        paid = asking.prompt * price.input_micros_per_mtok + asking.completion * price.output_micros_per_mtok
        numbers["micros"] = interval(paid / 1e6)
    return numbers, unknown
