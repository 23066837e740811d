"""A region that a provider does not serve: known beforehand it is not called; when the provider says so, not again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.conftest import Make, ask, opened, refusal
from tests.story.asking import ask as ask_three
from tests.story.people import DEEPSEEK
from tests.tiny_run import run_file

from trueseed import pipeline, runfile
from trueseed.errors import Refused
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.terms.catalog import SHIPPED
from trueseed.terms.model import Facts
from trueseed.workspace import Workspace

__all__ = ["opened"]


@pytest.fixture
def provider() -> Iterator[Simulator]:
    with simulator() as running:
        yield running


def read_regions(workspace: Path) -> None:
    """The operator has read where the provider serves, and added it to the document."""
    terms = (SHIPPED / "deepseek" / "deepseek-platform-2026-04-29.toml").read_text()
    (workspace / "terms").mkdir(parents=True)
    listed = '[regions]\ntext = "only where it is served"\nclause = "9"\nunsupported = ["XX"]\n'
    (workspace / "terms" / "deepseek.toml").write_text(f"{terms}\n{listed}")


def test_a_run_from_there_is_refused_before_any_call(provider, tmp_path, tiny_llama):
    read_regions(tmp_path / "work")
    remote = {"source": DEEPSEEK, "model": "simulated", "base_url": provider.openai, "price": {"input": 1, "output": 1}}
    path = run_file(tmp_path, tiny_llama, teacher={"remote": remote}, operator={"region": "XX"})
    with pytest.raises(Refused, match="only where it is served; 'XX' is outside of it") as caught:
        pipeline.run(runfile.load(path), Workspace.open(tmp_path / "work", create=True))
    assert caught.value.exit_code == 3
    assert provider.counts()["arrived"] == 0


def test_a_gateway_there_forwards_nothing(opened: Make, tmp_path):
    read_regions(tmp_path / "work")
    with opened(facts=Facts(region="XX")) as place:
        told = refusal(place.client())
        assert (told.status_code, told.code) == (403, "refused")
        assert place.provider.counts()["arrived"] == 0
    with opened(facts=Facts(region="YY")) as place:
        assert ask(place.client()).choices


def test_when_the_provider_says_so_the_run_ends_and_asks_nobody_else(provider, tmp_path):
    provider.behave(Behaviour(region_refused=True))
    endpoint = Endpoint.model_validate(
        {"source": DEEPSEEK, "model": "simulated", "base_url": provider.openai, "at_once": 1,
         "price": {"input": 1, "output": 1}}
    )  # fmt: skip
    with pytest.raises(Refused, match="through a proxy or another route is not done here") as caught:
        ask_three(Workspace.open(tmp_path, create=True), endpoint, [], 3)
    assert caught.value.exit_code == 3
    assert provider.counts()["arrived"] == 1


def test_when_the_provider_says_so_the_gateway_tells_its_client(opened: Make):
    with opened(Behaviour(region_refused=True)) as place:
        told = refusal(place.client())
        assert (told.status_code, told.code) == (403, "unsupported_country_region_territory")
        assert place.provider.counts()["arrived"] == 1


def test_a_key_of_the_gateway_that_is_used_from_there_is_refused(opened: Make, tmp_path):
    """Where the asker is counts, not where the gateway stands."""
    read_regions(tmp_path / "work")
    with opened(facts=Facts(region="YY")) as place:
        told = refusal(place.client(region="XX"))
        assert (told.status_code, told.code) == (403, "refused")
        assert "'XX' is outside of it" in told.message
        assert place.provider.counts()["arrived"] == 0


@pytest.mark.parametrize("facts", [Facts(region="YY", country="XX"), Facts(region="YY", owners=("US", "XX"))])
def test_an_operator_that_is_established_or_owned_there_is_refused_where_the_text_says_so(
    opened: Make, tmp_path, facts
):
    read_regions(tmp_path / "work")
    path = tmp_path / "work" / "terms" / "deepseek.toml"
    path.write_text(path.read_text() + "operators = true\nowners = true\n")
    with opened(facts=facts) as place:
        assert refusal(place.client()).code == "refused"
        assert place.provider.counts()["arrived"] == 0
