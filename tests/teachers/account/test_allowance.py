"""Never more than was allowed, whoever asks at once, is killed, or sets the clock."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from tests.teachers.conftest import Machine

from trueseed.core.settings import Settings, read
from trueseed.errors import ConfigError, Paused, Refused
from trueseed.teachers.account import allowance as module
from trueseed.teachers.account import charging
from trueseed.teachers.account.allowance import FREE, NOTHING, Allowance, Amount, Exhausted, Limit, Price, price_of
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account
from trueseed.teachers.supplier import books
from trueseed.terms.model import Use

GPT, AZURE, LARGE = "openai/gpt-4@api", "openai/gpt-4@azure", "mistral/mistral-large@api"
CALL = Amount(requests=1, tokens=100, micros=250)
ALWAYS = {"since": datetime(2000, 1, 1, tzinfo=UTC), "until": datetime(2100, 1, 1, tzinfo=UTC)}


def ask(allowance, source=GPT, use=Use.JUDGE, project="seed", upper=CALL):
    return allowance.reserve(source=source, use=use, project=project, request="0" * 64, upper=upper)


def how_many(allowance, **what):
    """Calls until the allowance ends."""
    n = 0
    try:
        while n < 1000:
            ask(allowance, **what)
            n += 1
    except Exhausted:
        pass
    return n


def limited(account, *limits, machine=None):
    return Allowance(account, limits, "us", machine.clock() if machine else None)


# -- reserving and settling


@pytest.mark.parametrize("much", [{"requests": 3}, {"tokens": 399}, {"micros": 750}])
def test_three_calls_have_room_and_the_fourth_has_not(account, much):
    assert how_many(limited(account, Limit(source="openai/*", per="total", **much))) == 3


def test_what_was_not_used_is_free_again_once_settled(account):
    allowance = limited(account, Limit(source="*", per="total", tokens=150))
    first = ask(allowance)
    with pytest.raises(Exhausted):
        ask(allowance)
    allowance.settle(first, Amount(1, 50, 125), "answered")
    ask(allowance)
    with pytest.raises(Exhausted):
        ask(allowance)


def test_a_call_that_used_more_than_was_reserved_is_charged_in_full(account):
    allowance = limited(account, Limit(source="*", per="total", tokens=250))
    allowance.settle(ask(allowance), replace(CALL, tokens=200), "answered")
    with pytest.raises(Exhausted, match="200 tokens used or reserved, up to 100 tokens asked"):
        ask(allowance)


def test_a_failed_call_counts_a_released_one_does_not(account):
    allowance = limited(account, Limit(source="*", per="total", requests=1))
    allowance.release(ask(allowance))
    allowance.settle(ask(allowance), Amount(1, 0, 0), "failed")
    with pytest.raises(Exhausted):
        ask(allowance)
    assert [(row.failed, row.charged.requests) for row in allowance.used(**ALWAYS)] == [(1, 1)]


def test_a_call_is_settled_once(account):
    allowance = limited(account)
    call = ask(allowance)
    allowance.settle(call, CALL, "answered")
    with pytest.raises(ValueError, match="settled or released before"):
        allowance.release(call)
    assert allowance.used(**ALWAYS)[0].charged == CALL


def test_nothing_uses_less_than_nothing(account):
    allowance = limited(account)
    with pytest.raises(ValueError, match="less than nothing"):
        ask(allowance, upper=Amount(1, -1, 0))
    with pytest.raises(ValueError, match="less than nothing"):
        allowance.settle(ask(allowance), Amount(1, 0, -1), "answered")


def test_a_refused_reservation_changes_nothing(account):
    allowance = limited(account, Limit(source="*", per="total", requests=0))
    with pytest.raises(Exhausted):
        ask(allowance)
    assert allowance.used(**ALWAYS) == []


# -- what a limit binds


def test_a_limit_binds_what_it_matches_together(account):
    allowance = limited(account, Limit(source="openai/*", per="total", requests=3))
    ask(allowance, source=AZURE), ask(allowance, use=Use.REWARD, project="other")
    assert how_many(allowance) == 1
    assert how_many(allowance, source=AZURE) == 0
    ask(allowance, source=LARGE)


def test_a_limit_of_a_use_or_a_project_leaves_others_alone(account):
    judge = Limit(source="*", use=Use.JUDGE, per="total", requests=1)
    allowance = limited(account, judge, Limit(source="*", project="small", per="total", requests=1))
    assert how_many(allowance) == 1
    assert how_many(allowance, use=Use.TRAIN, project="small") == 1
    ask(allowance, use=Use.TRAIN)


def test_two_workspaces_share_an_account_and_see_what_was_used_before_their_limit_was_known(url):
    ask(limited(Account.open(url)), project="one")
    assert how_many(limited(Account.open(url), Limit(source="*", per="day", requests=3)), project="two") == 2


def test_another_legal_entity_has_its_own_allowance(account):
    limit = Limit(source="*", per="total", requests=1)
    ask(Allowance(account, [limit], "us"))
    ask(Allowance(account, [limit], "them"))


def test_money_does_not_hold_up_what_costs_nothing(account):
    allowance = limited(account, Limit(source="*", per="total", micros=0))
    ask(allowance, source="huggingfacetb/smollm2-135m-instruct@weights", upper=Amount(1, 100, 0))
    with pytest.raises(Exhausted):
        ask(allowance)


def test_cached_answers_are_counted_and_cost_nothing(account):
    allowance = limited(account, Limit(source="*", per="total", requests=0))
    allowance.cached(source=GPT, use=Use.JUDGE, project="seed", request="0" * 64)
    assert [(row.cached, row.charged) for row in allowance.used(**ALWAYS)] == [(1, NOTHING)]


def test_a_maker_on_hold_is_not_asked_on_any_route(account):
    allowance = limited(account)
    Holds(account, "us").place("openai", "account deactivated", "e" * 64)
    for source in (GPT, AZURE, "openai/other@openrouter"):
        with pytest.raises(Refused, match="trueseed release openai --evidence FILE"):
            ask(allowance, source=source)
    ask(allowance, source=LARGE)


# -- prices


def test_a_price_rounds_up():
    assert Price(2_500_000, 10_000_000).micros(1_000, 200) == 4_500
    assert Price(1, 0).micros(1, 0) == 1
    assert FREE.micros(10**9, 10**9) == 0


def test_an_unknown_price_is_a_refusal():
    with pytest.raises(Refused, match="the price of 'openai/gpt-4@api' is not known"):
        price_of(GPT, {"mistral/*": Price(1, 1)})


def test_the_closest_price_counts_and_our_own_weights_are_free():
    prices = {"openai/*": Price(1, 1), "openai/gpt-4@*": Price(2, 2)}
    assert price_of(GPT, prices) == Price(2, 2)
    assert price_of("openai/gpt-3@api", prices) == Price(1, 1)
    assert price_of("google/gemma-3-270m@weights", prices) == FREE


# -- limits in YAML


class File(Settings):
    limits: list[Limit]


def test_limits_are_read_from_yaml(tmp_path):
    path = tmp_path / "limits.yaml"
    path.write_text("limits:\n- {source: openai/*, use: judge, per: day, requests: 500}\n")
    assert read(path, File).limits == [Limit(source="openai/*", use=Use.JUDGE, per="day", requests=500)]


@pytest.mark.parametrize(
    "wrong", ["requests: -1", "requests: 1.5", "request: 5", "use: training, requests: 1", "project: x"]
)
def test_a_limit_that_limits_nothing_or_is_misspelt_is_a_mistake(tmp_path, wrong):
    path = tmp_path / "limits.yaml"
    path.write_text(f"limits:\n- {{source: openai/*, per: day, {wrong}}}\n")
    with pytest.raises(ConfigError, match="line 2"):
        read(path, File)


# -- windows and clocks


def until(allowance, **what):
    with pytest.raises(Exhausted) as caught:
        ask(allowance, **what)
    return caught.value.until


@pytest.mark.parametrize(
    ("per", "end"),
    [
        ("minute", datetime(2026, 11, 21, 9, 31, 1, tzinfo=UTC)),
        ("day", datetime(2026, 11, 22, tzinfo=UTC)),
        ("month", datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_an_allowance_says_when_it_goes_on_and_then_does(account, machine, per, end):
    allowance = limited(account, Limit(source="*", per=per, requests=2), machine=machine)
    assert how_many(allowance) == 2
    assert until(allowance) == end
    machine.go(end.timestamp() - machine.wall - 1)
    assert until(allowance) == end
    machine.go(1)
    assert how_many(allowance) == 2


def test_a_total_never_comes_back(account, machine):
    allowance = limited(account, Limit(source="*", per="total", requests=1), machine=machine)
    ask(allowance)
    machine.go(10**8)
    assert until(allowance) is None


def test_a_call_larger_than_its_limit_is_told_that_waiting_does_not_help(account, machine):
    allowance = limited(account, Limit(source="*", per="minute", tokens=99), machine=machine)
    with pytest.raises(Exhausted, match="waiting does not help: raise the limit, or ask for less"):
        ask(allowance)


def test_the_limit_that_lasts_longest_is_the_one_named(account, machine):
    minute, day = Limit(source="*", per="minute", requests=1), Limit(source="openai/*", per="day", requests=1)
    allowance = limited(account, minute, day, machine=machine)
    ask(allowance)
    with pytest.raises(Exhausted) as caught:
        ask(allowance)
    assert caught.value.limit == day
    assert isinstance(caught.value, Paused)
    assert str(caught.value) == (
        "the allowance of 'openai/*', 1 request a day, has no room for this call: 1 request used or reserved, up to "
        "1 request asked; there is room again at 2026-11-22T00:00:00Z, and the same command goes on then"
    )


def test_room_comes_back_as_calls_leave_the_minute(account, machine):
    allowance = limited(account, Limit(source="*", per="minute", tokens=300), machine=machine)
    ask(allowance, upper=replace(CALL, tokens=100))
    machine.go(30)
    ask(allowance, upper=replace(CALL, tokens=200))
    assert until(allowance, upper=replace(CALL, tokens=100)) == datetime(2026, 11, 21, 9, 31, 1, tzinfo=UTC)
    assert until(allowance, upper=replace(CALL, tokens=101)) == datetime(2026, 11, 21, 9, 31, 31, tzinfo=UTC)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pauses=st.lists(st.floats(0, 45), min_size=5, max_size=40))
def test_no_sixty_seconds_hold_more_than_a_minutes_limit(tmp_path_factory, pauses):
    machine = Machine()
    account = Account.open(f"sqlite:///{tmp_path_factory.mktemp('minute') / 'account.db'}")
    allowance = limited(account, Limit(source="*", per="minute", requests=4), machine=machine)
    asked = []
    for pause in pauses:
        machine.go(pause)
        asked += [machine.wall] * how_many(allowance)
    assert all(sum(at <= other <= at + 60 for other in asked) <= 4 for at in asked)


DAY = Limit(source="*", per="day", requests=2)


@pytest.mark.parametrize("by", [-3600, -86_400, -(10**8), 3600 * 20, 86_400, 10**9], ids=str)
def test_a_clock_that_jumps_frees_no_budget(account, machine, by):
    allowance = limited(account, DAY, machine=machine)
    assert how_many(allowance) == 2
    machine.jump(by)
    assert how_many(allowance) == 0
    machine.jump(-by)
    assert how_many(allowance) == 0


@pytest.mark.parametrize("by", [-(10**8), 10**9], ids=str)
def test_a_clock_that_jumped_loses_no_budget(account, machine, by):
    allowance = limited(account, DAY, machine=machine)
    assert how_many(allowance) == 2
    machine.jump(by)
    assert how_many(allowance) == 0
    machine.go(86_400)
    assert how_many(allowance) == 2


def test_until_is_what_the_machines_own_clock_will_show(account, machine):
    allowance = limited(account, DAY, machine=machine)
    assert how_many(allowance) == 2
    machine.jump(-3600)
    assert until(allowance) == datetime(2026, 11, 21, 23, tzinfo=UTC)


def test_after_a_restart_with_a_clock_that_lost_its_battery_time_goes_on_from_where_it_was(account, machine):
    assert how_many(limited(account, DAY, machine=machine)) == 2
    machine.restart()
    machine.wall = 0.0
    allowance = limited(account, DAY, machine=machine)
    assert how_many(allowance) == 0
    machine.go(86_400)
    assert how_many(allowance) == 2


def test_a_machine_that_was_off_for_a_day_has_its_new_day(account, machine):
    assert how_many(limited(account, DAY, machine=machine)) == 2
    machine.restart()
    machine.jump(86_400)
    assert how_many(limited(account, DAY, machine=machine)) == 2


def test_a_host_whose_clock_is_behind_opens_no_earlier_day(account, machine):
    ahead = Allowance(account, [DAY], "us", machine.clock("ahead"))
    assert how_many(ahead) == 2
    behind = Machine(wall=machine.wall - 86_400)
    assert how_many(Allowance(account, [DAY], "us", behind.clock("behind"))) == 0


# -- processes


HOLDING = """
import sys, time
from trueseed.teachers.account.state import Account
from trueseed.teachers.account.allowance import Allowance, Amount, Limit
from trueseed.terms.model import Use
allowance = Allowance(Account.open(sys.argv[1]), [], "us")
for number in range(3):
    allowance.reserve(
        source="openai/gpt-4@api", use=Use.JUDGE, project="seed", request="0" * 64, upper=Amount(1, 100, 250))
print("in flight", flush=True)
time.sleep(600)
"""

SPENDING = """
import sys, threading
from trueseed.teachers.account.state import Account
from trueseed.teachers.account.allowance import Allowance, Amount, Exhausted, Limit
from trueseed.teachers.account.clock import Clock
from trueseed.terms.model import Use

url, host, projects = sys.argv[1], sys.argv[2], [str(number) for number in range(15)]
limits = [Limit(source="openai/*", project=project, per="total", requests=9, tokens=400) for project in projects]
allowance, done = Allowance(Account.open(url), limits, "us", Clock(host=host)), []

def spend(project):
    while True:
        try:
            call = allowance.reserve(
                source="openai/gpt-4@api", use=Use.JUDGE, project=project, request="0" * 64, upper=Amount(1, 100, 250))
        except Exhausted:
            return
        done.append(allowance.settle(call, Amount(1, 60, 150), "answered"))

print("ready", flush=True)
sys.stdin.read(1)
threads = [threading.Thread(target=lambda: [spend(project) for project in projects]) for _ in range(16)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(len(done))
"""


def start(code, *words):
    command = [sys.executable, "-c", code, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_four_processes_of_sixteen_threads_overspend_by_exactly_nothing(url):
    """Many small budgets, since only the end of one can be passed. The processes are as if on hosts of their own."""
    account = Account.open(url)
    processes = [start(SPENDING, url, f"host{number}") for number in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("!")
        process.stdin.flush()
    done = sum(int(process.communicate()[0]) for process in processes)
    # Each needs 100 tokens free and uses 60. The last thread to give up saw none in flight, so nothing is lost either.
    fit = (400 - 100) // 60 + 1
    used = limited(account).used(**ALWAYS)
    assert [row.charged for row in used] == [Amount(fit, 60 * fit, 150 * fit)] * 15
    assert sum(row.answered for row in used) == done == 15 * fit


def test_calls_in_flight_at_a_kill_become_unknown_and_stay_charged(url):
    account = Account.open(url)
    process = start(HOLDING, url)
    assert process.stdout.readline() == "in flight\n"
    limit = Limit(source="*", per="total", requests=4)
    allowance = limited(account, limit)
    assert allowance.unknown() == []  # while it lives
    process.send_signal(signal.SIGKILL)
    process.communicate()
    allowance = limited(account, limit)
    assert [call.upper for call in allowance.unknown()] == [CALL] * 3
    assert allowance.used(**ALWAYS)[0].unknown == 3
    assert how_many(allowance) == 1


def test_a_sweep_leaves_the_living_alone(account):
    allowance = limited(account)
    call = ask(allowance)
    assert allowance.sweep() == 0
    allowance.settle(call, CALL, "answered")


def test_calls_of_a_host_that_cannot_be_seen_are_unknown_after_an_hour_and_may_still_come_back(
    account, machine, monkeypatch
):
    allowance = limited(account, machine=machine)
    with monkeypatch.context() as elsewhere:
        here = charging.this_process()
        elsewhere.setattr(charging, "this_process", lambda: replace(here, host="elsewhere"))
        call = ask(allowance)
    assert allowance.sweep() == 0
    machine.go(3601)
    assert allowance.sweep() == 1
    allowance.settle(call, CALL, "answered")
    assert allowance.unknown() == []


def test_calls_before_a_restart_of_the_machine_are_unknown(account, lose):
    allowance = limited(account)
    lose(allowance, 2)
    assert len(allowance.unknown()) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_connections_of_its_own(account):
    allowance = limited(account, Limit(source="*", per="total", requests=10))
    ask(allowance)
    child = os.fork()
    if child == 0:
        try:
            os._exit(how_many(allowance, upper=Amount(1, 0, 0)))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert how_many(allowance) == 0
    assert allowance.sweep() == 9


# -- reconciling


@pytest.fixture
def lose(monkeypatch):
    """Makes calls of a process that died."""

    def lost(allowance, n, **what):
        here = charging.this_process()
        with monkeypatch.context() as before:
            before.setattr(charging, "this_process", lambda: replace(here, boot="before"))
            for _ in range(n):
                ask(allowance, **what)
        assert allowance.sweep() == n

    return lost


def test_a_call_that_nobody_knew_is_charged_what_a_bill_shows_and_frees_the_rest(account, lose):
    allowance = limited(account, Limit(source="*", per="total", requests=3))
    lose(allowance, 2)
    allowance.settle(ask(allowance), CALL, "failed")
    first, second = allowance.unknown()
    with allowance.amending() as (_, amend):
        amend([(first, Amount(1, 60, 150), "reconciled"), (second, NOTHING, "reconciled")])
    assert allowance.unknown() == []
    row = allowance.used(**ALWAYS)[0]
    assert (row.charged, row.reconciled, row.failed) == (Amount(2, 160, 400), 2, 1)
    assert how_many(allowance) == 1


def test_what_is_amended_is_amended_whole_or_not_at_all_and_never_what_was_answered(account, lose):
    allowance = limited(account)
    lose(allowance, 1)
    answered = ask(allowance)
    allowance.settle(answered, CALL, "answered")
    with pytest.raises(ValueError, match="settled or released before"), allowance.amending() as (_, amend):
        amend([(allowance.unknown()[0], NOTHING, "reconciled"), (answered, NOTHING, "reconciled")])
    assert len(allowance.unknown()) == 1
    assert allowance.used(**ALWAYS)[0].charged == CALL + CALL


def test_what_a_bill_is_compared_with_is_summed_by_what_it_is_to_the_bill(account, machine, lose):
    allowance = limited(account, machine=machine)
    for outcome, amount in (("answered", CALL), ("failed", CALL), ("failed", Amount(1, 0, 0))):
        allowance.settle(ask(allowance), amount, outcome)
    lose(allowance, 2)
    allowance.release(ask(allowance))
    allowance.cached(source=GPT, use=Use.JUDGE, project="seed", request="0" * 64)
    ask(allowance), ask(allowance, source=LARGE)
    span = books.Span(**ALWAYS)
    with account.reading() as connection:
        found = books.read(connection, "us", span, lambda source: source != LARGE)
    totals = {kind: found.total([GPT], kind=kind).requests for kind in ("billed", "doubtful", "in_flight")}
    assert totals == {"billed": 1, "doubtful": 3, "in_flight": 1}
    assert [each.garbled for each in found.doubtful] == [True, False, False]
    assert found.sources() == [GPT]


# -- reports


def test_a_makers_use_is_reported_over_all_routes_uses_projects_and_days(account, machine):
    allowance = limited(account, machine=machine)
    for source, use in ((GPT, Use.JUDGE), (AZURE, Use.JUDGE), (AZURE, Use.REWARD), (LARGE, Use.JUDGE)):
        allowance.settle(ask(allowance, source=source, use=use), CALL, "answered")
    machine.go(86_400)
    ask(allowance, project="other")
    rows = allowance.used(maker="openai", **ALWAYS)
    assert [(row.source, row.use, row.project, row.day) for row in rows] == [
        (GPT, Use.JUDGE, "other", "2026-11-22"),
        (GPT, Use.JUDGE, "seed", "2026-11-21"),
        (AZURE, Use.JUDGE, "seed", "2026-11-21"),
        (AZURE, Use.REWARD, "seed", "2026-11-21"),
    ]
    assert [(row.answered, row.reserved) for row in rows] == [(0, 1), (1, 0), (1, 0), (1, 0)]
    assert allowance.used(source="*@azure", **ALWAYS) == rows[2:]
    day = datetime(2026, 11, 22, tzinfo=UTC)
    assert allowance.used(since=day, until=day + timedelta(days=1)) == rows[:1]


# -- speed


@pytest.mark.parametrize("name", ["SPENT", "MINUTE", "SECONDS", "CHANGE", "SETTLE", "_IN_FLIGHT", "_UNKNOWN", "_PRUNE"])
def test_no_question_of_a_call_reads_the_accounts_whole_history(name, tmp_path):
    """Every row is found by more of a key than the entity's name."""
    question = getattr(module if name.startswith("_") else charging, name)
    with Account.open(f"sqlite:///{tmp_path / 'account.db'}").reading() as connection:
        question = question if isinstance(question, sql.TextClause) else sql.text(question.text)
        anything = dict.fromkeys(question.compile().params, 1)
        plan = connection.execute(sql.text(f"EXPLAIN QUERY PLAN {question}"), anything).all()
    found = [step.detail for step in plan if step.detail.startswith(("SEARCH", "SCAN"))]
    assert found
    assert all(detail.startswith("SEARCH") and re.search(r"AND (start|state)|rowid=", detail) for detail in found)


# -- laws


class Interleavings(RuleBasedStateMachine):
    """Whatever is reserved, settled, released and killed in any order, spent and reserved together stay in the limit,
    and what the account says is what happened."""

    calls = Bundle("calls")
    make_url = None

    @initialize()
    def begin(self):
        self.machine = Machine()
        self.account = Account.open(type(self).make_url())
        self.limits = [
            Limit(source="openai/*", per="total", requests=12, tokens=900),
            Limit(source="*", per="day", micros=1_500),
            Limit(source="*", use=Use.JUDGE, per="minute", requests=3),
        ]
        self.allowance = Allowance(self.account, self.limits, "us", self.machine.clock())
        self.charged = {}  # id → (call, amount)
        self.open = set()

    @rule(
        target=calls,
        source=st.sampled_from([GPT, AZURE, LARGE]),
        tokens=st.integers(0, 300),
        use=st.sampled_from(list(Use)[2:4]),
    )
    def reserve(self, source, tokens, use):
        try:
            call = ask(self.allowance, source=source, use=use, upper=Amount(1, tokens, tokens * 2))
        except Exhausted:
            return None
        self.charged[call.id] = (call, call.upper)
        self.open.add(call.id)
        return call

    @rule(call=calls, part=st.floats(0, 1))
    def settle(self, call, part):
        if call and call.id in self.open:
            actual = Amount(1, int(call.upper.tokens * part), int(call.upper.micros * part))
            self.allowance.settle(call, actual, "answered")
            self.charged[call.id] = (call, actual)
            self.open.remove(call.id)

    @rule(call=calls)
    def release(self, call):
        if call and call.id in self.open:
            self.allowance.release(call)
            del self.charged[call.id]
            self.open.remove(call.id)

    @rule()
    def die(self):
        """The process is killed; another one begins."""
        with self.account.writing() as connection:
            connection.exec_driver_sql("UPDATE calls SET boot = 'before'")
        self.allowance = Allowance(self.account, self.limits, "us", self.machine.clock())
        assert {call.id for call in self.allowance.unknown()} == self.open

    @rule(seconds=st.sampled_from([1, 20, 61, 86_400]))
    def go(self, seconds):
        self.machine.go(seconds)

    @rule(seconds=st.integers(-(10**6), 10**6))
    def jump(self, seconds):
        self.machine.jump(seconds)

    @invariant()
    def limits_hold(self):
        if not hasattr(self, "allowance"):
            return
        day, every = {}, NOTHING
        for call, amount in self.charged.values():
            day[call.at_ms // 86_400_000] = day.get(call.at_ms // 86_400_000, 0) + amount.micros
            every = every + amount if call.source.startswith("openai/") else every
        assert every.requests <= 12
        assert every.tokens <= 900
        assert all(micros <= 1_500 for micros in day.values())
        judged = [call.at_ms for call, _ in self.charged.values() if call.use is Use.JUDGE]
        assert all(sum(0 <= other - at <= 60_000 for other in judged) <= 3 for at in judged)
        rows = self.allowance.used(**ALWAYS)
        assert sum((row.charged for row in rows), NOTHING) == sum(
            (amount for _, amount in self.charged.values()), NOTHING
        )
        with self.account.reading() as connection:
            sums = connection.exec_driver_sql("SELECT per, requests, tokens, micros FROM spent").all()
        assert all(number >= 0 for _, *numbers in sums for number in numbers)
        for per in ("day", "month", "total"):
            summed = sum((Amount(*numbers) for window, *numbers in sums if window == per), NOTHING)
            assert summed == sum((row.charged for row in rows), NOTHING)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_in_any_order_no_limit_is_passed_and_nothing_is_miscounted(kind, request, tmp_path):
    from hypothesis.stateful import run_state_machine_as_test

    names = iter(range(10**6))
    make = (
        request.getfixturevalue("postgresql")
        if kind == "postgresql"
        else lambda: f"sqlite:///{tmp_path / f'{next(names)}.db'}"
    )
    machine = type("Of", (Interleavings,), {"make_url": staticmethod(make)})
    examples = 30 if kind == "sqlite" else 10
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None, database=None)
    )
