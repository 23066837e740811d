"""After a reconciliation our account and the maker's agree to the unit, and what was asked around us has a name."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.teachers.account.test_allowance import ask as reserve
from tests.teachers.api.test_remote import DEEPSEEK, KEY, Place, questions
from tests.teachers.conftest import Machine

from trueseed.errors import ConfigError, TeacherError
from trueseed.ledger.statement import RECONCILIATION, WITHDRAWAL
from trueseed.report import verify
from trueseed.teachers.account.allowance import Allowance, Amount
from trueseed.teachers.account.holds import Holds, hold
from trueseed.teachers.account.state import Account
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.simulator import Behaviour, Faults, Simulator, simulator
from trueseed.teachers.supplier import exports, usage_api
from trueseed.teachers.supplier.bill import Bill, Figure
from trueseed.teachers.supplier.bill_models import Scope, told
from trueseed.teachers.supplier.books import Span
from trueseed.teachers.supplier.month import Month
from trueseed.teachers.supplier.reconcile import Asked, Reconciled, reconcile
from trueseed.teachers.supplier.reconciled import History
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

CALL = Amount(1, 100, 250)
GPT, AZURE = "openai/gpt-4@api", "openai/gpt-4@azure"


def this_month() -> Month:
    return Month.parse(f"{datetime.now(UTC):%Y-%m}")


def figures_of(provider: Simulator) -> Bill:
    endpoint = Endpoint(source=DEEPSEEK, model="simulated", base_url=provider.openai)
    return usage_api.fetch(endpoint, this_month(), now=datetime.now(UTC), key_from="ADMIN", environment={"ADMIN": KEY})


def compare(place: Place, bill: Bill, **more: Any) -> Reconciled:
    """As of now, with figures that hold today whole."""
    now = datetime.now(UTC)
    asked = {
        "scope": Scope(maker="deepseek"),
        "month": this_month(),
        "through": now.date(),
        "told": told([f"simulated={DEEPSEEK}"]),
        **more,
    }
    return reconcile(
        bill, Asked(**asked), account=place.account, entity="us", ledgers=[place.workspace.ledger], now=now
    )


def around_us(provider: Simulator, n: int = 1) -> None:
    """Calls that TrueSeed knows nothing of."""
    for i in range(n):
        body = {"model": "simulated", "messages": [{"role": "user", "content": f"on the side {i}"}]}
        headers = {"Authorization": "Bearer sk-somebodys-own"}
        assert httpx.post(f"{provider.openai}/chat/completions", json=body, headers=headers).status_code == 200


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


# -- against the simulator


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.teachers.api.test_remote import Place, questions
from trueseed.teachers.teacher import Teacher

base_url, folder = sys.argv[1], Path(sys.argv[2])
place = Place(folder)
with place.step() as step, place.opened(step, base_url, at_once=8) as remote:
    for number, _ in enumerate(Teacher(remote, step).answers(questions(40)), start=1):
        if number == 30:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_faults_cut_answers_and_kills_the_makers_count_is_ours_to_the_unit(place):
    faults = Faults(server_error=0.05, dropped=0.05, lost=0.1, cut=0.1, malformed=0.05, html=0.05, empty_choices=0.05)
    with simulator(Behaviour(latency_s=0.02, faults=faults), process=True) as provider:
        run = subprocess.run([sys.executable, "-c", KILLED, provider.openai, str(place.folder)])
        assert run.returncode == -signal.SIGKILL
        billed = provider.settled()["billed"]
        found = compare(place, figures_of(provider))
        again = compare(place, exports_of(provider, place))
    before = sum(cell.doubtful.requests for cell, _ in found.days)
    assert before > 5
    assert (found.verdict, found.outside, found.missing, found.left) == ("agrees", 0, 0, 0)
    assert found.billed == billed
    used = place.used()
    assert used.charged.requests - used.failed == billed
    assert (used.unknown, used.reserved) == (0, 0)
    assert (again.billed, sum(cell.doubtful.requests for cell, _ in again.days)) == (billed, 0)
    assert used.charged.tokens == sum(cell.said.tokens for cell, _ in again.days)


def exports_of(provider: Simulator, place: Place) -> Bill:
    path = place.folder / "usage.csv"
    path.write_text(provider.usage_csv())
    return exports.read(path)


def test_calls_made_around_us_are_named_by_day_and_model(place):
    with simulator() as provider, place.remote(provider.openai) as remote:
        assert len(dict(remote.answers(questions(5)))) == 5
        around_us(provider, 3)
        found = compare(place, figures_of(provider))
        by_file = compare(place, exports_of(provider, place))
    assert (found.verdict, by_file.verdict) == ("outside", "outside")
    [(cell, _)] = found.days
    assert (cell.day, cell.group.models, cell.outside) == (datetime.now(UTC).date(), ("simulated",), 3)
    assert found.tokens_beyond > 0


def test_told_to_stop_and_went_on_is_found_on_a_suspended_account(place):
    with simulator() as provider, place.remote(provider.openai) as remote:
        dict(remote.answers(questions(2)))
        hold(place.workspace.ledger, place.holds, maker="deepseek", reason="told to stop", evidence="0" * 64)
        around_us(provider, 2)
        found = compare(place, figures_of(provider))
    [past] = found.past
    assert (past.outside, past.at_most, past.stop.kind) == (True, 2, "hold")
    assert "'deepseek' was on hold" in str(past)
    assert "(told to stop)" in str(past)


def test_a_result_stands_in_the_ledger_and_verify_accepts_it(place):
    with simulator() as provider, place.remote(provider.openai) as remote:
        dict(remote.answers(questions(3)))
        found = compare(place, figures_of(provider))
    [entry] = [each for each in place.workspace.ledger.entries() if each.predicate_type == RECONCILIATION]
    assert {key: entry.predicate[key] for key in ("id", "verdict", "billed")} == {
        "id": found.id,
        "verdict": "agrees",
        "billed": 3,
    }
    assert entry.statement["subject"][0]["digest"]["sha256"] == found.bill.digest
    assert not verify.workspace(place.workspace.folder).broken


def test_the_usage_endpoint_wants_the_administrators_key_and_never_shows_it():
    with simulator(Behaviour(admin_key="sk-admin-0123456789")) as provider:
        with pytest.raises(ConfigError, match="administrator's key") as caught:
            figures_of(provider)
        assert KEY not in str(caught.value)
        endpoint = Endpoint(source=DEEPSEEK, base_url=provider.openai)
        given = {"now": datetime.now(UTC), "key_from": "ADMIN", "environment": {"ADMIN": "sk-admin-0123456789"}}
        assert usage_api.fetch(endpoint, this_month(), **given).figures == ()
        with pytest.raises(TeacherError, match="404"):
            usage_api.fetch(Endpoint(source=DEEPSEEK, base_url=f"{provider.url}/elsewhere"), this_month(), **given)
    with pytest.raises(TeacherError, match="cannot be reached"):
        usage_api.fetch(endpoint, this_month(), **given)


def test_a_maker_without_a_usage_endpoint_is_asked_nothing_and_a_key_goes_to_its_own_host_only():
    for source in ("anthropic/claude@api", "openai/gpt-4@azure", "mistral/large@api"):
        with pytest.raises(ConfigError, match="--csv"):
            usage_api.fetch(Endpoint(source=source), this_month(), now=datetime.now(UTC), environment={})
    with pytest.raises(ConfigError, match="OPENAI_ADMIN_KEY"):
        usage_api.fetch(Endpoint(source=GPT), this_month(), now=datetime.now(UTC), environment={})


def test_several_endpoints_must_be_one_account_at_one_provider():
    here = [
        Endpoint(source=f"deepseek/{name}@api", model=name.upper(), base_url="http://127.0.0.1:1/v1") for name in "ab"
    ]
    chosen = usage_api.of_one_account([*here, Endpoint(source=GPT)], Scope(maker="deepseek"))
    assert chosen.scope.pattern == "deepseek/*@api"
    assert chosen.models == {"A": frozenset(["deepseek/a@api"]), "B": frozenset(["deepseek/b@api"])}
    elsewhere = Endpoint(source="deepseek/c@api", base_url="http://127.0.0.1:2/v1")
    with pytest.raises(ConfigError, match="not one account"):
        usage_api.of_one_account([*here, elsewhere], Scope(maker="deepseek"))
    with pytest.raises(ConfigError, match="nothing of 'mistral'"):
        usage_api.of_one_account(here, Scope(maker="mistral"))


# -- with clocks that can be set


class Desk:
    """An account in the November of a machine whose clock can be set, and bills about it."""

    def __init__(self, account: Account, folder: Any) -> None:
        self.machine = Machine()
        self.account = account
        self.allowance = Allowance(account, (), "us", self.machine.clock())
        self.workspace = Workspace.open(folder / "work", create=True)

    def go_to(self, moment: datetime) -> None:
        self.machine.go(moment.timestamp() - self.machine.wall)

    def answered(self, n: int = 1, **what: Any) -> None:
        for _ in range(n):
            self.allowance.settle(reserve(self.allowance, **what), CALL, "answered")

    def failed(self, amount: Amount, **what: Any) -> None:
        self.allowance.settle(reserve(self.allowance, **what), amount, "failed")

    def reconcile(self, bill: Bill, *, now: datetime | None = None, month: str = "2026-11", **more: Any) -> Reconciled:
        asked = Asked(**{"scope": Scope(maker="openai"), "month": Month.parse(month), **more})
        ledgers = [self.workspace.ledger]
        now = now or datetime(2026, 12, 5, tzinfo=UTC)
        return reconcile(bill, asked, account=self.account, entity="us", ledgers=ledgers, now=now)


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(Account.open(f"sqlite:///{tmp_path / 'account.db'}"), tmp_path)


def moment(day: int, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def bill(*days: tuple[int, str, int], hour: int | None = None) -> Bill:
    """Of (day, model, calls), a hundred tokens each; by day, or in one hour."""
    figures = []
    for day, model, n in days:
        span = Span(moment(day, 0), moment(day, 0) + timedelta(days=1))
        if hour is not None:
            span = Span(moment(day, hour), moment(day, hour) + timedelta(hours=1))
        figures.append(Figure(span=span, model=model, calls=n, tokens=100 * n))
    return Bill(kind="a bill", digest="ab" * 32, figures=tuple(figures))


def test_a_call_that_the_maker_declined_is_on_no_bill(desk):
    desk.answered(2)
    desk.failed(Amount(1, 0, 0))
    assert desk.reconcile(bill((21, "gpt-4", 2))).verdict == "agrees"
    assert desk.reconcile(bill((21, "gpt-4", 3))).outside == 1


def test_an_answer_that_was_none_is_settled_by_the_bill_and_frees_what_was_not_billed(desk):
    desk.answered(2)
    desk.failed(CALL), desk.failed(CALL)
    found = desk.reconcile(bill((21, "gpt-4", 3)))
    assert [(done.billed, done.not_billed) for _, done in found.days] == [(1, 1)]
    [used] = desk.allowance.used(since=moment(1), until=moment(30))
    assert (used.charged, used.failed, used.reconciled) == (Amount(4, 300, 750), 1, 1)


def test_a_dry_run_settles_and_writes_nothing(desk):
    desk.answered(1)
    desk.failed(CALL)
    before = desk.allowance.used(since=moment(1), until=moment(30))
    found = desk.reconcile(bill((21, "gpt-4", 1)), dry_run=True)
    assert [(done.billed, done.not_billed) for _, done in found.days] == [(0, 1)]
    assert desk.allowance.used(since=moment(1), until=moment(30)) == before
    assert desk.workspace.ledger.size == 0
    assert History(desk.account).of("us", "openai", "2026-11") == []


def test_a_call_before_midnight_may_be_billed_the_day_after_and_the_month_after(desk):
    desk.go_to(moment(21, 23, 59))
    desk.answered()
    desk.go_to(moment(30, 23, 58))
    desk.answered()
    assert desk.reconcile(bill((22, "gpt-4", 1))).verdict == "agrees"
    december = Bill(kind="b", digest="cd" * 32, figures=(shifted(bill((30, "gpt-4", 1)).figures[0]),))
    found = desk.reconcile(december, now=datetime(2027, 1, 5, tzinfo=UTC), month="2026-12")
    assert found.outside == 0
    desk.go_to(datetime(2026, 12, 1, 12, tzinfo=UTC))
    assert desk.reconcile(bill((21, "gpt-4", 1), (25, "gpt-4", 1))).outside == 1


def shifted(figure: Figure) -> Figure:
    day = timedelta(days=1)
    span = Span(figure.span.since + day, figure.span.until + day)
    return Figure(span=span, model=figure.model, calls=figure.calls, tokens=figure.tokens)


def test_of_a_month_that_lasts_only_days_known_to_be_whole_settle_and_miss(desk):
    desk.answered()
    desk.go_to(moment(23))
    desk.answered(2)
    now = moment(23, 13)
    figures = bill((21, "gpt-4", 1), (23, "gpt-4", 1))
    early = desk.reconcile(figures, now=now)
    assert (early.verdict, early.missing, str(early.through)) == ("agrees", 0, "2026-11-22")
    assert any("whole through 2026-11-22" in note for note in early.notes)
    told_whole = desk.reconcile(figures, now=now, through=now.date())
    assert (told_whole.verdict, told_whole.missing) == ("differs", 1)
    with pytest.raises(ConfigError, match="that has come"):
        desk.reconcile(figures, now=now, through=moment(24).date())
    with pytest.raises(ConfigError, match="has not begun"):
        desk.reconcile(figures, now=now, month="2026-12")


def test_what_would_have_to_be_guessed_is_refused_with_what_to_say(desk):
    desk.answered(1)
    with pytest.raises(ConfigError, match=r"'gpt-4-0613'.*asked were: 'openai/gpt-4@api'.*--model NAME=SOURCE"):
        desk.reconcile(bill((21, "gpt-4-0613", 1)))
    assert desk.reconcile(bill((21, "gpt-4-0613", 1)), told=told([f"gpt-4-0613={GPT}"])).verdict == "agrees"
    with pytest.raises(ConfigError, match=r"says nothing of 'openai/gpt-4@api', which answered 1"):
        desk.reconcile(bill((21, "gpt-5", 1)), told=told(["gpt-5=openai/gpt-5@api"]))


def test_a_bill_of_a_maker_that_was_asked_on_two_routes_must_be_said_to_be_of_one(desk):
    desk.answered(1)
    desk.answered(1, source=AZURE)
    with pytest.raises(ConfigError, match=r"routes api, azure.*--source 'openai/\*@api'"):
        desk.reconcile(bill((21, "gpt-4", 1)))
    found = desk.reconcile(bill((21, "gpt-4", 1)), scope=Scope(maker="openai", pattern="openai/*@api"))
    assert found.verdict == "agrees"
    assert told(["a=b=openai/gpt-4@api"]) == {"a=b": frozenset([GPT])}
    with pytest.raises(ConfigError, match="NAME=SOURCE"):
        told(["gpt-4"])


def test_a_model_that_was_never_asked_through_us_is_all_outside(desk):
    found = desk.reconcile(bill((21, "gpt-5", 7)), told=told(["gpt-5=openai/gpt-5@api"]))
    assert (found.verdict, found.outside) == ("outside", 7)


def test_another_makers_models_on_the_same_bill_are_passed_over_and_said(desk):
    desk.answered(1)
    figures = bill((21, "gpt-4", 1), (21, "claude", 5))
    found = desk.reconcile(figures, told=told(["claude=anthropic/claude@api"]))
    assert found.verdict == "agrees"
    assert any("claude" in note for note in found.notes)


def test_what_was_asked_around_us_past_a_hold_is_told_from_what_was_asked_before_it(desk):
    """The hold is placed on the 24th at noon, in real time; the figures are of hours around it and days after it."""
    Holds(desk.account, "us").place("openai", "told to stop", "0" * 64)
    with desk.account.writing() as connection:
        connection.exec_driver_sql("UPDATE holds SET placed_at = '2026-11-24T12:00:00Z'")
    later = desk.reconcile(bill((25, "gpt-5", 4), (23, "gpt-5", 9)), told=told(["gpt-5=openai/gpt-5@api"]))
    assert [(past.day.day, past.calls, past.at_most) for past in later.past] == [(25, 4, 4)]
    day = desk.reconcile(bill((24, "gpt-5", 4)), told=told(["gpt-5=openai/gpt-5@api"]))
    assert [(past.calls, past.at_most) for past in day.past] == [(0, 4)]
    assert "do not tell the hour" in str(day.past[0])
    hour = desk.reconcile(bill((24, "gpt-5", 4), hour=15), told=told(["gpt-5=openai/gpt-5@api"]))
    assert [(past.calls, past.at_most) for past in hour.past] == [(4, 4)]
    before = desk.reconcile(bill((24, "gpt-5", 4), hour=3), told=told(["gpt-5=openai/gpt-5@api"]))
    assert [past.calls for past in before.past] == [0]


def test_our_own_calls_past_a_recall_are_named_with_project_and_use(desk):
    said = {"source": GPT, "reason": "asked to", "at": "2026-11-22T00:00:00Z"}
    desk.workspace.ledger.append(WITHDRAWAL, [], said)
    desk.answered(2)
    desk.go_to(moment(25))
    desk.answered(3, use=Use.BENCHMARK_TEACHER, project="evaluation")
    found = desk.reconcile(bill((21, "gpt-4", 2), (25, "gpt-4", 3)))
    assert (found.outside, found.verdict) == (0, "past_stop")
    [past] = found.past
    assert str(past).startswith(
        "2026-11-25: 3 calls to openai/gpt-4@api, made by project 'evaluation' for benchmark_teacher"
    )


def test_our_own_calls_while_on_hold_are_named_on_whatever_route(desk):
    Holds(desk.account, "us").place("openai", "told to stop", "0" * 64)
    with desk.account.writing() as connection:
        connection.exec_driver_sql("UPDATE holds SET placed_at = '2026-11-20T12:00:00Z', entity = 'later'")
    desk.answered(2)  # as if the hold had been lost
    with desk.account.writing() as connection:
        connection.exec_driver_sql("UPDATE holds SET entity = 'us'")
    found = desk.reconcile(bill((21, "gpt-4", 2)))
    assert [(past.name, past.calls, past.outside) for past in found.past] == [(GPT, 2, False)]


def test_nothing_is_settled_that_could_not_be_stated(desk, monkeypatch, tmp_path):
    desk.failed(CALL)
    monkeypatch.setenv("TRUESEED_STATE", str(tmp_path / "another"))
    with pytest.raises(ConfigError, match="not this user's ledger"):
        desk.reconcile(bill())
    [used] = desk.allowance.used(since=moment(1), until=moment(30))
    assert used.charged == CALL


def test_what_a_kill_left_out_of_the_ledger_is_written_by_the_next_one_once(desk):
    desk.answered(1)
    found = desk.reconcile(bill((21, "gpt-4", 1)), dry_run=True)
    history = History(desk.account)
    with desk.account.writing() as connection:  # as a process that died after it settled
        history.keep(connection, found.to_json(), desk.workspace.ledger.origin)
    second = desk.reconcile(bill((21, "gpt-4", 1)))
    third = desk.reconcile(bill((21, "gpt-4", 1)))
    entries = [each for each in desk.workspace.ledger.entries() if each.predicate_type == RECONCILIATION]
    assert [each.predicate["id"] for each in entries] == [found.id, second.id, third.id]
    assert [each["entry"] for each in history.of("us", "openai", "2026-11")] == [each.index for each in entries]
