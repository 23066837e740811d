"""A maker that suspended us is reached by no other way, until the reviewer has released it.

The provider lifts the suspension at once and would answer: whatever reaches it after the hold is counted there.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway.conftest import serving
from tests.story.asking import ask
from tests.story.people import ANOTHER_KEY, DEEPSEEK, KEY, Operator
from tests.tiny_run import run_file

from trueseed import pipeline, runfile
from trueseed.access.keys import Grant, Keys
from trueseed.errors import Broken, ConfigError, Paused, Refused, TrueSeedError
from trueseed.gateway.offer import gateway
from trueseed.gateway.settings import Config
from trueseed.ledger.log import Ledger
from trueseed.teachers.account.holds import Holds
from trueseed.teachers.account.state import Account
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.model import Use
from trueseed.workspace import Workspace

PRICE = {"input": 1.0, "output": 2.0}


@dataclass(kw_only=True)
class Affair:
    """A provider, the folder of everything else, and what the provider had counted when the hold was placed."""

    folder: Path
    provider: Simulator
    held: Any = field(default=None)

    def workspace(self, name: str = "work") -> Workspace:
        """Its terms permit everything, as if an operator had read such contracts: only the hold stands in the way."""
        terms = self.folder / name / "terms"
        terms.mkdir(parents=True, exist_ok=True)
        own = (SHIPPED / "own" / "own-work.toml").read_text()
        for maker in ("deepseek", "mistral"):
            text = own.replace("own-work", f"our-{maker}").replace("own/*", f"{maker}/*")
            (terms / f"{maker}.toml").write_text(text.replace('route = "own"', 'route = "any"'))
        return Workspace.open(self.folder / name, create=True)

    def endpoint(self, source: str = DEEPSEEK, **changes: Any) -> Endpoint:
        given = {"model": "simulated", "base_url": self.provider.openai, "key_from": "STORY_KEY", "price": PRICE}
        return Endpoint.model_validate({"source": source, **given, **changes})

    def ask(self, source: str = DEEPSEEK, *, work: str = "work", **changes: Any) -> None:
        ask(self.workspace(work), self.endpoint(source, **changes), [], 3)

    def suspend(self) -> None:
        """The maker suspends us, and takes it back; we have not heard of that."""
        with pytest.raises(Refused, match="on hold"):
            self.ask()
        self.provider.lift()
        self.held = self.provider.counts()

    @contextmanager
    def nobody_is_reached(self, error: type[TrueSeedError] = Refused, match: str = "hold") -> Iterator[None]:
        with pytest.raises(error, match=match):
            yield
        assert self.provider.counts() == self.held


@pytest.fixture
def affair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Affair]:
    monkeypatch.setenv("STORY_KEY", KEY)
    monkeypatch.setenv("ANOTHER_KEY", ANOTHER_KEY)
    with simulator(Behaviour(suspend_at=1)) as provider:
        yield Affair(folder=tmp_path, provider=provider)


@pytest.fixture
def held(affair: Affair) -> Affair:
    affair.suspend()
    return affair


def test_without_a_hold_the_provider_would_answer(held, own_state):
    """So that the others do not hold for another reason."""
    Path(held.folder / "letter").write_text("Reinstated.")
    released = Operator(folder=held.folder, provider=held.provider, questions=3).trueseed(
        "release", "deepseek", "--evidence", str(held.folder / "letter"), "--workspace", str(held.folder / "work")
    )
    assert released[0] == 0
    held.ask()
    held.ask("own/mistaken", work="another")
    assert held.provider.counts()["billed"] == 6


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        (DEEPSEEK, {"key_from": "ANOTHER_KEY"}),
        (DEEPSEEK, {"dialect": "azure"}),
        (DEEPSEEK, {"dialect": "anthropic"}),
        ("deepseek/deepseek-chat@azure", {}),
        ("deepseek/deepseek-chat@openrouter", {}),
        ("deepseek/deepseek-chat@some-aggregator", {"key_from": "ANOTHER_KEY"}),
        ("deepseek/deepseek-chat@weights", {"key_from": "ANOTHER_KEY", "price": None}),
        ("deepseek/another-model@api", {}),
    ],
)
def test_by_no_other_key_address_route_aggregator_or_model(held, source, changes):
    if dialect := changes.pop("dialect", None):
        changes["base_url"] = getattr(held.provider, dialect)
    with held.nobody_is_reached():
        held.ask(source, **changes)


def test_from_no_other_workspace(held):
    with held.nobody_is_reached():
        held.ask(work="another")


@pytest.mark.parametrize("source", ["own/mine", "mistral/mistral-small@api", "own/mine@weights"])
def test_under_no_other_name_at_the_same_address(held, source):
    if source.endswith("weights"):
        source = "mistral/open-weights@weights"
    with held.nobody_is_reached(match="is the address of the account that 'deepseek' suspended"):
        held.ask(source, key_from="ANOTHER_KEY")


def test_under_no_other_name_with_the_same_key(held, affair):
    """Whatever stands at the other address: here, a way to the same provider."""
    elsewhere = held.provider.openai.replace("127.0.0.1", "localhost")
    with held.nobody_is_reached(match="its key is that of the account that 'deepseek' suspended"):
        held.ask("own/mine", base_url=elsewhere)


def test_with_no_model_of_its_name_at_an_aggregator_under_another_makers(held):
    with held.nobody_is_reached(ConfigError, "write 'deepseek' as the maker"):
        held.ask("mistral/mistral-small@openrouter", model="deepseek/deepseek-chat", base_url=held.provider.openai)


def test_for_no_other_entity_with_the_same_key(held, monkeypatch):
    monkeypatch.setenv("TRUESEED_ENTITY", "seed-works-two")
    with held.nobody_is_reached(match="its key is that of the account"):
        held.ask()


def test_another_entity_with_a_key_of_its_own_is_another_account(held, monkeypatch):
    """Whether it is one is for the operator to say truly; the ledger keeps the entity of every hold and release."""
    monkeypatch.setenv("TRUESEED_ENTITY", "seed-works-two")
    held.ask(key_from="ANOTHER_KEY")
    assert held.provider.counts()["billed"] == 3


def test_at_an_aggregator_only_the_maker_that_suspended_us_is_held(affair):
    """It carries many makers over one address and key."""
    with pytest.raises(Refused):
        affair.ask("deepseek/deepseek-chat@some-aggregator")
    affair.provider.lift()
    affair.ask("mistral/mistral-small@some-aggregator")
    assert affair.provider.counts()["billed"] == 3


# the account's database


def _removed(account: Path) -> None:
    account.unlink()


def _begun_anew(account: Path) -> None:
    for path in account.parent.glob("account.db*"):
        path.unlink()


def _an_older_copy(account: Path) -> None:
    _begun_anew(account)
    Account.open().close()  # as it was before anything was asked


def _put_aside(account: Path) -> None:
    os.environ["TRUESEED_ACCOUNT"] = f"sqlite:///{account.with_name('another.db')}"


@pytest.mark.parametrize("work", ["work", "another"])
@pytest.mark.parametrize("trick", [_begun_anew, _an_older_copy, _put_aside])
def test_over_no_account_that_was_begun_anew_restored_or_put_aside(held, own_state, monkeypatch, work, trick):
    monkeypatch.setenv("TRUESEED_ACCOUNT", f"sqlite:///{own_state / 'account.db'}")
    trick(own_state / "account.db")
    with held.nobody_is_reached():
        held.ask(work=work)
    with held.nobody_is_reached():
        held.ask("own/mine", work=work, key_from="ANOTHER_KEY")


def test_without_the_account_nobody_is_asked_at_all(held, own_state):
    _removed(own_state / "account.db")
    with held.nobody_is_reached(Paused, "was removed"):
        held.ask()


# the ledger


def test_from_no_older_copy_of_the_workspace(affair):
    affair.workspace()
    shutil.copytree(affair.folder / "work", affair.folder / "older")
    affair.suspend()
    shutil.rmtree(affair.folder / "work")
    (affair.folder / "older").rename(affair.folder / "work")
    with affair.nobody_is_reached((Broken, Refused), "rolled back|hold"):
        affair.ask()


def test_from_no_older_copy_of_the_workspace_and_the_account_together(affair, own_state):
    affair.workspace()
    shutil.copytree(affair.folder / "work", affair.folder / "older")
    affair.suspend()
    shutil.rmtree(affair.folder / "work")
    (affair.folder / "older").rename(affair.folder / "work")
    _an_older_copy(own_state / "account.db")
    with affair.nobody_is_reached((Broken, Refused), "rolled back|hold"):
        affair.ask()


def test_a_later_hold_is_taken_back_over_an_account_that_has_an_earlier_one(held, own_state, tmp_path, monkeypatch):
    """An older copy that knows the first hold, while the ledger has a second: it stays on hold and nothing breaks."""
    monkeypatch.setattr("trueseed.teachers.account.holds.now", lambda: "2999-01-01T00:00:00Z")
    holds = Holds(Account.open(), "us")
    ledger = Ledger.open(tmp_path / "work" / "ledger", state=own_state)
    ledger.append(
        "https://trueseed.dev/hold/v1", [], {"maker": "deepseek", "entity": "us", "reason": "again",
                                            "evidence": "0" * 64, "at": "2999-01-01T00:00:00Z"},
    )  # fmt: skip
    assert holds.restore(ledger) == []
    with held.nobody_is_reached():
        held.ask()


# other processes


def test_by_no_process_that_was_asking_meanwhile(tmp_path):
    """The one that is suspended stops the other, which hears of it at its next call; what was under way was let in."""
    with simulator(Behaviour(suspend_at=40, latency_s=0.02), process=True) as provider:
        one, other = (
            Operator(folder=tmp_path / name, provider=provider, questions=400, endpoint={"at_once": 4})
            for name in ("one", "other")
        )
        asking = other.start()
        assert one.ask() == 3
        provider.lift()
        asking.join()
        assert asking.exitcode == 3
        counts = provider.counts()
        assert counts["billed"] + sum(counts["reached_suspended"].values()) <= 39 + 2 * 4 + 4
        assert (one.ask(), other.ask()) == (3, 3)
        assert provider.counts() == counts


# the gateway


@contextmanager
def _through_a_gateway(
    affair: Affair, source: str = DEEPSEEK, **changes: Any
) -> Iterator[Callable[[], httpx.Response]]:
    """What asks through a gateway of another workspace."""
    config = Config.model_validate({"upstreams": [affair.endpoint(source, **changes).model_dump()]})
    token = Keys(Account.open()).issue(Grant(owner="ana", project="seed", uses=frozenset({Use.TRAIN}))).token
    body = {"model": source, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    with gateway(affair.workspace("gateway"), config) as service, serving(service) as url:
        yield lambda: httpx.post(
            f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=20
        )


@pytest.mark.parametrize(("source", "key"), [(DEEPSEEK, "STORY_KEY"), ("own/mine", "ANOTHER_KEY")])
def test_through_no_gateway_that_was_running_before(affair, source, key):
    with _through_a_gateway(affair, source, key_from=key) as through:
        affair.suspend()
        told = through()
    assert (told.status_code, told.json()["error"]["code"]) == (403, "refused")
    assert affair.provider.counts() == affair.held


@pytest.mark.parametrize("trick", [None, _begun_anew])
def test_through_no_gateway_that_begins_later(held, own_state, trick):
    if trick:
        trick(own_state / "account.db")
    with _through_a_gateway(held) as through:
        told = through()
    assert (told.status_code, told.json()["error"]["code"]) == (403, "refused")
    assert held.provider.counts() == held.held


def test_by_no_run_when_it_was_a_gateway_that_met_the_suspension(affair):
    with _through_a_gateway(affair) as through:
        assert through().json()["error"]["code"] == "on_hold"
    affair.provider.lift()
    affair.held = affair.provider.counts()
    with affair.nobody_is_reached():
        affair.ask()
    with affair.nobody_is_reached():
        affair.ask("own/mine", key_from="ANOTHER_KEY")


# a whole run


def _run(affair: Affair, model: Path, **changes: Any) -> None:
    teacher = {"remote": affair.endpoint().model_dump(exclude_none=True)}
    file = runfile.load(run_file(affair.folder, model, teacher=teacher, generate={"max_tokens": 60}, **changes))
    pipeline.run(file, affair.workspace("run"))


def test_by_no_whole_run(held, tiny_llama):
    with held.nobody_is_reached():
        _run(held, tiny_llama)


def _failover(affair: Affair, source: str) -> list[dict[str, Any]]:
    other = affair.endpoint(source, key_from="ANOTHER_KEY")
    return [{"remote": json.loads(other.model_dump_json(exclude_none=True))}]


def test_by_no_failover_to_another_route_of_it(held, tiny_llama):
    with held.nobody_is_reached(ConfigError, "another maker"):
        _run(held, tiny_llama, failover=_failover(held, "deepseek/deepseek-chat@openrouter"))


def test_by_no_failover_to_another_name_at_its_address(held, tiny_llama):
    with held.nobody_is_reached():
        _run(held, tiny_llama, failover=_failover(held, "own/mine"))
