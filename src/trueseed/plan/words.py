"""A plan in words and cells, for a terminal."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from trueseed.core.plural import many
from trueseed.exchange.look import SHOWN
from trueseed.plan.making import Plan
from trueseed.plan.schedule import sentence
from trueseed.report.origins import FLAGS, LOOKED_FOR
from trueseed.report.planned import Planned, Quantity, Range

ORDER: tuple[Quantity, ...] = ("requests", "tokens", "micros", "seconds", "accepted")
UNKNOWN = "unknown"


def rows(plan: Plan) -> str:
    """What was asked for this plan."""
    asked = plan.answered
    if not plan.sources.teacher:
        return "asked      nobody: the records are imported, and the student is compared with its own base"
    if not asked.rows:
        return f"asked      nothing of {plan.sources.teacher}"
    rungs: dict[str, list[int]] = {}
    for row in asked.rows:
        tally = rungs.setdefault(row.rung, [0, 0])
        tally[0], tally[1] = tally[0] + 1, tally[1] + row.accepted
    told = ", ".join(f"{rung} {right} of {n}" for rung, (n, right) in rungs.items())
    pace = f"; {sum(asked.seconds) / len(asked.seconds):.2f} s an answer" if asked.seconds else ""
    questions = many(len(asked.rows), "question")
    return f"asked      {questions} of {plan.sources.teacher}: {asked.accepted} right ({told}){pace}"


def steps(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Name and cells of each step, and of all together."""
    for step in plan.estimate.steps:
        yield step.step, *(_cell(step, quantity) for quantity in ORDER)
    yield "together", *(_together(plan.estimate.steps, quantity) for quantity in ORDER[:4]), ""


def notes(plan: Plan) -> Iterator[str]:
    """Why something is unknown, each reason once; how the intervals are made."""
    why: defaultdict[str, list[str]] = defaultdict(list)
    for step in plan.estimate.steps:
        for quantity, reason in step.unknown.items():
            why[reason].append(f"{step.step} {'money' if quantity == 'micros' else quantity}")
    for reason, of in why.items():
        yield f"unknown    {', '.join(of)}: {reason}"
    yield (
        "intervals  95 %, without tries again after failures: courses of the recipe drawn from the Beta posterior "
        "(Jeffreys) of its acceptance, means by Student's t (trueseed/plan)"
    )


def calendar(plan: Plan) -> str:
    return sentence(plan.calendar)


def measures(plan: Plan) -> Iterator[str]:
    """What tasks, judges and targets ask of whom, and what the targets' days mean."""
    yield from (f"measures   {line}" for line in plan.measures)
    yield from (f"target     {each}" for each in plan.deadlines)


def imports(plan: Plan) -> Iterator[str]:
    """Records of others: rows and origin, what was looked for and found against it, and what may be done with them."""
    for each in plan.imports:
        head = f"import     {each.config.file}, said to come from {each.config.source}"
        if each.looked is None:
            yield f"{head}: {each.ending}"
            continue
        counted = each.looked.counted
        found = ", ".join(f"{LOOKED_FOR[kind]} {n}" for kind, n in counted.items())
        yield f"{head}: {many(each.rows, 'row')}; looked for what contradicts it: {found}"
        yield from (f"           {against.words}" for against in each.looked.against[:SHOWN])
        if each.inherited:
            yield f"           inherits {', '.join(sorted({label.source for label in each.inherited}))}"
        for effect, said in each.verdicts.items():
            refused = next((verdict for verdict in said if not verdict.permitted), None)
            yield f"           {effect.value}: {f'refuse: {refused}' if refused else 'permit'}"


def flags(plan: Plan) -> Iterator[str]:
    """What every descendant will show."""
    yield from (f"flag       {flag}: {FLAGS[flag]}; whatever comes of them says so" for flag in plan.flags)


@dataclass(frozen=True, slots=True)
class Told:
    """Verdicts that rest on the same words, with the steps and uses that they are for."""

    steps: str
    source: str
    uses: str
    permitted: bool
    text: str
    because: str


def verdicts(plan: Plan) -> Iterator[Told]:
    """Refused ones last, so that they are seen."""
    found: dict[tuple[bool, str, str, str], tuple[list[str], list[str]]] = {}
    for ruling in plan.rulings:
        for verdict in ruling.verdicts:
            text = f"{verdict.document}, {verdict.clause}" if verdict.document else "none established"
            text += "".join(f"; {own}" for own in verdict.own)
            because = verdict.because + (f"; to settle it: {verdict.settle_by}" if verdict.settle_by else "")
            steps, uses = found.setdefault((not verdict.permitted, verdict.source, text, because), ([], []))
            steps += [] if ruling.step in steps else [ruling.step]
            uses += [] if verdict.use.value in uses else [verdict.use.value]
    for (refused, source, text, because), (steps, uses) in sorted(found.items(), key=lambda each: each[0][0]):
        yield Told(", ".join(steps), source, ", ".join(uses), not refused, text, because)


def teachers(plan: Plan) -> Iterator[str]:
    """Each teacher named, and whether it may be asked; then what else bars the run."""
    for each in plan.teachers:
        refused = next((str(verdict) for verdict in each.verdicts if not verdict.permitted), "")
        said = [str(ending) for ending in each.endings] or [refused]
        if said == [""]:
            said = [f"left for the next one: {each.left}" if each.left else "may be asked"]
        yield from (f"{each.of:<10} {each.source}: {line}" for line in said)
    for source, learned_from in _upstream(plan).items():
        strict = "refused, as the workspace is strict on that" if plan.strict_upstream else "shown, and not refused"
        yield f"upstream   {source} is declared to have learned from {'; '.join(learned_from)} ({strict})"
    told = {str(ending) for each in plan.teachers for ending in each.endings}
    yield from (line for line in plan.barred if line not in told)


def _upstream(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Of everything that the run begins with."""
    verdicts = [each for ruling in plan.rulings for each in ruling.verdicts]
    verdicts += [each for standing in plan.teachers for each in standing.verdicts]
    return {each.source: each.upstream for each in verdicts if each.upstream}


def others(plan: Plan) -> Iterator[str]:
    """Models that one may already use, then those that one may not, a line each."""
    if not plan.others and plan.sources.teacher:
        yield "instead    no other weights are here or embedded"
    for other in plan.others:
        may = "may teach" if other.permitted else "may not teach"
        refused = next((verdict for verdict in other.verdicts if not verdict.permitted), None)
        text = refused or other.verdicts[0] if other.verdicts else None
        by = f" ({text.document or 'no terms established'}, clause {text.clause or 'none'})" if text else ""
        by += f" ({'; '.join(text.own)})" if text and text.own else ""
        by += f", declared to have learned from {'; '.join(text.upstream)}" if text and text.upstream else ""
        yield f"instead    {other.source} {may}{by}; {_ability(other.ability)}; weights: {other.weights}"


def _ability(found: object) -> str:
    if not isinstance(found, dict) or not found:
        return "nothing measured of it in this workspace"
    told = (f"{name.replace('_', ' ')} {100 * said['value']:.1f} % right" for name, said in found.items())
    return "measured here: " + ", ".join(told)


def _cell(step: Planned, quantity: Quantity) -> str:
    if quantity in step.numbers:
        return interval(step.numbers[quantity], quantity)
    return UNKNOWN if quantity in step.unknown else ""


def _together(all_: tuple[Planned, ...], quantity: Quantity) -> str:
    """Ends added up: wider than the interval of the sum, never narrower."""
    known = [step.numbers[quantity] for step in all_ if quantity in step.numbers and _asks(step, quantity)]
    lacks = any(quantity in step.unknown for step in all_)
    if not known:
        return UNKNOWN if lacks else ""
    total = Range(
        likely=sum(each.likely for each in known),
        low=sum(each.low for each in known),
        high=sum(each.high for each in known),
    )
    return ("more than " if lacks else "") + interval(total, quantity)


def _asks(step: Planned, quantity: Quantity) -> bool:
    """Tokens that are trained on are not added to tokens that are asked for."""
    return quantity != "tokens" or bool(step.numbers.get("requests", Range.exactly(0)).high)


def interval(range_: Range, quantity: Quantity) -> str:
    likely, low, high = (plain(each, quantity) for each in (range_.likely, range_.low, range_.high))
    return likely if low == high else f"{likely} ({low} to {high})"


def plain(value: float, quantity: Quantity) -> str:
    if quantity == "micros":
        usd = value / 1e6
        return "0 USD" if not value else f"{usd:,.2f} USD" if usd >= 0.995 else f"{usd:.2g} USD"
    if quantity == "seconds":
        return duration(value)
    return f"{round(value):,}"


def duration(seconds: float) -> str:
    """
    >>> duration(0.41), duration(75), duration(7260), duration(200_000)
    ('0.4 s', '1 min 15 s', '2 h 01 min', '2 d 8 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return "{} min {:02} s".format(*divmod(round(seconds), 60))
    if seconds < 86400:
        return "{} h {:02} min".format(*divmod(round(seconds / 60), 60))
    return "{} d {} h".format(*divmod(round(seconds / 3600), 24))
