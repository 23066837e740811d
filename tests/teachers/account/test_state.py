"""An account that cannot be reached stops everything, and says what to do."""

import os
import sqlite3
import stat
import threading

import pytest
import sqlalchemy as sql

from trueseed.errors import Broken, ConfigError
from trueseed.teachers.account import state as module
from trueseed.teachers.account.allowance import Allowance, Amount
from trueseed.teachers.account.state import VERSION, Account, AccountUnavailable, our_entity
from trueseed.terms.model import Use


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "account.db"


@pytest.fixture
def file(path):
    """An account in SQLite, of which the file is meddled with."""
    return Account.open(f"sqlite:///{path}")


def ask(account):
    return Allowance(account, [], "us").reserve(
        source="openai/gpt-4@api", use=Use.JUDGE, project="seed", request="0" * 64, upper=Amount(1, 1, 1)
    )


def calls(account):
    with account.reading() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM calls").scalar()


def test_an_account_is_kept_where_it_was_made(url):
    first = ask(Account.open(url))
    assert ask(Account.open(url)).id == first.id + 1
    assert calls(Account.open(url)) == 2


def test_the_default_is_a_file_of_ours_alone_in_the_users_state(own_state, monkeypatch):
    monkeypatch.delenv("TRUESEED_ACCOUNT", raising=False)
    ask(Account.open())
    assert stat.S_IMODE((own_state / "account.db").stat().st_mode) == 0o600


def test_a_team_names_its_database_in_the_environment(url, own_state, monkeypatch):
    monkeypatch.setenv("TRUESEED_ACCOUNT", url)
    ask(Account.open())
    assert calls(Account.open(url)) == 1
    assert not (own_state / "account.db").exists()


def test_the_entity_is_named_in_the_environment(monkeypatch):
    monkeypatch.delenv("TRUESEED_ENTITY", raising=False)
    assert our_entity() == "us"
    monkeypatch.setenv("TRUESEED_ENTITY", "seed-works-ltd")
    assert our_entity() == "seed-works-ltd"


def test_an_exception_takes_back_the_whole_transaction(account):
    with pytest.raises(KeyError), account.writing() as connection:
        connection.exec_driver_sql("DELETE FROM trueseed_account")
        raise KeyError
    with account.reading() as connection:
        assert connection.exec_driver_sql("SELECT version FROM trueseed_account").scalar() == VERSION
    ask(account)


def test_processes_that_come_at_once_make_one_account(url):
    opened, threads = [], []
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: opened.append(Account.open(url))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    with opened[0].reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM trueseed_account").scalar() == 1


# -- what may go wrong


def test_a_newer_account_is_left_alone(url):
    account = Account.open(url)
    with account.writing() as connection:
        connection.exec_driver_sql(f"UPDATE trueseed_account SET version = {VERSION + 1}")
    with pytest.raises(ConfigError, match="is of version 2, this TrueSeed reads up to 1; upgrade it"):
        Account.open(url)


def test_a_database_of_other_things_is_left_alone(path, file):
    path.parent.joinpath("other.db").touch()
    with sqlite3.connect(path.parent / "other.db") as other:
        other.execute("CREATE TABLE calls (number)")
    other.close()
    with pytest.raises(ConfigError, match="give the account a database of its own"):
        Account.open(f"sqlite:///{path.parent / 'other.db'}")


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "not a url", "sqlite:///file:x?mode=memory&uri=true"]
)
def test_what_cannot_be_shared_is_refused(url):
    with pytest.raises(ConfigError, match=r"SQLite file|database URL"):
        Account.open(url)


def test_a_removed_account_is_not_begun_anew(path, file):
    ask(file)
    path.unlink()
    with pytest.raises(AccountUnavailable, match=r"was removed or replaced.*restore it"):
        ask(file)
    with pytest.raises(AccountUnavailable, match="was removed or replaced"):
        Account.open(f"sqlite:///{path}")
    path.with_name("account.db.made").unlink()
    assert calls(Account.open(f"sqlite:///{path}")) == 0


def test_a_replaced_account_is_noticed(path, file):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)
    with pytest.raises(AccountUnavailable, match="was removed or replaced"):
        ask(file)


def test_a_damaged_account_is_broken(path, file):
    file.close()
    path.write_bytes(b"x" * 8192)
    with pytest.raises(Broken, match="is damaged"):
        Account.open(f"sqlite:///{path}")


def test_a_locked_account_is_waited_for_and_then_refused(path, file, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    account = Account.open(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(AccountUnavailable, match="another process holds it"):
        ask(account)
    other.execute("ROLLBACK")
    other.close()
    ask(account)


def test_a_team_waits_its_turn_and_is_then_refused(postgresql, monkeypatch):
    url = postgresql()
    other = Account.open(url)
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    account = Account.open(url)
    with other.writing(), pytest.raises(AccountUnavailable, match="timeout; nothing was asked"):
        ask(account)
    ask(account)


def test_a_turn_held_by_another_thread_is_not_waited_for_for_ever(account, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    with account.writing(), pytest.raises(AccountUnavailable, match="was busy"), account.writing():
        pass
    ask(account)


def test_a_full_disk_reserves_nothing(path, file):
    allowance = Allowance(file, [], "us")
    with file.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    sql.event.listen(file._engine, "connect", lambda made, _: made.execute(f"PRAGMA max_page_count = {pages}"))
    file.close()
    what = {"source": "openai/gpt-4@api", "use": Use.JUDGE, "project": "seed", "request": "0" * 64}
    kept = 0
    with pytest.raises(AccountUnavailable, match="free some room on its disk"):
        while True:
            allowance.reserve(**what, upper=Amount(1, 1, 1))
            kept += 1
    assert calls(file) == kept
    with file.reading() as connection:
        assert (connection.exec_driver_sql("SELECT requests FROM spent WHERE per = 'total'").scalar() or 0) == kept


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_an_account_that_may_not_be_written_says_so(path, file):
    file.close()
    path.chmod(0o400)
    with pytest.raises(AccountUnavailable, match="writable"):
        ask(Account.open(f"sqlite:///{path}"))


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(AccountUnavailable, match="nothing was asked") as caught:
        Account.open(f"postgresql://me:pass1234@/db?host={tmp_path}")
    assert "pass1234" not in f"{caught.value} {caught.value.__cause__!r}"
    assert "***" in str(caught.value)


def test_a_server_that_drops_us_refuses_once_and_is_found_again(postgresql):
    url = postgresql()
    account, other = Account.open(url), Account.open(url)
    ask(account)
    with other.reading() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(AccountUnavailable, match="nothing was asked"):
        ask(account)
    ask(account)
    assert calls(account) == 2


def test_an_account_in_postgresql_needs_its_driver(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'trueseed\[postgres\]'"):
        Account.open("postgresql://host/db")
