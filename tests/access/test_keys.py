import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trueseed.access.keys import BudgetSpent, Grant, Keys, Unauthorised
from trueseed.errors import ConfigError
from trueseed.teachers.account.state import Account, AccountUnavailable
from trueseed.terms.model import Use


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "account.sqlite"


@pytest.fixture
def keys(database: Path) -> Keys:
    return Keys(Account.open(f"sqlite:///{database}"))


def grant(**options: Any) -> Grant:
    return Grant(**({"owner": "ana", "project": "seed", "uses": frozenset({Use.JUDGE})} | options))


def fault(keys: Keys, token: str) -> str:
    with pytest.raises(Unauthorised) as caught:
        keys.authenticate(token)
    assert not token or token not in str(caught.value)
    return caught.value.fault


def test_a_token_is_known_again(keys):
    issued = keys.issue(grant(sources=("openai/*", "own/x"), region="DE", budget_micros=5))
    assert keys.authenticate(issued.token) == issued.key
    assert issued.key.grant == grant(sources=("openai/*", "own/x"), region="DE", budget_micros=5)


def test_what_a_key_declares_of_features_and_market_is_kept(keys):
    issued = keys.issue(grant(features=("search",), market="DE"))
    assert keys.authenticate(issued.token).grant == grant(features=("search",), market="DE")


def test_keys_of_a_database_from_before_those_were_declared_still_open(keys, database):
    issued = keys.issue(grant())
    with sqlite3.connect(database) as old:
        old.execute("ALTER TABLE access_keys DROP COLUMN features")
        old.execute("ALTER TABLE access_keys DROP COLUMN market")
    again = Keys(Account.open(f"sqlite:///{database}"))
    assert again.authenticate(issued.token) == issued.key


def test_a_token_is_stored_as_its_hash_only(keys, database):
    token = keys.issue(grant()).token
    stored = b"".join(path.read_bytes() for path in database.parent.iterdir())
    assert token.removeprefix("ts-").encode() not in stored


def test_a_token_that_was_never_issued_is_unknown(keys):
    keys.issue(grant())
    assert fault(keys, "ts-made-up") == "unknown"
    assert fault(keys, "") == "unknown"


def test_a_revoked_key_stays_revoked(keys):
    issued = keys.issue(grant())
    keys.revoke(issued.key.id)
    keys.unblock(issued.key.id)
    assert fault(keys, issued.token) == "revoked"


def test_a_blocked_key_says_why_and_works_again_when_unblocked(keys):
    issued = keys.issue(grant())
    keys.block(issued.key.id, "looping notebook")
    with pytest.raises(Unauthorised, match="looping notebook"):
        keys.authenticate(issued.token)
    keys.unblock(issued.key.id)
    assert keys.authenticate(issued.token).id == issued.key.id


def test_a_key_ends_at_its_expiry(keys):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    token = keys.issue(grant(expires_at=noon)).token
    assert keys.authenticate(token, noon - timedelta(seconds=1)).grant.expires_at == noon
    with pytest.raises(Unauthorised, match="expired"):
        keys.authenticate(token, noon)


def test_a_key_reaches_the_sources_its_patterns_match(keys):
    key = keys.issue(grant(sources=("openai/*@azure", "own/x"))).key
    assert key.reaches("openai/gpt-4@azure")
    assert key.reaches("own/x")
    assert not key.reaches("openai/gpt-4@api")


def test_a_budget_is_never_exceeded_by_many_at_once(keys):
    key = keys.issue(grant(budget_micros=100)).key

    def charge(_: int) -> bool:
        try:
            keys.charge(key, 7)
        except BudgetSpent:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        granted = sum(pool.map(charge, range(40)))
    assert granted == 100 // 7
    assert keys.key(key.id).charged_micros == 7 * (100 // 7)


def test_what_a_call_did_not_cost_can_be_spent_again(keys):
    key = keys.issue(grant(budget_micros=10)).key
    keys.charge(key, 10)
    keys.correct(key, -4)
    keys.charge(key, 4)
    with pytest.raises(BudgetSpent, match=key.id):
        keys.charge(key, 1)


def test_a_key_without_a_budget_is_held_up_by_none(keys):
    key = keys.issue(grant()).key
    keys.charge(key, 10**12)
    assert keys.authenticate(keys.issue(grant()).token).charged_micros == 0


def test_a_key_for_nothing_is_not_issued(keys):
    with pytest.raises(ConfigError, match="at least one use"):
        keys.issue(grant(uses=frozenset()))


def test_an_id_that_is_not_there_is_said(keys):
    with pytest.raises(ConfigError, match="key-nope"):
        keys.revoke("key-nope")


def test_nobody_is_let_in_when_the_database_is_gone(keys, database):
    token = keys.issue(grant()).token
    database.unlink()
    with pytest.raises(AccountUnavailable):
        keys.authenticate(token)
