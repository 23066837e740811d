"""Which texts bind an answer: a contract's own, a feature's, a host's and the model's."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from tests.terms.made import catalog, document, permits, refuses

from trueseed.terms.catalog import Catalog, keep
from trueseed.terms.model import Effect, Facts, Label, Relation, Upstream, Use
from trueseed.terms.rules import may_ask, may_flow

TODAY = date(2026, 11, 21)
MODEL = document("llama", "meta/llama-*@weights", permits(Use.TRAIN, Use.SERVE))
HOST = document("host", "*/*@together", permits(Use.TRAIN), refuses(Use.BENCHMARK_TEACHER))
LLAMA = "meta/llama-3.1@together"


def ask(source: str, use: Use, *documents, features: tuple[str, ...] = (), facts: Facts | None = None):
    return may_ask(source, use, facts or Facts(), TODAY, catalog(*documents), features)


class TestHosts:
    def test_host_and_model_must_both_permit(self):
        assert ask(LLAMA, Use.TRAIN, HOST, MODEL).permitted
        assert not ask(LLAMA, Use.TRAIN, HOST, replace(MODEL, permissions=(refuses(Use.TRAIN),))).permitted
        assert not ask(LLAMA, Use.TRAIN, replace(HOST, permissions=(refuses(Use.TRAIN),)), MODEL).permitted

    def test_what_the_host_forbids_is_refused_whatever_the_model_permits(self):
        free = replace(MODEL, permissions=(permits(*Use),))
        refused = ask(LLAMA, Use.BENCHMARK_TEACHER, HOST, free)
        assert (refused.permitted, refused.document) == (False, "host")

    def test_a_host_that_is_silent_establishes_nothing(self):
        verdict = ask(LLAMA, Use.SERVE, HOST, MODEL)
        assert (verdict.permitted, verdict.established, verdict.document) == (False, False, "host")

    def test_a_model_whose_own_terms_are_not_known_is_refused_and_says_what_to_read(self):
        verdict = ask("nobody/knows@together", Use.TRAIN, HOST, MODEL)
        assert (verdict.permitted, verdict.established) == (False, False)
        assert "nobody/knows@weights" in verdict.settle_by

    def test_every_route_on_which_the_models_terms_are_known_binds(self):
        both = replace(HOST, model_routes=("weights", "api"))
        api = document("llama-api", "meta/*@api", refuses(Use.TRAIN))
        assert ask(LLAMA, Use.TRAIN, both, MODEL).permitted
        assert not ask(LLAMA, Use.TRAIN, both, MODEL, api).permitted

    def test_obligations_of_host_and_model_add_up(self):
        from tests.terms.made import duty

        host, model = replace(HOST, duties=(duty("conduct"),)), replace(MODEL, duties=(duty("notice-file", "x"),))
        assert {o.document for o in ask(LLAMA, Use.TRAIN, host, model).obligations} == {"host", "llama"}

    def test_what_the_model_learned_from_is_told_on_every_route(self):
        model = replace(MODEL, upstream=(Upstream(source="meta/llama-3.1@weights", teacher="another"),))
        assert ask(LLAMA, Use.TRAIN, HOST, model).upstream == ("another",)

    def test_the_label_names_all_that_bound_it_and_is_found_again(self):
        known = catalog(HOST, MODEL)
        bound = known.governing(LLAMA, TODAY)
        assert bound is not None
        label = Label(LLAMA, Relation.OUTPUT, bound.digest)
        assert bound.digest not in (HOST.digest, MODEL.digest)
        assert may_flow([label], known, Effect.TRAIN, Facts())[0].permitted

    def test_another_process_finds_it_where_it_was_kept(self, tmp_path: Path):
        bound = catalog(HOST, MODEL).governing(LLAMA, TODAY)
        assert bound is not None
        later = Catalog.load(tmp_path / "none", tmp_path)
        keep(bound, tmp_path)
        assert later.by_digest(bound.digest) == bound


class TestFeatures:
    GENERAL = document("general", "google/*@api", permits(Use.TRAIN, Use.SERVE))
    SEARCH = document("search", "google/*@api", refuses(Use.TRAIN), features=("search",))
    GEMINI = "google/gemini@api"

    def test_a_features_text_binds_only_answers_asked_with_it(self):
        assert ask(self.GEMINI, Use.TRAIN, self.GENERAL, self.SEARCH).permitted
        refused = ask(self.GEMINI, Use.TRAIN, self.GENERAL, self.SEARCH, features=("search",))
        assert (refused.permitted, refused.document) == (False, "search")

    def test_what_it_is_silent_on_is_left_to_the_general_text(self):
        assert ask(self.GEMINI, Use.SERVE, self.GENERAL, self.SEARCH, features=("search",)).permitted

    def test_a_feature_that_nobody_read_about_is_refused(self):
        verdict = ask(self.GEMINI, Use.SERVE, self.GENERAL, features=("maps",))
        assert (verdict.permitted, verdict.established) == (False, False)
        assert "'maps'" in verdict.settle_by

    def test_the_label_keeps_the_feature(self):
        known = catalog(self.GENERAL, self.SEARCH)
        bound = known.governing(self.GEMINI, TODAY, ("search",))
        assert bound is not None
        [verdict] = may_flow([Label(self.GEMINI, Relation.OUTPUT, bound.digest)], known, Effect.TRAIN, Facts())
        assert not verdict.permitted


def test_only_the_companions_in_force_on_the_day_bind_what_was_asked_then():
    lenient = document("policy-1", "", permits(Use.TRAIN), effective_until=date(2025, 1, 1))
    strict = document("policy-2", "", refuses(Use.TRAIN), effective_from=date(2025, 1, 1))
    terms = document("terms", "acme/*@api", incorporates=("policy-1", "policy-2"), companions=(lenient, strict))
    known = catalog(terms, lenient, strict)
    labels = [
        Label("acme/large@api", Relation.OUTPUT, found.digest)
        for day in (date(2024, 6, 1), date(2026, 6, 1))
        if (found := known.governing("acme/large@api", day))
    ]
    then, now = (may_flow([label], known, Effect.TRAIN, Facts())[0].permitted for label in labels)
    assert (then, now) == (True, False)
