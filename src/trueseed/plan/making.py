"""A plan of a run, made before it: what it takes, when it will be done, whether it may be, and what else would do.

    plan = make(file, workspace, rows=8)
    plan.exit_code      # 3 when the terms refuse a step of it

A few rows are asked in a step "plan", under the same use as the run asks; the numbers are written by a step "estimate",
so that they stand in the ledger before the run does. They are of the teacher that the run asks first: not of one on
hold, when another comes after it. Nothing is asked for a run that would be refused. What goes wrong while asking does
not hide the rest of the plan.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trueseed import aims, failover, judging, pipeline
from trueseed.ahead import OF_THE_RUN, Ruling, Sources, rulings, sources_of
from trueseed.asking import May, left_out
from trueseed.core.artifacts import Artifact
from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError, Refused, TrueSeedError
from trueseed.exchange.seen import Seen, see
from trueseed.plan import measured, tasks
from trueseed.plan.deadlines import Deadline, deadlines
from trueseed.plan.estimate import Given, Wire, estimate
from trueseed.plan.history import tempos
from trueseed.plan.measured import Answered, Machine
from trueseed.plan.others import Other, others
from trueseed.plan.schedule import Calendar, calendar
from trueseed.plan.standing import Standing, standings
from trueseed.report.planned import ESTIMATE, Estimate
from trueseed.runfile import RunFile
from trueseed.teachers.account.amounts import FREE, Price
from trueseed.teachers.account.rooms import of_account
from trueseed.teachers.voice import Voice
from trueseed.terms.model import Relation, Use
from trueseed.terms.rules import may_ask
from trueseed.workspace import FLAGS, Workspace

PLAN = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """sources: what the run begins with. imports: records of others, as they were found. artifact: where the estimate
    is kept. teachers: all that the file names. flags: what the run file declares that every descendant will show.
    strict_upstream: sources that are declared to have learned from others are refused. barred: what else forbids the
    run than the terms of its first teacher (holds, recalls, contracts, prices, and all this of the others), in the
    run's words. measures: how much tasks, judges and targets ask, in words. deadlines: of the targets.
    failure: what the run would end with, or what went wrong while asking; None when nothing did.
    """

    project: str
    made_at: str
    sources: Sources
    imports: tuple[Seen, ...]
    answered: Answered
    estimate: Estimate
    artifact: str
    calendar: Calendar
    rulings: tuple[Ruling, ...]
    teachers: tuple[Standing, ...]
    strict_upstream: bool = False
    barred: tuple[str, ...]
    measures: tuple[str, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    others: tuple[Other, ...]
    flags: tuple[str, ...]
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
            "imports": [each.to_json() for each in self.imports],
            "flags": list(self.flags),
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
            "measures": list(self.measures),
            "deadlines": [each.to_json() for each in self.deadlines],
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
    file = failover.without(file, next((i for i, each in enumerate(teachers) if not each.left), 0))
    sources = sources_of(file)
    imports = tuple(see(each, workspace.catalog, workspace, file.facts) for each in file.imports)
    said = _rulings(sources, imports, workspace, file, now)
    kept = judging.kept_cards(file, workspace)
    may = _may(file, workspace, now)
    asks, unread = _to_be_measured(file, workspace, now, may, kept)
    endings = _endings(teachers, imports, sources, workspace, unread)
    barred = tuple(str(ending) for ending in endings if isinstance(ending, Refused))
    forbidden = bool(endings) or any(each.refused for each in teachers)
    forbidden |= any(ruling.refused and ruling.step in OF_THE_RUN for ruling in said)
    wire = wire_of(file)
    given = Given(rows=sum(each.rows for each in imports), messages=sum(each.messages for each in imports))
    asked = _ask_if_it_goes(file, workspace, wire, given, asks, 0 if forbidden else rows)
    known = tempos(workspace.ledger.entries())
    made = asked.estimate or estimate(file, asked.answered, Machine(), wire, known, identity={}, given=given, asks=asks)
    when = calendar(file, made, asked.answered, wire, asks, source=sources.teacher, now=now)
    plan = Plan(
        project=file.project,
        made_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        sources=sources,
        imports=imports,
        answered=asked.answered,
        estimate=made,
        artifact=asked.artifact,
        calendar=when,
        rulings=said,
        teachers=teachers,
        strict_upstream=file.facts.strict_upstream,
        barred=barred,
        measures=(*tasks.told(asks, kept), *left_out(file, may)),
        deadlines=deadlines(file, when, now.date()),
        others=others(workspace, teacher=sources.teacher, facts=file.facts, today=now.date()) if file.teacher else (),
        flags=flags_of(file, imports),
        failure=endings[0] if endings else asked.failure,
    )
    write_atomic(workspace.folder / PLAN, json.dumps(plan.to_json(), indent=1, ensure_ascii=False) + "\n")
    return plan


def _endings(
    teachers: tuple[Standing, ...],
    imports: tuple[Seen, ...],
    sources: Sources,
    workspace: Workspace,
    unread: Sequence[TrueSeedError],
) -> list[TrueSeedError]:
    """What the run would end with, for the sake of whom it asks, takes records from, or begins with, and of files that
    cannot be read: refusals first, which are told before a mistake.
    """
    endings = [
        *(ending for each in teachers for ending in each.endings),
        *(each.ending for each in imports if each.ending),
        *_recalled(sources, workspace),
        *unread,
    ]
    return sorted(endings, key=lambda ending: not isinstance(ending, Refused))


def flags_of(file: RunFile, imports: tuple[Seen, ...]) -> tuple[str, ...]:
    """What the run file declares to be taken out, or imported records inherit; every descendant will show it."""
    filters = file.curate.identity_filter or any(each.identity_filter for each in file.transform)
    declared = {"identity_filter": filters, "redacted": file.curate.redact is not None}
    inherited = {flag for each in imports if each.looked for flag in each.looked.flags}
    return tuple(flag for flag in FLAGS if declared[flag] or flag in inherited)


def _rulings(
    sources: Sources, imports: tuple[Seen, ...], workspace: Workspace, file: RunFile, now: datetime
) -> tuple[Ruling, ...]:
    """With what imported records carry beside their declared origin, some of it by texts of other workspaces."""
    catalog, inherited = workspace.catalog, [label for each in imports for label in each.inherited]
    texts = [text for each in imports if each.looked for text in each.looked.documents]
    return rulings(
        sources, replace(catalog, kept=(*catalog.kept, *texts)) if texts else catalog, file.facts, now.date(), inherited
    )


def wire_of(file: RunFile) -> Wire:
    """How the run will ask. Raises `AccountUnavailable`."""
    remote = file.teacher.remote if file.teacher else None
    if remote is None:
        return Wire(at_once=file.engine.slots, is_ours=True, price=FREE, per_minute=None)
    bound = [
        limit.requests
        for limit in (*file.limits, *of_account())
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


def _may(file: RunFile, workspace: Workspace, now: datetime) -> May:
    """By the terms of that day, and what the run file declares."""
    return lambda asked, use: (
        may_ask(asked.named, use, file.facts, now.date(), workspace.catalog, asked.features).permitted
    )


def _to_be_measured(
    file: RunFile, workspace: Workspace, now: datetime, may: May, kept: Collection[str]
) -> tuple[tuple[tasks.Asks, ...], list[TrueSeedError]]:
    """What tasks, judges and targets ask, and what in their files the run would end with. kept: as `tasks.asked`."""
    try:
        read = tasks.read(file)
        asks = tasks.asked(file, read, may, kept)
        samples = {config.named: task.samples for config, task in zip(file.tasks, read, strict=True)}
        for target in file.targets:
            if target.outputs:
                aims.recorded(target, samples[target.task])
            aims.must_be_of_today(target, workspace, now.date())
    except ConfigError as err:
        return (), [err]
    return asks, []


def _ask_if_it_goes(
    file: RunFile, workspace: Workspace, wire: Wire, given: Given, asks: Sequence[tasks.Asks], rows: int
) -> _Asked:
    """As `_ask`; what goes wrong does not hide the rest of the plan."""
    try:
        return _ask(file, workspace, wire, given, asks, rows)
    except TrueSeedError as err:
        return _Asked(Answered(), None, err)


def _ask(
    file: RunFile, workspace: Workspace, wire: Wire, given: Given, asks: Sequence[tasks.Asks], rows: int
) -> _Asked:
    """The rows, and the estimate that follows from them, each in a step of its own."""
    begun = pipeline.begin(file, workspace)
    identity = begun.voice.identity if begun.voice else {}
    rows_kept: Artifact | None = None
    failure: TrueSeedError | None = None
    if rows and begun.voice and begun.prompts:
        try:
            rows_kept = _rows(file, workspace, begun.prompts, begun.voice, rows)
        except TrueSeedError as err:
            failure = err
        begun.voice.close()
    answered = Answered.read(rows_kept) if rows_kept else Answered()
    known = tempos(workspace.ledger.entries())
    inputs = [begun.held_out, *filter(None, (begun.prompts, rows_kept, begun.base))]
    config = {
        "run": file.model_dump(mode="json"), "identity": identity, "tempos": [*map(list, known.found.items())],
        "imported": [given.rows, given.messages], "asks": [each.to_json() for each in asks],
    }  # fmt: skip
    with workspace.step("estimate", inputs=inputs, config=config) as step:
        kept = step.earlier("report")
        if kept is None:
            machine = measured.try_out(file, rows_kept, begun, step) if rows_kept else Machine()
            made = estimate(file, answered, machine, wire, known, identity=identity, given=given, asks=asks)
            kept = step.write("report", _filler(made), {"rows": made.rows})
    found = Estimate.from_json(json.loads((kept.folder / ESTIMATE).read_bytes()))
    return _Asked(answered, found, failure, f"{kept.kind}:{kept.digest}")


def _rows(file: RunFile, workspace: Workspace, prompts: Artifact, voice: Voice, rows: int) -> Artifact:
    assert file.generate is not None
    config = {**file.generate.model_dump(), **voice.identity, "rows": rows}
    with workspace.step("plan", inputs=[prompts], ask={voice.source: Use.TRAIN}, config=config) as step:
        return step.earlier("report") or measured.ask(file, prompts, voice, step, rows)


def _filler(made: Estimate) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / ESTIMATE).write_text(json.dumps(made.to_json(), indent=1) + "\n")

    return fill


def _recalled(sources: Sources, workspace: Workspace) -> Iterator[Refused]:
    """What the door refuses of base and prompts beside the terms."""
    brought = (source for source in (sources.prompts, *sources.imports) if source)
    for source, relation in ((sources.base, Relation.WEIGHTS), *((source, Relation.OUTPUT) for source in brought)):
        try:
            workspace.may_be_asked(source, (), relation)
        except Refused as err:
            yield err
