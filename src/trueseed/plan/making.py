"""A plan of a run, made before it: what it takes, when it will be done, whether it may be, and what else would do.

    plan = make(file, workspace, rows=8)
    plan.exit_code      # 3 when the terms refuse a step of it

A few rows are asked in a step "plan", under the same use as the run asks; the numbers are written by a step "estimate",
so that they stand in the ledger before the run does. They are of the teacher that the run asks first: not of one on
hold, when another comes after it. Nothing is asked for a run that would be refused. What goes wrong while asking does
not hide the rest of the plan.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trueseed import failover, pipeline
from trueseed.ahead import OF_THE_RUN, Ruling, Sources, rulings, sources_of
from trueseed.core.artifacts import Artifact
from trueseed.core.durable import write_atomic
from trueseed.errors import Refused, TrueSeedError
from trueseed.plan import measured
from trueseed.plan.estimate import Wire, estimate
from trueseed.plan.history import tempos
from trueseed.plan.measured import Answered, Machine
from trueseed.plan.others import Other, others
from trueseed.plan.schedule import Calendar, calendar
from trueseed.plan.standing import Standing, standings
from trueseed.report.planned import ESTIMATE, Estimate
from trueseed.runfile import RunFile
from trueseed.teachers.account.amounts import FREE, Price
from trueseed.terms.model import Relation, Use
from trueseed.workspace import Workspace

PLAN = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """sources: what the run begins with. artifact: where the estimate is kept. teachers: all that the file names.
    strict_upstream: sources that are declared to have learned from others are refused. barred: what else forbids the
    run than the terms of its first teacher (holds, recalls, contracts, prices, and all this of the others), in the
    run's words. failure: what the run would end with, or what went wrong while asking; None when nothing did.
    """

    project: str
    made_at: str
    sources: Sources
    answered: Answered
    estimate: Estimate
    artifact: str
    calendar: Calendar
    rulings: tuple[Ruling, ...]
    teachers: tuple[Standing, ...]
    strict_upstream: bool = False
    barred: tuple[str, ...]
    others: tuple[Other, ...]
    failure: TrueSeedError | None

    @property
    def exit_code(self) -> int:
        refused = any(ruling.refused for ruling in self.rulings) or any(each.refused for each in self.teachers)
        if self.barred or refused:
            return Refused.exit_code
        return self.failure.exit_code if self.failure else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "made_at": self.made_at,
            "sources": asdict(self.sources),
            "rows": self.answered.to_json(),
            "estimate": self.estimate.to_json(),
            "artifact": self.artifact,
            "calendar": self.calendar.to_json(),
            "rulings": [
                {"step": ruling.step, "verdicts": [verdict.to_json() for verdict in ruling.verdicts]}
                for ruling in self.rulings
            ],
            "teachers": [each.to_json() for each in self.teachers],
            "strict_upstream": self.strict_upstream,
            "barred": list(self.barred),
            "others": [other.to_json() for other in self.others],
            "failure": str(self.failure) if self.failure else "",
            "exit_code": self.exit_code,
        }


def make(file: RunFile, workspace: Workspace, *, rows: int, now: datetime | None = None) -> Plan:
    """Asks at most `rows` questions (0: none), and writes plan.json into the workspace. now: UTC.

    Raises `ConfigError` for a run file that no run could begin with, `Broken`, `AccountUnavailable`.
    """
    now = now or datetime.now(UTC)
    teachers = standings(file, workspace, now.date())
    file = failover.without(file, next(i for i, each in enumerate(teachers) if not each.left))
    sources = sources_of(file)
    said = rulings(sources, workspace.catalog, file.facts, now.date())
    endings = [*(ending for each in teachers for ending in each.endings), *_recalled(sources, workspace)]
    endings.sort(key=lambda ending: not isinstance(ending, Refused))  # a refusal is told before a mistake
    barred = tuple(str(ending) for ending in endings if isinstance(ending, Refused))
    forbidden = bool(endings) or any(each.refused for each in teachers)
    forbidden |= any(ruling.refused and ruling.step in OF_THE_RUN for ruling in said)
    asked = _Asked(Answered(), None, None)
    wire = wire_of(file)
    try:
        asked = _ask(file, workspace, wire, 0 if forbidden else rows)
    except TrueSeedError as err:
        asked = _Asked(Answered(), None, err)
    known = tempos(workspace.ledger.entries())
    made = asked.estimate or estimate(file, asked.answered, Machine(), wire, known, identity={})
    plan = Plan(
        project=file.project,
        made_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        sources=sources,
        answered=asked.answered,
        estimate=made,
        artifact=asked.artifact,
        calendar=calendar(file, made, asked.answered, wire, source=sources.teacher, now=now),
        rulings=said,
        teachers=teachers,
        strict_upstream=file.facts.strict_upstream,
        barred=barred,
        others=others(workspace, teacher=sources.teacher, facts=file.facts, today=now.date()),
        failure=endings[0] if endings else asked.failure,
    )
    write_atomic(workspace.folder / PLAN, json.dumps(plan.to_json(), indent=1, ensure_ascii=False) + "\n")
    return plan


def wire_of(file: RunFile) -> Wire:
    """How the run will ask."""
    remote = file.teacher.remote
    if remote is None:
        return Wire(at_once=file.engine.slots, is_ours=True, price=FREE, per_minute=None)
    bound = [
        limit.requests
        for limit in file.limits
        if limit.per == "minute" and limit.requests and limit.matches(remote.source, Use.TRAIN, file.project)
    ]
    try:
        price: Price | None = remote.known_price()
    except Refused:
        price = None
    return Wire(at_once=remote.at_once, is_ours=False, price=price, per_minute=min(bound, default=None))


@dataclass(frozen=True, slots=True)
class _Asked:
    answered: Answered
    estimate: Estimate | None
    failure: TrueSeedError | None
    artifact: str = ""


def _ask(file: RunFile, workspace: Workspace, wire: Wire, rows: int) -> _Asked:
    """The rows, and the estimate that follows from them, each in a step of its own."""
    begun = pipeline.begin(file, workspace)
    voice, settings = begun.voice, {**file.generate.model_dump(), **begun.voice.identity}
    rows_kept: Artifact | None = None
    failure: TrueSeedError | None = None
    if rows:
        try:
            with workspace.step(
                "plan", inputs=[begun.prompts], ask={voice.source: Use.TRAIN}, config={**settings, "rows": rows}
            ) as step:
                rows_kept = step.earlier("report") or measured.ask(file, begun.prompts, voice, step, rows)
        except TrueSeedError as err:
            failure = err
    answered = Answered.read(rows_kept) if rows_kept else Answered()
    voice.close()
    known = tempos(workspace.ledger.entries())
    inputs = [begun.prompts, begun.held_out, *filter(None, (rows_kept, begun.base))]
    config = {
        "run": file.model_dump(mode="json"), "identity": voice.identity, "tempos": [*map(list, known.found.items())]
    }  # fmt: skip
    with workspace.step("estimate", inputs=inputs, config=config) as step:
        kept = step.earlier("report")
        if kept is None:
            machine = measured.try_out(file, rows_kept, begun.held_out, begun.base, step) if rows_kept else Machine()
            made = estimate(file, answered, machine, wire, known, identity=voice.identity)
            kept = step.write("report", _filler(made), {"rows": made.rows})
    found = Estimate.from_json(json.loads((kept.folder / ESTIMATE).read_bytes()))
    return _Asked(answered, found, failure, f"{kept.kind}:{kept.digest}")


def _filler(made: Estimate) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / ESTIMATE).write_text(json.dumps(made.to_json(), indent=1) + "\n")

    return fill


def _recalled(sources: Sources, workspace: Workspace) -> Iterator[Refused]:
    """What the door refuses of base and prompts beside the terms."""
    for source, relation in ((sources.base, Relation.WEIGHTS), (sources.prompts, Relation.OUTPUT)):
        try:
            workspace.may_be_asked(source, (), relation)
        except Refused as err:
            yield err
