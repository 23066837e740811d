"""Calls that reach the desk together: each has its own verdict, and none more room than it would have had alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from trueseed.access.faults import Fault
from trueseed.access.keys import BudgetSpent, Grant, Keys, Unauthorised
from trueseed.gateway.desk import Desk
from trueseed.gateway.door import Door
from trueseed.gateway.ticket import Ask, Ended, Return, Ticket
from trueseed.gateway.wanted import read
from trueseed.similarity.remembered import ANSWERS, Remembered
from trueseed.teachers.account.allowance import Allowance, Amount, Exhausted, Limit
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.lots import Shortly
from trueseed.teachers.account.shared import Shared
from trueseed.teachers.account.state import Account, AccountUnavailable
from trueseed.teachers.api.forward import Upstream
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.api.wire import Usage
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

DEEPSEEK = "deepseek/deepseek-chat@api"
BODY = json.dumps({"model": DEEPSEEK, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}).encode()
WANTED = read(BODY, max_tokens=100)
MOST = WANTED.most.tokens  # and, at the price below, as many micros
LIMIT = Limit(source="*", per="total", requests=1_000)


@pytest.fixture
def account(own_state: Path) -> Account:
    return Account.open()


@pytest.fixture
def keys(account: Account) -> Keys:
    return Keys(account)


@pytest.fixture
def limits() -> list[Limit]:
    return [LIMIT]


@pytest.fixture
def desk(account, keys, limits, tmp_path, monkeypatch) -> Iterator[Desk]:
    monkeypatch.setenv("UPSTREAM_KEY", "sk-upstream-0123456789")
    said = {"source": DEEPSEEK, "base_url": "http://127.0.0.1:9/v1", "key_from": "UPSTREAM_KEY"}
    endpoint = Endpoint.model_validate(said | {"price": {"input": 1.0, "output": 1.0}})
    workspace = Workspace.open(tmp_path / "work", create=True)
    desk = Desk(
        {DEEPSEEK: Upstream.of(endpoint)},
        account=account,
        keys=keys,
        door=Door(workspace),
        allowance=Allowance(account, limits, "us"),
        holds=Holds(account, "us"),
        remembered=Remembered(workspace.folder / ANSWERS),
    )
    yield desk
    desk.close()


def issued(keys: Keys, **options) -> str:
    return keys.issue(Grant(**({"owner": "ana", "project": "seed", "uses": frozenset({Use.JUDGE})} | options))).token


def answered(ticket: Ticket, tokens: int) -> Return:
    return Return(ticket, Ended(end="answered", status=200, usage=Usage(tokens - 1, 1)))


def names(verdicts) -> list[str]:
    return [type(verdict).__name__ for verdict in verdicts]


def test_sixty_four_calls_at_once_are_given_exactly_what_a_key_may_spend(desk, keys):
    token = issued(keys, budget_micros=10 * MOST + MOST // 2)
    verdicts = desk.work([Ask(token, None, WANTED)] * 64)
    assert names(verdicts) == ["Ticket"] * 10 + ["BudgetSpent"] * 54
    assert keys.list()[0].charged_micros == 10 * MOST


@pytest.mark.parametrize("limits", [[Limit(source="*", per="total", requests=10)]])
def test_sixty_four_calls_at_once_are_given_exactly_what_the_allowance_has(desk, keys):
    verdicts = desk.work([Ask(issued(keys), None, WANTED)] * 64)
    assert names(verdicts) == ["Ticket"] * 10 + ["Exhausted"] * 54
    assert isinstance(verdicts[-1], Exhausted)


def test_a_limit_of_the_account_that_is_set_while_it_serves_binds_the_next_lot(desk, keys, account):
    token = issued(keys)
    assert names(desk.work([Ask(token, None, WANTED)])) == ["Ticket"]
    made = Shared(account, "us").set(Limit(source="*", per="total", requests=3))
    *_, refused = verdicts = desk.work([Ask(token, None, WANTED)] * 3)
    assert names(verdicts) == ["Ticket", "Ticket", "Exhausted"]
    assert f"limit {made.id} of the account" in str(refused)


def test_each_call_of_a_lot_has_its_own_verdict(desk, keys):
    good, poor = issued(keys), issued(keys, budget_micros=1)
    elsewhere = read(BODY.replace(b"deepseek-chat", b"deepseek-other"), max_tokens=100)
    asks = [
        Ask("ts-made-up", None, WANTED),
        Ask(good, "train", WANTED),
        Ask(good, None, elsewhere),
        Ask(poor, None, WANTED),
        Ask(good, None, WANTED),
    ]
    unknown, use, model, budget, ticket = desk.work(asks)
    assert isinstance(unknown, Unauthorised)
    assert isinstance(use, Fault) and use.code == "use_not_permitted"
    assert isinstance(model, Fault) and model.code == "model_not_found"
    assert isinstance(budget, BudgetSpent)
    assert isinstance(ticket, Ticket)


def test_what_comes_back_makes_room_for_what_leaves_in_the_same_lot(desk, keys):
    token = issued(keys, budget_micros=MOST + 5)
    (first,) = desk.work([Ask(token, None, WANTED)])
    charged, second = desk.work([answered(first, 5), Ask(token, None, WANTED)])
    assert charged == Amount(1, 5, 5)
    assert isinstance(second, Ticket)
    assert keys.list()[0].charged_micros == MOST + 5


def test_a_call_that_was_settled_before_holds_up_nobody_else(desk, keys):
    token = issued(keys)
    first, second = desk.work([Ask(token, None, WANTED)] * 2)
    desk.work([answered(first, 5)])
    again, charged, third = desk.work([answered(first, 5), answered(second, 7), Ask(token, None, WANTED)])
    assert isinstance(again, ValueError)
    assert charged == Amount(1, 7, 7)
    assert isinstance(third, Ticket)


def test_the_event_loop_waits_for_no_other_writer(desk, keys, account):
    token = issued(keys)
    desk.work([Ask(token, None, WANTED)])  # opens the step
    with Account.open().writing(), pytest.raises(Shortly):
        desk.at_once([Ask(token, None, WANTED)])
    assert names(desk.at_once([Ask(token, None, WANTED)])) == ["Ticket"]
    assert sum(used.reserved for used in used_of(account)) == 2


def test_the_event_loop_opens_no_step(desk, keys, account):
    assert desk.at_once([Ask(issued(keys), None, WANTED)]) is None
    assert used_of(account) == []


def test_nothing_leaves_and_nothing_is_let_go_when_the_account_is_gone(desk, keys, account):
    token = issued(keys)
    (ticket,) = desk.work([Ask(token, None, WANTED)])
    Path(account.name.removeprefix("sqlite:///")).unlink()
    verdicts = desk.work([answered(ticket, 5), Ask(token, None, WANTED)])
    assert [isinstance(verdict, AccountUnavailable) for verdict in verdicts] == [True, True]


def used_of(account: Account):
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    return Allowance(account, (), "us").used(since=now - timedelta(days=1), until=now + timedelta(days=1))
