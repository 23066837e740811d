"""May this source be used as the run will: terms, contract, region, recall, hold, and what is left of the allowance."""

from collections.abc import Iterator
from datetime import datetime

from trueseed.asking import USES, must_be_in_force, verdicts
from trueseed.core.plural import many
from trueseed.doctor.check import Check, Subject
from trueseed.doctor.known import Known
from trueseed.errors import ConfigError, Refused, TrueSeedError
from trueseed.runfile import Asked
from trueseed.teachers.account.holds import OnHold
from trueseed.teachers.account.limits import AccountLimit, Limit
from trueseed.teachers.account.quotas import Mark, OutOfQuota
from trueseed.teachers.account.rooms import Room, rooms
from trueseed.teachers.api.held import look
from trueseed.teachers.api.providers import Endpoint
from trueseed.terms.model import Document, Effect, Label, Relation, Use, parse_source
from trueseed.terms.rules import Verdict, learned, may_flow


def of_teacher(subject: Subject, asked: Asked, known: Known, uses: tuple[Use, ...] = USES) -> Iterator[Check]:
    """Everything but the network. uses: what it will be asked for."""
    document = known.catalog.governing(subject.source, known.today)
    for verdict in verdicts(subject.source, known.catalog, known.file.facts, known.today, asked.features, uses):
        yield verdict_check(subject, f"terms for {verdict.use.value}", verdict)
    yield _upstream(subject, known)
    yield _contract(subject, asked.contract, document, known)
    yield _region(subject, document, known.file.operator.region)
    yield from _recall(subject, Relation.OUTPUT, known, uses)
    if asked.remote is not None:
        yield _price(subject, asked.remote)
        yield from _account(subject, asked.remote, known, uses)


def of_base(subject: Subject, known: Known) -> Iterator[Check]:
    """Weights that the student starts from: they are trained on and handed out, not asked."""
    document = known.catalog.governing(subject.source, known.today)
    label = Label(source=subject.source, relation=Relation.WEIGHTS, terms=document.digest if document else "")
    for effect in (Effect.TRAIN, Effect.SERVE):
        for verdict in may_flow([label], known.catalog, effect, known.file.facts, known.today):
            yield verdict_check(subject, f"terms to {effect.value}", verdict)
    yield _upstream(subject, known)
    yield from _recall(subject, Relation.WEIGHTS, known)


def verdict_check(subject: Subject, name: str, verdict: Verdict) -> Check:
    own = f" ({'; '.join(verdict.own)})" if verdict.own else ""
    text = f"{verdict.document}, clause {verdict.clause}{own}: " if verdict.document else ""
    if verdict.permitted:
        n = len(verdict.obligations)
        told = f"`trueseed terms show {verdict.document}`"
        owed = f"; {many(n, 'obligation')}, listed by {told}" if n else ""
        return subject.ok(name, f"permitted by {text}{verdict.because}{owed}")
    settle = verdict.settle_by or "choose another source: `trueseed plan` names what one may use"
    return subject.fails(name, f"refused: {text}{verdict.because}", settle, Refused)


def _upstream(subject: Subject, known: Known) -> Check:
    """What it is declared to have learned from: said always, and refused where the workspace is strict."""
    document = known.catalog.governing(subject.source, known.today)
    if learned_from := learned(subject.source, document, known.catalog.upstream(subject.source)):
        declared = f"it is declared to have learned from {'; '.join(learned_from)}"
        if known.file.facts.strict_upstream:
            return subject.fails(
                "upstream", f"{declared}, and `strict_upstream` is declared", "choose a source without such", Refused
            )
        return subject.ok("upstream", f"{declared}; `operator: {{strict_upstream: true}}` would refuse it")
    return subject.ok("upstream", "it declares no model that it learned from")


def _contract(subject: Subject, contract: str | None, document: Document | None, known: Known) -> Check:
    if contract is None:
        goes_by = f"the door goes by {document.id!r}, which is in force" if document else "and no text is in force"
        if parse_source(subject.source).route in ("weights", ""):
            return subject.ok("contract", f"none is accepted for weights or own work; {goes_by}")
        return subject.warning(
            "contract", f"not declared; {goes_by}", "read what your account accepted: `contract: ID`"
        )
    try:
        must_be_in_force(contract, subject.source, known.catalog, known.today)
    except (ConfigError, Refused) as err:
        return subject.error("contract", err)
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


def _recall(subject: Subject, relation: Relation, known: Known, uses: tuple[Use, ...] = ()) -> Iterator[Check]:
    """In this workspace, if there is one. uses: what it will be asked for; none of weights and of own work."""
    if known.workspace is None:
        return
    try:
        known.workspace.may_be_asked(subject.source, uses, relation)
    except TrueSeedError as err:
        yield subject.error("recall", err)
    else:
        yield subject.ok("recall", "it was not recalled in this workspace")


def _price(subject: Subject, endpoint: Endpoint) -> Check:
    price = endpoint.price
    try:
        endpoint.known_price()
    except Refused:
        return subject.fails(
            "price", "not known, so nothing is spent on it",
            "give `price: {input: …, output: …}` in the run file, in US dollars for a million tokens", Refused,
        )  # fmt: skip
    if price is None:
        return subject.ok("price", "0: a server of your own")
    return subject.ok("price", f"{price.input:g} and {price.output:g} USD for a million tokens in and out")


def _account(subject: Subject, endpoint: Endpoint, known: Known, uses: tuple[Use, ...]) -> Iterator[Check]:
    maker, file, now = parse_source(subject.source).maker, known.file, known.now
    hold: OnHold | OutOfQuota | None = None
    met: list[Mark] = []
    try:
        try:
            met = look(endpoint, known.workspace.ledger if known.workspace else None, known.environment)
        except (OnHold, OutOfQuota) as err:
            hold = err
        bound = rooms(file.limits, source=subject.source, uses=uses, project=file.project, now=now)
    except TrueSeedError as err:
        yield subject.error("account", err)
        return
    if isinstance(hold, OnHold):
        yield subject.error("hold", hold)
    else:
        yield subject.ok("hold", f"{maker!r} is not on hold")
    if isinstance(hold, OutOfQuota):
        yield subject.error("quota", hold)
    elif met:
        meaning, next_ = str(met[-1]), "raise it with the provider; the run tries this way again, and no other"
        yield subject.warning("quota", meaning, next_)
    if not bound:
        yield subject.warning(
            "allowance", "no limit binds it", "give `limits` in the run file, or `trueseed allowance set`"
        )
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
    whose, change = "allowance", "raise the limit in the run file"
    if isinstance(limit, AccountLimit):
        whose, change = "account's allowance", f"change limit {limit.id} of the account: `trueseed allowance set`"
    if limit.per == "minute":
        return subject.ok(f"{whose} a minute", ", ".join(each.split(" of ")[1] for each in told))
    name = f"{whose} in total" if limit.per == "total" else f"{whose} this {limit.per}"
    meaning = f"{', '.join(told)} left{_until(limit, now)}"
    if not full:
        return subject.ok(name, meaning)
    if limit.per == "total":
        return subject.fails(name, f"used up: {meaning}", f"{change}, or ask for less", ConfigError)
    return subject.warning(name, f"used up: {meaning}", f"wait until it is renewed, or {change}")


def _until(limit: Limit, now: datetime) -> str:
    renewed = limit.renewed_after(now)
    return f", renewed at {renewed:%Y-%m-%d %H:%M} UTC" if renewed else ", for ever"
