"""A provider's own quota that is used up: no other way of its maker goes past it until it is ended."""

import pytest

from trueseed.core.durable import state_folder
from trueseed.errors import ConfigError
from trueseed.ledger.statement import QUOTA, QUOTA_RELEASE
from trueseed.ledger.verify import verify_ledger
from trueseed.teachers.account.allowance import Allowance, Amount
from trueseed.teachers.account.charging import Closed
from trueseed.teachers.account.quotas import OutOfQuota, Quotas, Refusal
from trueseed.teachers.account.state import Account
from trueseed.teachers.account.way import Way
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

SOURCE, AZURE = "openai/gpt-4@api", "openai/gpt-4@azure"
KEY, OTHER = "first-key-0123456789", "second-key-0123456789"
ADDRESS = "https://api.openai.test/v1"
WAY = Way.to(SOURCE, base_url=ADDRESS, key=KEY)
ANOTHER = Way.to(AZURE, base_url="https://ours.azure.test", key=OTHER)
USED_UP = Refusal("the quota of the account is used up", "429: You exceeded your current quota.")
OTHER_WAYS = {
    "key": (SOURCE, Way.to(SOURCE, base_url=ADDRESS, key=OTHER)),
    "address": (SOURCE, Way.to(SOURCE, base_url="https://proxy.test/v1", key=KEY)),
    "route": (AZURE, ANOTHER),
    "aggregator": ("openai/gpt-4@openrouter", Way.to("openai/gpt-4@openrouter", base_url="https://r.test", key=OTHER)),
    "model by another key": ("openai/new@api", Way.to("openai/new@api", base_url=ADDRESS, key=OTHER)),
    "name over its address": ("mine/gpt@api", Way.to("mine/gpt@api", base_url=ADDRESS, key=OTHER)),
    "name over its key": ("mine/gpt@api", Way.to("mine/gpt@api", base_url="https://proxy.test/v1", key=KEY)),
    "nobody knows which": (SOURCE, None),
}


class Clock:
    """Told what time it is."""

    host, boot = "here", "boot"

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def wall(self) -> float:
        self.seconds += 0.01
        return self.seconds

    steady = wall


@pytest.fixture
def account(tmp_path):
    """Those tests run on both kinds of database that ask for its `url`."""
    return Account.open(f"sqlite:///{tmp_path / 'account.db'}")


@pytest.fixture
def allowance(account):
    return Allowance(account, (), "us", Clock())


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open(tmp_path / "work", create=True)


def asked(allowance, source=SOURCE, way=WAY):
    return allowance.reserve(
        source=source, use=Use.JUDGE, project="seed", request="0" * 64, upper=Amount(1, 100, 0), way=way
    )


def ended(allowance, call, way=WAY, refusal=None):
    state = "failed" if refusal else "answered"
    allowance.together([Closed(call, Amount(requests=1), state, way, refusal)], [])


def met(allowance, source=SOURCE, way=WAY):
    ended(allowance, asked(allowance, source, way), way, USED_UP)


@pytest.mark.parametrize("other", OTHER_WAYS)
def test_no_other_way_of_the_maker_is_a_way_past_it(allowance, other):
    source, way = OTHER_WAYS[other]
    asked(allowance, source, way)
    met(allowance)
    with pytest.raises(OutOfQuota, match="may not be asked this way") as caught:
        asked(allowance, source, way)
    assert caught.value.exit_code == 6
    assert "trueseed release openai" in str(caught.value)
    assert KEY not in str(caught.value)


def test_the_way_on_which_it_was_met_may_be_tried_again_with_any_model(allowance):
    met(allowance)
    asked(allowance)
    asked(allowance, "openai/new@api", WAY)


def test_other_makers_and_another_entitys_own_account_go_on(account, allowance):
    met(allowance)
    asked(allowance, "mistral/large@api", Way.to("mistral/large@api", base_url="https://m.test", key=OTHER))
    asked(Allowance(account, (), "them"), SOURCE, OTHER_WAYS["key"][1])


def test_an_answer_out_of_the_cache_asks_nobody_and_goes_on(allowance):
    met(allowance)
    allowance.cached(source=AZURE, use=Use.JUDGE, project="seed", request="0" * 64, way=ANOTHER)


def test_every_process_of_the_account_meets_it(url):
    met(Allowance(Account.open(url), (), "us"))
    with pytest.raises(OutOfQuota):
        asked(Allowance(Account.open(url), (), "us"), AZURE, ANOTHER)


def test_an_answer_that_was_asked_for_after_the_refusal_ends_it(url):
    allowance = Allowance(Account.open(url), (), "us", Clock())
    met(allowance)
    ended(allowance, asked(allowance))
    asked(allowance, AZURE, ANOTHER)


def test_an_answer_that_was_under_way_at_the_last_refusal_does_not(allowance):
    before = asked(allowance)
    met(allowance)
    ended(allowance, before)
    between = asked(allowance)
    met(allowance)
    ended(allowance, between)
    with pytest.raises(OutOfQuota):
        asked(allowance, AZURE, ANOTHER)


def test_an_answer_of_another_model_does_not(allowance):
    met(allowance)
    ended(allowance, asked(allowance, "openai/small@api", WAY))
    with pytest.raises(OutOfQuota):
        asked(allowance, AZURE, ANOTHER)


def test_of_two_that_race_each_may_try_its_own_way_again(allowance):
    calls = [(asked(allowance), WAY), (asked(allowance, AZURE, ANOTHER), ANOTHER)]
    for call, way in calls:
        ended(allowance, call, way, USED_UP)
    asked(allowance)
    ended(allowance, asked(allowance, AZURE, ANOTHER), ANOTHER)
    assert allowance.quotas.standing("openai") == []


def test_it_is_marked_in_the_transaction_that_settles_the_call_or_not_at_all(allowance):
    call = asked(allowance)
    allowance.release(call)
    with pytest.raises(ValueError, match="settled or released before"):
        ended(allowance, call, refusal=USED_UP)
    assert allowance.quotas.standing("openai") == []


def test_an_account_of_before_learns_it(url):
    with Account.open(url).writing() as connection:
        connection.exec_driver_sql("DROP TABLE quotas")
    met(Allowance(Account.open(url), (), "us"))
    assert len(Quotas(Account.open(url), "us").standing("openai")) == 1


# in the ledger


def statements(workspace):
    return [each.predicate for each in workspace.ledger.entries() if each.predicate_type == QUOTA]


def test_it_is_written_down_once_and_so_is_its_end(allowance, workspace):
    met(allowance)
    for _ in range(2):
        allowance.quotas.write_down(workspace, "openai")
    ended(allowance, asked(allowance))
    for quotas in (allowance.quotas, Quotas(allowance._account, "us")):
        quotas.write_down(workspace, "openai")
    first, second = statements(workspace)
    assert (first["event"], second["event"], second["met_at"]) == ("met", "renewed", first["at"])
    assert first["way"] == {"route": "api", "address": "api.openai.test:443", "key": WAY.key}
    said = (workspace.folder / "evidence" / f"{first['evidence']}.txt").read_text()
    assert said == USED_UP.said
    assert not verify_ledger(workspace.ledger.folder).broken


# the reviewer


@pytest.fixture
def contract(tmp_path):
    path = tmp_path / "contract.pdf"
    path.write_text("A second account is agreed upon.")
    return path


def test_the_reviewer_ends_it_with_what_permits_another_way(allowance, workspace, contract):
    met(allowance)
    (past,) = allowance.quotas.release(workspace, "openai", contract)
    asked(allowance, AZURE, ANOTHER)
    (said,) = [each.predicate for each in workspace.ledger.entries() if each.predicate_type == QUOTA_RELEASE]
    assert (past.said, said["maker"]) == (USED_UP.said, "openai")
    assert (workspace.folder / "evidence" / f"{said['evidence']}.pdf").read_bytes() == contract.read_bytes()
    allowance.quotas.write_down(workspace, "openai")
    assert [each["event"] for each in statements(workspace)] == ["met"]
    assert not verify_ledger(workspace.ledger.folder).broken


def test_nobody_else_does(allowance, workspace, contract):
    with pytest.raises(ConfigError, match="none to end"):
        allowance.quotas.release(workspace, "openai", contract)
    met(allowance)
    for key in (state_folder() / "keys").glob("reviewer*"):
        key.unlink()
    with pytest.raises(ConfigError, match="no reviewer's key"):
        allowance.quotas.release(workspace, "openai", contract)
    with pytest.raises(OutOfQuota):
        asked(allowance, AZURE, ANOTHER)


def test_it_is_met_anew_after_it_ended(allowance):
    met(allowance)
    ended(allowance, asked(allowance))
    met(allowance, AZURE, ANOTHER)
    with pytest.raises(OutOfQuota):
        asked(allowance)
    assert [mark.way for mark in allowance.quotas.standing("openai")] == [ANOTHER]
