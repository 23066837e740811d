"""A limit that stands in the account binds whoever asks through it, whatever is written in their files."""

import threading
from datetime import UTC, datetime

import pytest
from tests.teachers.account.test_allowance import AZURE, GPT, LARGE, ask, how_many

from trueseed.errors import ConfigError
from trueseed.teachers.account.allowance import Allowance, Amount, Exhausted, Limit
from trueseed.teachers.account.charging import Closed, Wanted
from trueseed.teachers.account.shared import Shared
from trueseed.teachers.account.state import Account
from trueseed.terms.model import Use

OPENAI = Limit(source="openai/*", per="day", requests=3)


@pytest.fixture
def shared(account):
    return Shared(account, "us")


def unlimited(account, *limits, entity="us"):
    return Allowance(account, limits, entity)


def test_two_workspaces_whose_files_have_no_limits_share_those_of_their_account(url):
    Shared(Account.open(url), "us").set(OPENAI)
    one, two = (unlimited(Account.open(url)) for _ in "12")
    assert how_many(one, project="one", source=GPT) == 3
    assert how_many(two, project="two", source=AZURE) == 0
    ask(two, source=LARGE)


def test_what_was_used_before_it_was_set_counts(account, shared):
    allowance = unlimited(account)
    ask(allowance), ask(allowance)
    shared.set(OPENAI)
    assert how_many(allowance) == 1


def test_it_binds_the_next_call_of_whoever_is_asking_already_and_ends_when_it_is_removed(url):
    allowance = unlimited(Account.open(url))
    ask(allowance)
    elsewhere = Shared(Account.open(url), "us")
    made = elsewhere.set(Limit(source="*", per="total", requests=1))
    assert how_many(allowance) == 0
    elsewhere.set(Limit(source="*", per="total", requests=2))
    assert how_many(allowance) == 1
    assert elsewhere.remove(made.id).requests == 2
    ask(allowance)


@pytest.mark.parametrize(("ours", "accounts", "room"), [(2, 5, 2), (5, 2, 2), (0, 5, 0), (5, 0, 0)])
def test_a_call_needs_room_under_the_accounts_limits_and_under_the_files(account, shared, ours, accounts, room):
    shared.set(Limit(source="openai/*", per="day", requests=accounts))
    assert how_many(unlimited(account, Limit(source="*", per="total", requests=ours))) == room


def test_a_use_or_a_project_of_it_leaves_others_alone(account, shared):
    shared.set(Limit(source="*", use=Use.JUDGE, project="seed", per="month", requests=1))
    allowance = unlimited(account)
    assert how_many(allowance) == 1
    ask(allowance, use=Use.TRAIN), ask(allowance, project="other")


def test_another_legal_entity_on_the_same_database_has_its_own(account, shared):
    made = shared.set(Limit(source="*", per="total", requests=0))
    ask(unlimited(account, entity="them"))
    with pytest.raises(ConfigError, match="has no limit"):
        Shared(account, "them").remove(made.id)
    assert how_many(unlimited(account)) == 0


def test_the_refusal_names_it_as_the_accounts_and_says_how_it_is_changed(account, shared):
    made = shared.set(Limit(source="openai/*", per="total", requests=0))
    with pytest.raises(Exhausted, match=rf"limit {made.id} of the account.*`trueseed allowance set`") as total:
        ask(unlimited(account))
    assert total.value.until is None
    shared.remove(made)
    day = shared.set(Limit(source="openai/*", per="day", tokens=150))
    allowance = unlimited(account)
    ask(allowance)
    with pytest.raises(Exhausted, match=rf"limit {day.id} of the account.*room again at .*`trueseed") as later:
        ask(allowance)
    assert later.value.limit == day
    assert later.value.until is not None


def test_a_lot_that_settles_and_reserves_is_judged_under_it_too(account, shared):
    allowance = unlimited(account)
    first = ask(allowance)
    shared.set(Limit(source="*", per="total", tokens=150))
    wanted = [Wanted(GPT, Use.JUDGE, "seed", "0" * 64, Amount(1, 100, 0)) for _ in range(2)]
    one, two = allowance.together([Closed(first, Amount(1, 50, 0), "answered")], wanted)
    assert not isinstance(one, Exception)
    assert isinstance(two, Exhausted)


def test_sixteen_threads_of_two_openings_overspend_by_exactly_nothing(url):
    allowances, room = [unlimited(Account.open(url)) for _ in "12"], []
    Shared(Account.open(url), "us").set(Limit(source="*", per="total", requests=40))
    threads = [threading.Thread(target=lambda at=n: room.append(how_many(allowances[at % 2]))) for n in range(16)]
    [each.start() for each in threads], [each.join() for each in threads]
    assert sum(room) == 40
    assert Shared(Account.open(url), "us").standing()[0].used.requests == 40


# -- what stands, and setting it


def test_what_is_used_now_counts_reserved_calls_and_says_when_it_is_renewed(account, machine):
    allowance, shared = Allowance(account, (), "us", machine.clock()), Shared(account, "us", machine.clock())
    for per in ("minute", "day", "month", "total"):
        shared.set(Limit(source="openai/*", per=per, requests=9, tokens=900))
    allowance.settle(ask(allowance), Amount(1, 60, 0), "answered")
    machine.go(3600)
    ask(allowance), ask(allowance, source=LARGE)
    minute, day, month, total = shared.standing()
    assert minute.used == Amount(1, 100, 250)
    assert day.used == month.used == total.used == Amount(2, 160, 250)
    assert (minute.renewed_at, total.renewed_at) == (None, None)
    assert (day.renewed_at, month.renewed_at) == (datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


def test_the_same_source_use_project_and_span_is_the_same_limit(account, shared):
    first = shared.set(OPENAI)
    other = shared.set(Limit(source="openai/*", per="month", requests=3))
    again = shared.set(Limit(source="openai/*", per="day", tokens=5))
    assert (again.id, again.requests, again.tokens) == (first.id, None, 5)
    assert shared.limits() == (again, other)
    assert shared.remove(OPENAI) == again
    assert shared.limits() == (other,)


def test_no_number_is_given_twice(shared):
    last = shared.set(OPENAI)
    shared.remove(last.id)
    assert shared.set(OPENAI).id > last.id


@pytest.mark.parametrize(
    "limit",
    [
        Limit(source="openai", per="day", requests=1),
        Limit(source="OpenAI/*", per="day", requests=1),
        Limit(source="openai/*", project="", per="day", requests=1),
        Limit(source="openai/*", per="day", tokens=2**63),
    ],
)
def test_a_limit_that_could_bind_nothing_is_not_kept(shared, limit):
    with pytest.raises(ConfigError):
        shared.set(limit)
    assert shared.limits() == ()


def test_an_account_of_before_learns_it(url):
    with Account.open(url).writing() as connection:
        connection.exec_driver_sql("DROP TABLE limits")
    Shared(Account.open(url), "us").set(OPENAI)
    assert how_many(unlimited(Account.open(url))) == 3
