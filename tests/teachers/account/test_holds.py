"""A maker on hold is not asked, whatever the route, until a reviewer releases it."""

import hashlib
import json
import shutil
from dataclasses import asdict, replace

import pytest
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.core.canonical import canonical
from trueseed.core.durable import state_folder
from trueseed.errors import Broken, ConfigError, Refused
from trueseed.ledger.holds import held
from trueseed.ledger.log import Entry
from trueseed.ledger.signing import Key, Signer
from trueseed.ledger.statement import HOLD, RELEASE, open_envelope
from trueseed.ledger.verify import verify_ledger
from trueseed.teachers.account.holds import Holds, hold, release
from trueseed.teachers.account.state import Account
from trueseed.teachers.account.way import Way
from trueseed.workspace import Workspace

WHY, LETTER = "account deactivated", "1" * 64
REVIEWER = Signer.from_seed("reviewer", bytes(32))


@pytest.fixture
def holds(account):
    return Holds(account, "us")


@pytest.fixture
def ledger(tmp_path):
    return Workspace.open(tmp_path / "work", create=True).ledger


@pytest.fixture
def reinstated(tmp_path):
    path = tmp_path / "reinstated.eml"
    path.write_text("Your account was reinstated.")
    return path


# -- in account state


@pytest.mark.parametrize(
    "source", ["openai/gpt-4@api", "openai/gpt-4@azure", "openai/gpt-4@openrouter", "openai/new@api"]
)
def test_a_hold_binds_every_model_and_route_of_the_maker(holds, source):
    holds.check(source)
    placed = holds.place("openai", WHY, LETTER)
    with pytest.raises(Refused) as caught:
        holds.check(source)
    assert str(caught.value) == (
        f"{source!r} may not be asked: 'openai' is on hold for 'us' since {placed.placed_at} (account deactivated), "
        "on every route and with every key; when 'openai' has reinstated the account, the reviewer runs "
        "`trueseed release openai --evidence FILE` with what shows it"
    )
    assert caught.value.exit_code == 3


def test_other_makers_and_entities_go_on(account, holds):
    holds.place("openai", WHY, LETTER)
    holds.check("mistral/mistral-large@api")
    Holds(account, "them").check("openai/gpt-4@api")


def test_a_hold_is_seen_by_every_workspace_of_the_account(url):
    Holds(Account.open(url), "us").place("openai", WHY, LETTER)
    assert Holds(Account.open(url), "us").on("openai").reason == WHY


def test_the_first_hold_stands(holds):
    first = holds.place("openai", WHY, LETTER)
    assert holds.place("openai", "again", "2" * 64) == first == holds.on("openai")


def test_the_reviewer_lifts_it_and_it_may_be_placed_again(holds):
    placed = holds.place("openai", WHY, LETTER)
    assert holds.lift("openai", "2" * 64, REVIEWER) == placed
    holds.check("openai/gpt-4@api")
    holds.place("openai", "once more", LETTER)
    with pytest.raises(Refused, match="once more"):
        holds.check("openai/gpt-4@api")


def test_the_account_keeps_the_reviewers_signed_release(account, holds):
    placed = holds.place("openai", WHY, LETTER)
    holds.lift("openai", "2" * 64, REVIEWER)
    with account.reading() as connection:
        signed = json.loads(connection.exec_driver_sql("SELECT release FROM holds").scalar())
    said = open_envelope(signed, [Key(role="reviewer", name="any", public_key=REVIEWER.public_key)])
    assert said["predicateType"] == RELEASE
    assert {**said["predicate"], "at": ""} == {
        "maker": "openai", "entity": "us", "evidence": "2" * 64, "placed_at": placed.placed_at, "at": "",
    }  # fmt: skip


def test_the_operator_does_not_lift_it(holds):
    holds.place("openai", WHY, LETTER)
    with pytest.raises(Refused, match="by the reviewer's key, not the operator's"):
        holds.lift("openai", "2" * 64, Signer.from_seed("operator", bytes(32)))
    assert holds.on("openai")


def test_what_is_not_on_hold_is_not_lifted(holds):
    with pytest.raises(ConfigError, match="'openai' is not on hold for 'us'"):
        holds.lift("openai", "2" * 64, REVIEWER)


@pytest.mark.parametrize("wrong", ["openai/gpt-4@api", "OpenAI", "", "openai/x"])
def test_a_maker_is_the_part_before_the_slash(holds, wrong):
    with pytest.raises(ConfigError, match="is not a maker"):
        holds.place(wrong, WHY, LETTER)


# -- in the ledger


def test_a_hold_and_its_release_stand_in_the_ledger(ledger, holds, reinstated):
    placed = hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER)
    assert held(ledger)["openai", "us"].predicate["at"] == placed.placed_at
    hold(ledger, holds, maker="openai", reason="again", evidence=LETTER)
    release(ledger, holds, maker="openai", evidence=reinstated)
    assert held(ledger) == {}
    assert holds.on("openai") is None
    first, last = ledger.entries()
    assert (first.predicate_type, last.predicate_type) == (HOLD, RELEASE)
    assert last.predicate["evidence"] == hashlib.sha256(reinstated.read_bytes()).hexdigest()
    assert ledger.signed_by(first, "operator")
    assert ledger.signed_by(last, "reviewer")
    assert not verify_ledger(ledger.folder, state=state_folder()).broken


def test_the_operator_may_not_sign_a_release(ledger):
    with pytest.raises(ConfigError, match="signed by the reviewer, not operator"):
        ledger.append(RELEASE, [], {"maker": "openai", "entity": "us", "evidence": LETTER, "placed_at": "", "at": ""})


def test_without_the_reviewers_key_nothing_is_released(ledger, holds, reinstated, own_state):
    hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER)
    (own_state / "keys" / "reviewer.pem").unlink()
    with pytest.raises(ConfigError, match="ask whoever reviews to run the command"):
        release(ledger, holds, maker="openai", evidence=reinstated)
    assert holds.on("openai")
    assert held(ledger)


@pytest.mark.parametrize("content", [None, ""])
def test_without_evidence_nothing_is_released(ledger, holds, tmp_path, content):
    hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER)
    if content is not None:
        (tmp_path / "evidence").write_text(content)
    with pytest.raises(ConfigError, match=r"cannot be read|is empty"):
        release(ledger, holds, maker="openai", evidence=tmp_path / "evidence")
    assert holds.on("openai")


def test_a_release_cut_short_after_the_ledger_is_ended_by_the_same_command(ledger, holds, reinstated, monkeypatch):
    hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER)
    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(Holds, "lift", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        release(ledger, holds, maker="openai", evidence=reinstated)
    assert holds.on("openai")
    release(ledger, holds, maker="openai", evidence=reinstated)
    assert holds.on("openai") is None


def test_a_hold_after_a_release_in_another_workspace_is_written_here_again(ledger, holds, monkeypatch):
    hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER)
    holds.lift("openai", "2" * 64, REVIEWER)
    monkeypatch.setattr("trueseed.teachers.account.holds.now", lambda: "2999-01-01T00:00:00Z")
    hold(ledger, holds, maker="openai", reason="once more", evidence=LETTER)
    assert [entry.predicate["reason"] for entry in ledger.entries()] == [WHY, "once more"]
    assert held(ledger)["openai", "us"].predicate["reason"] == "once more"


def test_an_account_that_was_lost_takes_its_holds_back_from_the_ledger(ledger, holds, tmp_path):
    placed = hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER)
    assert holds.restore(ledger) == []
    fresh = Holds(Account.open(f"sqlite:///{tmp_path / 'fresh.db'}"), "us")
    assert fresh.on("openai") is None
    assert fresh.restore(ledger) == [placed]
    assert fresh.on("openai") == placed


def test_what_was_released_is_not_restored(ledger, holds):
    hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER)
    holds.lift("openai", "2" * 64, REVIEWER)  # through another workspace
    assert holds.restore(ledger) == []
    assert holds.on("openai") is None


def test_another_entitys_hold_is_not_ours(ledger, holds, account):
    hold(ledger, Holds(account, "them"), maker="openai", reason=WHY, evidence=LETTER)
    assert holds.restore(ledger) == []
    assert holds.on("openai") is None


def test_a_hold_of_nobody_is_broken():
    entry = Entry(index=4, statement={"predicateType": HOLD, "predicate": {"maker": "openai"}}, envelope={}, leaf=b"")
    with pytest.raises(Broken, match="entry 4 names no maker and entity"):
        held([entry])


def test_the_predicates_are_canonical_and_hold_no_content(ledger, holds, reinstated):
    hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER)
    release(ledger, holds, maker="openai", evidence=reinstated)
    for entry, members in zip(
        ledger.entries(),
        [
            {"maker", "entity", "reason", "evidence", "at", "log"},
            {"maker", "entity", "evidence", "placed_at", "at", "log"},
        ],
        strict=True,
    ):
        assert set(entry.predicate) == members
        assert b"reinstated." not in canonical(entry.statement)


# -- the ways on which it was met

FIRST = Way.to("openai/gpt-4@api", base_url="https://api.openai.com/v1", key="sk-first-0123456789")
SECOND = Way.to("openai/gpt-4@azure", base_url="https://ours.openai.azure.com", key="a-second-key-0123456789")
BY_ITS_KEY = Way.to("own/mine@api", base_url="https://elsewhere.example", key="a-second-key-0123456789")
AT_ITS_ADDRESS = replace(BY_ITS_KEY, address=FIRST.address, key="")


def met_twice(ledger, holds):
    hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER, way=FIRST)
    return hold(ledger, holds, maker="openai", reason="again", evidence="2" * 64, way=SECOND)


def test_a_further_way_on_which_a_standing_hold_is_met_is_held_too(ledger, holds, url):
    first = hold(ledger, holds, maker="openai", reason=WHY, evidence=LETTER, way=FIRST)
    holds.check("mistral/any@api", BY_ITS_KEY)
    assert hold(ledger, holds, maker="openai", reason="again", evidence="2" * 64, way=SECOND) == first
    for way in (BY_ITS_KEY, AT_ITS_ADDRESS):
        with pytest.raises(Refused, match="that 'openai' suspended"):
            Holds(Account.open(url), "us").check("mistral/any@api", way)


def test_a_further_way_stands_in_the_ledger_once_with_what_it_was_met_by(ledger, holds):
    placed = met_twice(ledger, holds)
    met_twice(ledger, holds)
    said = [entry.predicate for entry in ledger.entries()]
    assert [(each["way"], each["reason"], each["evidence"], each["at"]) for each in said] == [
        (asdict(FIRST), WHY, LETTER, placed.placed_at),
        (asdict(SECOND), "again", "2" * 64, placed.placed_at),
    ]
    assert held(ledger)["openai", "us"].predicate["reason"] == WHY
    assert not verify_ledger(ledger.folder, state=state_folder()).broken


def test_a_workspace_that_meets_anothers_hold_writes_down_both_and_its_own_way(ledger, holds):
    holds.place("openai", WHY, LETTER, FIRST)
    hold(ledger, holds, maker="openai", reason="again", evidence="2" * 64, way=SECOND)
    said = [entry.predicate for entry in ledger.entries()]
    assert [(each["evidence"], each.get("way")) for each in said] == [(LETTER, None), ("2" * 64, asdict(SECOND))]


@pytest.mark.parametrize("lost", ["account", "account and state"])
def test_a_further_way_comes_back_with_the_hold(ledger, holds, own_state, tmp_path, lost):
    placed = met_twice(ledger, holds)
    if lost == "account and state":
        shutil.rmtree(own_state / "holds")
    elsewhere = ledger if lost == "account and state" else Workspace.open(tmp_path / "other", create=True).ledger
    fresh = Holds(Account.open(f"sqlite:///{tmp_path / 'fresh.db'}"), "us")
    assert fresh.restore(elsewhere) == [placed]
    with pytest.raises(Refused, match="its key is that of the account"):
        fresh.check("mistral/any@api", BY_ITS_KEY)


def test_an_account_that_lacks_only_the_further_way_takes_it_back(ledger, holds, account):
    met_twice(ledger, holds)
    with account.writing() as connection:
        connection.exec_driver_sql(f"DELETE FROM hold_ways WHERE route = '{SECOND.route}'")
    assert holds.restore(ledger) == []
    with pytest.raises(Refused):
        holds.check("mistral/any@api", BY_ITS_KEY)


def test_a_further_way_is_released_with_the_hold_and_does_not_come_back(ledger, holds, reinstated, own_state):
    met_twice(ledger, holds)
    release(ledger, holds, maker="openai", evidence=reinstated)
    assert list((own_state / "holds").iterdir()) == []
    holds.restore(ledger)
    holds.check("mistral/any@api", BY_ITS_KEY)
    holds.check("openai/gpt-4@azure", SECOND)


def test_a_way_that_is_none_is_broken(ledger, holds):
    said = {"maker": "openai", "entity": "us", "reason": WHY, "evidence": LETTER, "at": "2026-01-01T00:00:00Z"}
    ledger.append(HOLD, [], {**said, "way": {"route": "api"}})
    with pytest.raises(Broken, match="a way that is none"):
        holds.restore(ledger)


# -- on the command line


def test_trueseed_release_ends_a_hold(ledger, reinstated, url, monkeypatch):
    monkeypatch.setenv("TRUESEED_ACCOUNT", url)
    monkeypatch.delenv("TRUESEED_ENTITY", raising=False)
    hold(ledger, Holds(Account.open(), "us"), maker="openai", reason=WHY, evidence=LETTER)
    command = ["release", "openai", "--evidence", str(reinstated), "--workspace", str(ledger.folder.parent)]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["reason"] == WHY
    assert Holds(Account.open(), "us").on("openai") is None
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, ConfigError)
