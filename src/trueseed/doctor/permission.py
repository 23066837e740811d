"""May this source be used as the run will: terms, contract, region, hold, and what is left of the allowance."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

from trueseed.doctor.check import Check, Subject
from trueseed.errors import ConfigError, Refused, TrueSeedError
from trueseed.runfile import Asked, RunFile
from trueseed.teachers.account.amounts import price_of
from trueseed.teachers.account.holds import Holds, OnHold
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.rooms import Room, rooms
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.account.way import Way
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document, Effect, Label, Relation, Use, parse_source
from trueseed.terms.rules import Verdict, judge_use, may_flow
from trueseed.workspace import RELATION_OF_USE

USES = (Use.TRAIN, Use.BENCHMARK_TEACHER)  # what a run asks of its teacher


def of_teacher(
    subject: Subject, asked: Asked, file: RunFile, catalog: Catalog, now: datetime, way: Way | None = None
) -> Iterator[Check]:
    """Everything but the network. way: how a teacher behind an API will be reached; holds bind it under any name."""
    document = catalog.governing(subject.source, now.date())
    for use in USES:
        verdict = judge_use(subject.source, document, use, RELATION_OF_USE[use], file.facts, now.date())
        yield _verdict(subject, f"terms for {use.value}", verdict)
    yield _contract(subject, asked.contract, document, catalog)
    yield _region(subject, document, file.operator.region)
    if asked.remote is not None:
        yield _price(subject, asked)
        yield from _account(subject, file, now, way)


def of_base(subject: Subject, file: RunFile, catalog: Catalog, now: datetime) -> Iterator[Check]:
    """Weights that the student starts from: they are trained on and handed out, not asked."""
    document = catalog.governing(subject.source, now.date())
    label = Label(source=subject.source, relation=Relation.WEIGHTS, terms=document.digest if document else "")
    for effect in (Effect.TRAIN, Effect.SERVE):
        for verdict in may_flow([label], catalog, effect, file.facts):
            yield _verdict(subject, f"terms to {effect.value}", verdict)


def _verdict(subject: Subject, name: str, verdict: Verdict) -> Check:
    text = f"{verdict.document}, clause {verdict.clause}: " if verdict.document else ""
    if verdict.permitted:
        n = len(verdict.obligations)
        told = f"`trueseed may {verdict.use.value} {subject.source}`"
        owed = f"; {n} obligation{'s' if n > 1 else ''}, listed by {told}" if n else ""
        return subject.ok(name, f"permitted by {text}{verdict.because}{owed}")
    settle = verdict.settle_by or "choose another source: `trueseed plan` names what one may use"
    return subject.fails(name, f"refused: {text}{verdict.because}", settle, Refused)


def _contract(subject: Subject, contract: str | None, document: Document | None, catalog: Catalog) -> Check:
    if contract is None:
        goes_by = f"the door goes by {document.id!r}, which is in force" if document else "and no text is in force"
        if parse_source(subject.source).route in ("weights", ""):
            return subject.ok("contract", f"none is accepted for weights or own work; {goes_by}")
        return subject.warning(
            "contract", f"not declared; {goes_by}", "read what your account accepted: `contract: ID`"
        )
    try:
        catalog.document(contract)
    except ConfigError as err:
        return subject.error("contract", err)
    if document is None or document.id != contract:
        found = f"{document.id!r} governs it today" if document else "no document governs it today"
        return subject.fails(
            "contract", f"declared as {contract!r}, but {found}",
            "read which one binds you, and add it to the workspace's terms folder or correct `contract`", Refused,
        )  # fmt: skip
    return subject.ok("contract", f"{contract!r}, which is in force")


def _region(subject: Subject, document: Document | None, region: str | None) -> Check:
    regions = document.regions if document else None
    if regions is None:
        return subject.ok("region", "its terms name no regions")
    if region is None:
        return subject.warning(
            "region", f"not declared, and terms name regions ({regions.text})", "declare `operator: {region: …}`"
        )
    if region in regions.unsupported or (regions.supported and region not in regions.supported):
        return subject.fails(
            "region", f"{region!r} is outside of: {regions.text}",
            "choose a teacher whose maker serves your region; asking through a proxy is not done here", Refused,
        )  # fmt: skip
    if region not in regions.supported:
        return subject.warning("region", f"{regions.text}; the list was not read here", f"make sure of {region!r}")
    return subject.ok("region", f"{region!r} is served")


def _price(subject: Subject, asked: Asked) -> Check:
    assert asked.remote is not None
    price = asked.remote.price
    try:
        price_of(subject.source, {subject.source: price.exact} if price else {})
    except Refused:
        return subject.fails(
            "price", "not known, so nothing is spent on it",
            "give `price: {input: …, output: …}` in the run file, in US dollars for a million tokens", Refused,
        )  # fmt: skip
    if price is None:
        return subject.ok("price", "0: a server of your own")
    return subject.ok("price", f"{price.input:g} and {price.output:g} USD for a million tokens in and out")


def _account(subject: Subject, file: RunFile, now: datetime, way: Way | None) -> Iterator[Check]:
    maker = parse_source(subject.source).maker
    hold: OnHold | None = None
    try:
        with closing(Account.open()) as account:
            try:
                Holds(account, our_entity()).check(subject.source, way)
            except OnHold as err:
                hold = err
        bound = rooms(file.limits, source=subject.source, uses=USES, project=file.project, now=now)
    except TrueSeedError as err:
        yield subject.error("account", err)
        return
    if hold:
        yield subject.error("hold", hold)
    else:
        yield subject.ok("hold", f"{maker!r} is not on hold")
    if not bound:
        yield subject.warning("allowance", "no limit binds it", "give `limits` in the run file")
    for room in bound:
        yield _room(subject, room, now)


def _room(subject: Subject, room: Room, now: datetime) -> Check:
    limit, told, full = room.limit, [], False
    for name in ("requests", "tokens", "micros"):
        allowed, used = getattr(limit, name), getattr(room.used, name)
        if allowed is not None:
            left = max(0, allowed - used)
            full = full or left == 0
            told.append(f"{left / 1e6:.2f} of {allowed / 1e6:.2f} USD" if name == "micros" else
                        f"{left:,} of {allowed:,} {name}")  # fmt: skip
    if limit.per == "minute":
        return subject.ok("allowance a minute", ", ".join(each.split(" of ")[1] for each in told))
    name = "allowance in total" if limit.per == "total" else f"allowance this {limit.per}"
    meaning = f"{', '.join(told)} left{_until(limit, now)}"
    if not full:
        return subject.ok(name, meaning)
    if limit.per == "total":
        return subject.fails(
            name, f"used up: {meaning}", "raise the limit in the run file, or ask for less", ConfigError
        )
    return subject.warning(name, f"used up: {meaning}", "wait until it is renewed, or raise the limit in the run file")


def _until(limit: Limit, now: datetime) -> str:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if limit.per == "day":
        return f", renewed at {day + timedelta(days=1):%Y-%m-%d %H:%M} UTC"
    if limit.per == "month":
        return f", renewed at {(day.replace(day=28) + timedelta(days=4)).replace(day=1):%Y-%m-%d %H:%M} UTC"
    return ", for ever"
