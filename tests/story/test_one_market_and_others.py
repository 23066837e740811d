"""One market was served with the own model, others with the vendor's, as the company said: each is asked about."""

import pytest
from tests.gateway.conftest import Make, ask, opened, refusal
from tests.story.people import AZURE, DEEPSEEK, GPT, Place

from trueseed.errors import Refused
from trueseed.student import newest_student
from trueseed.terms.model import Approval, Effect, Facts, Use

__all__ = ["opened"]
FRANCE, CHINA = Approval(market="FR", reference="F-1"), Approval(market="CN", reference="C-2")


def serve(place: Place, market: str) -> None:
    """The student, to people in a market: the step of `trueseed serve`, without the server."""
    workspace = place.workspace
    with workspace.step("serve", inputs=[newest_student(workspace)], effect=Effect.SERVE, market=market):
        pass


def pass_on(place: Place, market: str, source: str = AZURE) -> None:
    """What a vendor's model says, as it is said: the step of a gateway that is asked to `serve`."""
    with place.workspace.step("gateway", ask={source: Use.SERVE}, market=market):
        pass


@pytest.fixture
def grown(place) -> Place:
    """A student that learned from a maker whose terms permit training and serving, approved for one market."""
    place.workspace.declare("seed", Facts(approvals=(CHINA,)))
    place.grow(place.ask(DEEPSEEK))
    return place


def test_the_own_model_is_served_where_it_is_approved(grown):
    serve(grown, "CN")


@pytest.mark.parametrize("market", ["FR", "US"])
def test_an_approval_for_one_market_is_none_for_another(grown, market):
    with pytest.raises(Refused, match=f"no approval to offer a model to people in {market}"):
        serve(grown, market)


def test_the_command_line_refuses_it_before_the_model_is_loaded(grown):
    """Its weights are none, so loading them would have failed."""
    code, said = grown.trueseed("serve", "--market", "FR", "--port", 0)
    assert (code, "no approval to offer a model to people in FR" in said) == (3, True)


def test_an_approval_is_no_permission(place):
    """Of the model that learned from answers which may not train what is offered to others."""
    place.reads("openai-inside", "openai/*@api", "permit train judge")
    place.workspace.declare("seed", Facts(approvals=(CHINA,)))
    place.grow(place.ask(GPT))
    with pytest.raises(Refused, match="establishes serve"):
        serve(place, "CN")


def test_the_vendors_model_is_refused_where_its_terms_are_not_established(place):
    place.workspace.declare("seed", Facts(approvals=(FRANCE,)))
    with pytest.raises(Refused, match="not read, so nothing is established"):
        pass_on(place, "FR")


def test_the_vendors_model_needs_both_its_terms_and_an_approval(place):
    place.reads("azure-as-signed", "openai/*@azure", "permit serve")
    with pytest.raises(Refused, match="no approval"):
        pass_on(place, "FR")
    place.workspace.declare("seed", Facts(approvals=(FRANCE,)))
    pass_on(place, "FR")
    with pytest.raises(Refused, match="no approval"):
        pass_on(place, "CN")


def test_a_market_that_the_vendor_does_not_serve_is_refused_though_it_is_approved(place):
    place.reads("azure-as-signed", "openai/*@azure", "permit serve")
    text = (place.work / "terms" / "azure-as-signed.toml").read_text()
    head, dot, rest = text.partition("\n[[permissions]]")
    regions = '\n[regions]\ntext = "only where it is offered"\nclause = "2"\nunsupported = ["CN"]\n'
    (place.work / "terms" / "azure-as-signed.toml").write_text(head + regions + dot + rest)
    place.workspace.declare("seed", Facts(approvals=(FRANCE, CHINA)))
    pass_on(place, "FR")
    with pytest.raises(Refused, match="the market 'CN' is outside of it"):
        pass_on(place, "CN")


def test_what_serves_which_market_stands_in_the_ledger(grown):
    grown.reads("azure-as-signed", "openai/*@azure", "permit serve")
    grown.workspace.declare("seed", Facts(approvals=(FRANCE, CHINA)))
    serve(grown, "CN")
    pass_on(grown, "FR")
    said = [e.predicate for e in grown.workspace.ledger.entries() if e.predicate.get("event") == "done"]
    served = [(each["market"], sorted({label["source"] for label in each["labels"]})) for each in said[-2:]]
    assert served == [("CN", [DEEPSEEK]), ("FR", [AZURE])]


def test_a_gateway_for_a_market_relays_a_vendors_words_there_only_with_an_approval(opened: Make):
    with opened() as there:
        assert "no approval" in refusal(there.client(Use.SERVE, market="FR")).message
        assert there.billed() == 0
    with opened(facts=Facts(approvals=(FRANCE,))) as there:
        assert ask(there.client(Use.SERVE, market="FR")).choices
