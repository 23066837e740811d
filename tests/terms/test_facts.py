"""What the workspace declares decides: who the operator is, what is done, for whom, and how strict it wants to be."""

from dataclasses import replace
from datetime import date

import pytest
from tests.terms.made import catalog, document, permits

from trueseed.terms.admission import Question, admit
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Approval, Effect, Facts, Label, Regions, Relation, Student, Upstream, Use, within
from trueseed.terms.rules import Verdict, judge_use, may_enter, may_flow

TODAY = date(2026, 11, 21)
CHAT = "acme/large@api"


def judge(facts: Facts, use: Use = Use.TRAIN, **conditions) -> Verdict:
    return judge_use(CHAT, document("d", "acme/*@api", permits(*Use, **conditions)), use, Relation.OUTPUT, facts, TODAY)


def test_facts_come_back_from_json_and_older_ones_are_read():
    facts = Facts(owners=("CN",), approvals=(Approval(market="FR", reference="A-1"),), country="FR", research=True)
    assert Facts.from_json(facts.to_json()) == facts
    assert set(Facts().to_json()) == {"student", "region", "monthly_users", "commercial"}


@pytest.mark.parametrize(
    ("conditions", "met", "unmet"),
    [
        ({"research": True}, Facts(research=True), Facts()),
        ({"commercial": False}, Facts(commercial=False), Facts()),
        ({"students": ("embedding",)}, Facts(student=Student(kind="embedding")), Facts()),
        ({"established_outside": ("EU",)}, Facts(country="US"), Facts(country="FR")),
        ({"established_outside": ("EU",)}, Facts(country="NO"), Facts()),
    ],
)
def test_a_condition_permits_only_where_it_is_met(conditions, met, unmet):
    assert judge(met, **conditions).permitted
    assert not judge(unmet, **conditions).permitted


def test_areas_hold_their_countries():
    assert within("DE", ("EU",))
    assert not within("GB", ("EU", "EEA"))


class TestRegions:
    def judge(self, facts: Facts, use: Use = Use.SERVE, **more) -> Verdict:
        regions = Regions(text="only where it is offered", supported=("EU", "US"), **more)
        served = document("d", "acme/*@api", permits(*Use), regions=regions)
        return judge_use(CHAT, served, use, Relation.OUTPUT, facts, TODAY)

    def test_a_market_outside_is_refused_as_offering(self):
        assert self.judge(Facts(region="FR", market="US")).permitted
        assert not self.judge(Facts(region="FR", market="CN")).permitted

    def test_where_the_operator_is_counts_where_the_text_says_so(self):
        facts = Facts(region="FR", country="CN", owners=("FR",))
        assert self.judge(facts).permitted
        assert not self.judge(facts, operators=True).permitted

    def test_who_owns_it_counts_where_the_text_says_so(self):
        facts = Facts(region="FR", owners=("CN",))
        assert self.judge(facts).permitted
        refused = self.judge(facts, owners=True)
        assert not refused.permitted
        assert "the owners' country 'CN' is outside of it" in refused.because

    def test_undeclared_owners_leave_an_obligation(self):
        assert "owned" in self.judge(Facts(region="FR"), owners=True).obligations[0].text
        assert not self.judge(Facts(region="FR", owners=("US",)), owners=True).obligations


class TestMarkets:
    CATALOG = Catalog.load()
    OPENAI = CATALOG.document("openai-sa-2026-01-01")
    INTERNAL = Facts(student=Student(kind="classifier", distributed=False))

    def test_a_market_is_served_only_with_an_approval_that_is_declared(self):
        assert not may_enter("CN", Facts()).permitted
        assert may_enter("CN", Facts(approvals=(Approval(market="CN", reference="reg. 12"),))).permitted
        assert not may_enter("FR", Facts(approvals=(Approval(market="CN", reference="reg. 12"),))).permitted

    def test_a_step_for_a_market_needs_permission_and_approval(self):
        own = Question(ask={}, brings={"own/words": Relation.OUTPUT}, effect=Effect.SERVE, market="FR")
        approved = Facts(approvals=(Approval(market="FR", reference="a"),))
        assert admit(own, (), self.CATALOG, approved, TODAY).refusal is None
        refused = admit(own, (), self.CATALOG, Facts(), TODAY).refusal
        assert refused is not None
        assert "no approval" in refused.because
        theirs = replace(own, brings={"openai/gpt-4@api": Relation.OUTPUT})
        assert admit(theirs, (), self.CATALOG, approved, TODAY).refusal is not None

    def test_an_exception_for_internal_models_ends_where_a_market_is_served(self):
        label = Label("openai/gpt-4@api", Relation.OUTPUT, self.OPENAI.digest)
        inside = may_flow([label], self.CATALOG, Effect.SERVE, self.INTERNAL)[0]
        offered = may_flow([label], self.CATALOG, Effect.SERVE, replace(self.INTERNAL, market="FR"))[0]
        assert (inside.permitted, offered.permitted) == (True, False)


class TestUpstream:
    TAUGHT = document(
        "d",
        "acme/*@api",
        permits(*Use),
        upstream=(Upstream(source="acme/large@weights", teacher="answers of another"),),
    )

    def test_declared_teachers_are_always_told(self):
        verdict = judge_use(CHAT, self.TAUGHT, Use.TRAIN, Relation.OUTPUT, Facts(), TODAY)
        assert (verdict.permitted, verdict.upstream) == (True, ("answers of another",))
        assert verdict.to_json()["upstream"] == ["answers of another"]

    @pytest.mark.parametrize("use", list(Use))
    def test_and_refused_where_the_workspace_is_strict(self, use):
        refused = judge_use(CHAT, self.TAUGHT, use, Relation.OUTPUT, Facts(strict_upstream=True), TODAY)
        assert not refused.permitted
        assert "answers of another" in refused.because

    def test_a_declaration_in_another_document_counts_too(self):
        plain = document("operators-own", "acme/*@api", permits(*Use), reading="operator")
        known = catalog(plain, self.TAUGHT)
        label = Label(CHAT, Relation.OUTPUT, plain.digest)
        assert may_flow([label], known, Effect.TRAIN, Facts())[0].permitted
        assert not may_flow([label], known, Effect.TRAIN, Facts(strict_upstream=True))[0].permitted
