"""A provider's written permission: what it lifts, for whom, until when, and what it leaves as it was."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.terms.made import catalog, document, duty, permits, refuses

from trueseed.terms.model import Document, Effect, Facts, Label, Letter, Regions, Relation, Upstream, Use
from trueseed.terms.rederive import rederive
from trueseed.terms.rules import Verdict, may_ask, may_flow

TODAY = date(2026, 11, 21)
ACME = "acme/large@api"
DIGEST = "ab" * 32
GENERAL = document("terms", "acme/*@api", refuses(Use.TRAIN, Use.PUBLISH), permits(Use.SERVE), provider="Acme")


def letter(*uses: Use, provider: str = "Acme", source: str = ACME, of: Letter | None = None, **more) -> Document:
    content = {
        "provider": provider,
        "text_sha256": DIGEST,
        "effective_until": date(2027, 1, 1),
        "letter": of or Letter(evidence=f"evidence/{DIGEST}.pdf"),
        "reading": "contract",
    }
    return document("letter", source, permits(*(uses or (Use.TRAIN,))), **{**content, **more})


def ask(use: Use, *documents: Document, at: date = TODAY, facts: Facts | None = None, signed: bool = True) -> Verdict:
    known = catalog(*documents)
    known = known.relying_on(each.digest for each in documents if each.letter and signed)
    return may_ask(ACME, use, facts or Facts(), at, known)


def test_it_permits_what_its_providers_own_text_refuses():
    assert not ask(Use.TRAIN, GENERAL).permitted
    verdict = ask(Use.TRAIN, GENERAL, letter())
    assert (verdict.permitted, verdict.document) == (True, "letter")
    assert "in the place of terms, clause 2" in verdict.because


def test_and_what_it_leaves_open_or_nobody_read():
    unread = document("terms", "acme/*@api", provider="ACME", verification="unread")
    assert ask(Use.JUDGE, GENERAL, letter(Use.JUDGE)).permitted
    assert ask(Use.JUDGE, unread, letter(Use.JUDGE)).permitted


def test_of_a_source_without_any_text_it_settles_the_uses_that_it_names():
    assert ask(Use.TRAIN, letter()).permitted
    assert not ask(Use.SERVE, letter()).established


def test_it_permits_no_other_use_and_no_other_source():
    assert not ask(Use.PUBLISH, GENERAL, letter()).permitted
    assert not ask(Use.TRAIN, GENERAL, letter(source="acme/small@api")).permitted


def test_nobody_permits_what_is_another_providers():
    assert not ask(Use.TRAIN, GENERAL, letter(provider="Bolt")).permitted


def test_a_hosts_letter_leaves_the_models_own_terms_as_they_are():
    host = document("host", "*/*@together", refuses(Use.TRAIN), provider="Together")
    model = document("model", "acme/*@weights", refuses(Use.TRAIN), provider="Acme")
    theirs = letter(provider="Together", source="acme/large@together")
    known = catalog(host, model, theirs).relying_on([theirs.digest])
    verdict = may_ask("acme/large@together", Use.TRAIN, Facts(), TODAY, known)
    assert (verdict.permitted, verdict.document) == (False, "model")


def test_without_a_reviewers_signature_it_is_nothing_and_the_refusal_says_so():
    verdict = ask(Use.TRAIN, GENERAL, letter(), signed=False)
    assert (verdict.permitted, verdict.own) == (False, ())
    assert "`trueseed terms rely-on letter`" in verdict.settle_by


@pytest.mark.parametrize(("day", "permitted"), [(date(2026, 12, 31), True), (date(2027, 1, 1), False)])
def test_it_holds_to_its_last_day(day, permitted):
    assert ask(Use.TRAIN, GENERAL, letter(), at=day).permitted is permitted


def test_a_refusal_after_its_last_day_names_it():
    assert "holds from 2024-01-01 until 2027-01-01" in ask(Use.TRAIN, GENERAL, letter(), at=date(2027, 2, 1)).settle_by


def test_it_holds_for_its_project_alone():
    of = Letter(evidence=f"evidence/{DIGEST}.pdf", project="seed")
    assert ask(Use.TRAIN, GENERAL, letter(of=of), facts=Facts(project="seed")).permitted
    elsewhere = ask(Use.TRAIN, GENERAL, letter(of=of), facts=Facts(project="other"))
    assert not elsewhere.permitted
    assert "for the project 'seed' alone, and the one that is declared here is 'other'" in elsewhere.settle_by
    assert not ask(Use.TRAIN, GENERAL, letter(of=of)).permitted


def test_its_own_conditions_and_duties_bind():
    research = replace(letter(), permissions=(permits(Use.TRAIN, research=True),), duties=(duty("conduct"),))
    assert not ask(Use.TRAIN, GENERAL, research).permitted
    verdict = ask(Use.TRAIN, GENERAL, research, facts=Facts(research=True))
    assert [owed.document for owed in verdict.obligations] == ["letter"]


def test_regions_and_strictness_on_upstream_stay():
    abroad = replace(GENERAL, regions=Regions(text="only in FR", supported=("FR",)))
    assert not ask(Use.TRAIN, abroad, letter(), facts=Facts(region="DE")).permitted
    taught = replace(GENERAL, upstream=(Upstream(source=ACME, teacher="another"),))
    assert not ask(Use.TRAIN, taught, letter(), facts=Facts(strict_upstream=True)).permitted


def test_a_text_of_a_feature_is_lifted_only_by_a_letter_that_names_the_feature():
    search = document("search", "acme/*@api", refuses(Use.TRAIN), provider="Acme", features=("search",))

    def asked(theirs: Document) -> bool:
        known = catalog(GENERAL, search, theirs).relying_on([theirs.digest])
        return may_ask(ACME, Use.TRAIN, Facts(), TODAY, known, ("search",)).permitted

    assert not asked(letter())
    assert asked(letter(features=("search",)))


class TestWhatWasAskedUnderIt:
    @staticmethod
    def flow(theirs: Document, today: date, signed: bool = True) -> Verdict:
        known = catalog(GENERAL, theirs).relying_on([theirs.digest])
        asked = known.governing(ACME, TODAY)
        assert asked is not None
        label = Label(ACME, Relation.OUTPUT, asked.digest)
        if not signed:
            known = known.relying_on([])
        return may_flow([label], known, Effect.TRAIN, Facts(), today)[0]

    def test_may_be_trained_on_while_it_holds_and_no_longer(self):
        assert self.flow(letter(), date(2026, 12, 31)).permitted
        assert not self.flow(letter(), date(2027, 1, 1)).permitted

    def test_unless_it_lasts_for_what_was_asked(self):
        lasting = letter(of=Letter(evidence=f"evidence/{DIGEST}.pdf", lasting=True))
        assert self.flow(lasting, date(2030, 1, 1)).permitted

    def test_and_is_refused_where_no_reviewer_of_this_ledger_signed_it(self):
        assert not self.flow(letter(), TODAY, signed=False).permitted

    def test_is_found_again_by_whoever_has_the_signatures(self):
        theirs = letter()
        known = catalog(GENERAL, theirs).relying_on([theirs.digest])
        asked = known.governing(ACME, TODAY)
        assert asked is not None
        stored = may_ask(ACME, Use.TRAIN, Facts(), TODAY, known).to_json()
        assert rederive(stored, [asked], Facts(), [theirs.digest]).outcome == "same"
        assert rederive(stored, [asked], Facts(), []).outcome == "differs"


USES = st.sets(st.sampled_from(list(Use)), min_size=1)


@settings(max_examples=40, deadline=None)
@given(USES, st.sampled_from(list(Use)), st.sampled_from(["Acme", "acme", "Bolt"]))
def test_it_changes_no_verdict_but_on_the_uses_it_names_of_its_own_provider(named, use, provider):
    before, after = ask(use, GENERAL), ask(use, GENERAL, letter(*named, provider=provider))
    if use not in named or provider == "Bolt":
        assert (before.permitted, before.document, before.clause) == (after.permitted, after.document, after.clause)
    else:
        assert after.permitted
    assert after.own == (f"letter: written permission of {provider} (1; evidence {DIGEST[:12]})",)
