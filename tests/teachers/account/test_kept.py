"""The connection that an account keeps: one transaction a turn, and after whatever goes wrong a new one."""

import sqlite3
from contextlib import closing, suppress

import pytest
import sqlalchemy as sql

from trueseed.core.driver import Statement
from trueseed.teachers.account.kept import Kept
from trueseed.teachers.account.state import _prepare_sqlite

ADD = Statement("INSERT INTO seen (name) VALUES (:name)")
ALL = Statement("SELECT name FROM seen ORDER BY name")
PATIENCE_S = 0.2


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "kept.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE seen (name TEXT)")
    return path


@pytest.fixture
def kept(file):
    return opened(file)


def opened(file):
    engine = sql.create_engine(f"sqlite:///{file}", connect_args={"timeout": PATIENCE_S}, pool_reset_on_return=None)
    sql.event.listen(engine, "connect", _prepare_sqlite)
    return Kept(engine, "BEGIN IMMEDIATE", PATIENCE_S)


def add(kept, name, *, wait=True):
    kept.begin(wait=wait).each(ADD, [{"name": name}])
    kept.commit()


def seen(file):
    with closing(sqlite3.connect(file)) as other:
        return [name for (name,) in other.execute("SELECT name FROM seen ORDER BY name")]


def setting(kept, name):
    return kept._connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_what_a_turn_wrote_is_there_for_others_once_it_is_committed(kept, file):
    kept.begin(wait=True).each(ADD, [{"name": "one"}])
    assert seen(file) == []
    kept.commit()
    assert seen(file) == ["one"]


def test_turns_share_one_connection(kept):
    add(kept, "one")
    first = kept._connection
    add(kept, "two")
    assert kept._connection is first


def test_what_is_given_up_leaves_nothing_and_the_next_turn_has_a_connection_of_its_own(kept, file):
    add(kept, "one")
    first = kept._connection
    kept.begin(wait=True).each(ADD, [{"name": "two"}])
    kept.close()
    add(kept, "three")
    assert seen(file) == ["one", "three"]
    assert kept._connection is not first


def test_after_a_statement_that_failed_nothing_is_committed_even_if_that_was_passed_over(kept, file):
    driver = kept.begin(wait=True)
    driver.each(ADD, [{"name": "one"}])
    with suppress(sqlite3.OperationalError):
        driver.all(Statement("SELECT nothing FROM nowhere"), {})
    with pytest.raises(RuntimeError, match="passed over"):
        kept.commit()
    add(kept, "two")
    assert seen(file) == ["two"]


def test_what_failed_lets_go_of_the_turn_while_its_error_is_still_at_hand(kept, file):
    """SQLite keeps a closed connection's lock as long as a traceback refers to a statement of it."""
    driver = kept.begin(wait=True)
    with pytest.raises(sqlite3.OperationalError) as caught:
        driver.all(Statement("SELECT nothing FROM nowhere"), {})
    add(opened(file), "another")
    assert caught.value.__traceback__ is not None
    assert seen(file) == ["another"]


def test_without_waiting_a_turn_that_another_has_is_refused_at_once_and_the_connection_is_kept(kept, file):
    add(kept, "one")
    first, other = kept._connection, opened(file)
    other.begin(wait=True)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        kept.begin(wait=False)
    assert setting(kept, "busy_timeout") == 0
    assert kept._connection is first
    other.close()
    add(kept, "two", wait=False)
    assert seen(file) == ["one", "two"]


def test_waiting_it_has_the_patience_that_it_was_given_again(kept, file):
    add(kept, "one", wait=False)
    add(kept, "two", wait=True)
    assert setting(kept, "busy_timeout") == PATIENCE_S * 1000
    other = opened(file)
    other.begin(wait=True)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        kept.begin(wait=True)
    other.close()
    add(kept, "three")


def test_it_is_set_up_as_every_connection_of_the_account(kept):
    add(kept, "one")
    assert setting(kept, "synchronous") == 1  # NORMAL
    assert kept._connection.isolation_level is None


def test_a_connection_that_is_gone_is_told_of_once(kept, file):
    add(kept, "one")
    kept._connection.close()
    with pytest.raises(sqlite3.ProgrammingError):
        kept.begin(wait=True)
    add(kept, "two")
    assert seen(file) == ["one", "two"]


def test_to_close_what_was_never_opened_or_twice_is_nothing(kept, file):
    kept.close()
    add(kept, "one")
    kept.close()
    kept.close()
    assert seen(file) == ["one"]
