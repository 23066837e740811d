from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.terms import (
    Catalog,
    Effect,
    Facts,
    Label,
    Relation,
    Student,
    Use,
    Verdict,
    conflict,
    judge_use,
    may_flow,
    not_established,
)
from trueseed.terms.model import Regions

CATALOG = Catalog.load()
TODAY = date(2026, 11, 21)
INTERNAL = Facts(student=Student(distributed=False))
CLASSIFIER = Facts(student=Student(kind="classifier", distributed=False))

SMOLLM = ("huggingfacetb/smollm2-135m-instruct@weights", "apache-2.0-weights")
GEMMA = ("google/gemma-3-270m@weights", "gemma-terms-2025-03-24")
LLAMA = ("meta/llama-3.1-8b-instruct@weights", "llama3.1-community")
OPENAI = ("openai/gpt-4@api", "openai-sa-2026-01-01")
DEEPSEEK = ("deepseek/deepseek-chat@api", "deepseek-platform-2026-04-29")
AZURE = ("openai/gpt-4@azure", "azure-openai-product-terms")
OWN = ("own/anna", "own-work")


def judge(
    document: str, use: Use, facts: Facts | None = None, relation: Relation = Relation.OUTPUT, at: date = TODAY
) -> Verdict:
    return judge_use("a/b@c", CATALOG.document(document), use, relation, facts or Facts(), at)


def label(source_and_document: tuple[str, str], relation: Relation = Relation.OUTPUT) -> Label:
    source, document = source_and_document
    return Label(source, relation, CATALOG.document(document).digest)


def kinds(verdict: Verdict) -> set[str]:
    return {obligation.kind for obligation in verdict.obligations}


# One line per document: the uses a distributed chat student permits; every other use is refused.
EVERY = set(Use)
MEASURED = {Use.JUDGE, Use.BENCHMARK_TEACHER, Use.PUBLISH_BENCHMARK}
PERMITTED = {
    "anthropic-aup-2024-06-06": {Use.SERVE},
    "anthropic-aup-2025-09-15": {Use.SERVE},
    "anthropic-aup-2026-11-12": {Use.SERVE},
    "anthropic-commercial-2025-06-17": {Use.SERVE},
    "apache-2.0-weights": EVERY,
    "azure-openai-product-terms": set(),
    "deepseek-platform-2025-01-20": EVERY - {Use.PUBLISH_BENCHMARK},
    "deepseek-platform-2026-04-29": EVERY - {Use.PUBLISH_BENCHMARK},
    "gemma-terms-2025-03-24": EVERY,
    "llama3.1-community": EVERY,
    "mistral-api-2024-02-08": {Use.SERVE},
    "mistral-api-2024-02-26": {Use.SERVE},
    "mistral-commercial-2026-05-28": EVERY - {Use.PUBLISH_BENCHMARK},
    "mistral-terms-2024-02-27": EVERY - {Use.PUBLISH_BENCHMARK},
    "mistral-tou-2024-02-08": {Use.SERVE},
    "openai-business-2023-08-28": set(),
    "openai-business-2023-11-14": {Use.SERVE, Use.TRAIN_INTERNAL_CLASSIFIER},
    "openai-sa-2026-01-01": {Use.SERVE, Use.TRAIN_INTERNAL_CLASSIFIER},
    "openai-tou-2023-03-14": {Use.SERVE},
    "own-work": EVERY,
    "cohere-saas-2024-02-29": set(),
    "deepseek-model-1.0": set(),
    "deepseek-r1-mit": EVERY,
    "doubao-2026-07-22": set(),
    "ds-alpaca": set(),
    "ds-magpie-ultra": EVERY,
    "ds-openhermes-2.5": set(),
    "ds-sharegpt-vicuna": set(),
    "ds-ultrachat-200k": set(),
    "falcon-180b-tii": set(),
    "fireworks-tos-2025-10-21": {Use.SERVE},
    "gemini-api-2025-11-20": {Use.SERVE},
    "gemini-api-grounding-2025-11-20": set(),
    "google-tos-2024-05-22": {Use.SERVE},
    "kimi-2024-01-05": set(),
    "llama2-community": {Use.SERVE},
    "llama3-community": {Use.SERVE},
    "llama3.2-community": EVERY,
    "llama3.2-community-multimodal": set(),
    "llama3.3-community": EVERY,
    "llama4-community": set(),
    "meta-model-api-2026-08-21": {Use.JUDGE, Use.SERVE},
    "microsoft-consumer-tou-2026-02-05": set(),
    "mistral-lechat-2025-05-27": {Use.SERVE},
    "mistral-mnpl-0.1": set(),
    "mistral-before-2024-02-08": set(),
    "mistral-mrl-0.1": set(),
    "mit-weights": EVERY,
    "nvidia-oml-2025-04-28": EVERY,
    "openai-tou-2023-11-14": {Use.SERVE},
    "openrouter-2025-04-15": EVERY,
    "qwen-chat-2026-05-19": set(),
    "qwen-research-2024-09-19": set(),
    "together-tos": {Use.SERVE},
    "xai-aup-2026": set(),
    "xai-enterprise-2025-06-27": {Use.SERVE},
    "xai-enterprise-2026-08-14": {Use.SERVE},
    "yi-2023-11-01": set(),
    "qwen-2024-09-19": set(),
    "qwen-tongyi-2023-08-03": {Use.SERVE},
}


@pytest.mark.parametrize("document", [document.id for document in CATALOG.documents])
def test_each_document_permits_what_its_text_establishes_and_nothing_else(document):
    assert {use for use in Use if judge(document, use).permitted} == PERMITTED[document]


def test_every_refusal_says_why_and_every_open_question_what_would_settle_it():
    for document in CATALOG.documents:
        for use in Use:
            verdict = judge(document.id, use)
            assert verdict.because
            assert verdict.established or verdict.settle_by


def test_a_verdict_names_the_deciding_text():
    verdict = judge("openai-sa-2026-01-01", Use.TRAIN)
    assert (verdict.document, verdict.version, verdict.clause) == ("openai-sa-2026-01-01", "2026-01-01", "3.3(e)")


def test_json_has_exactly_the_keys_of_the_contract():
    keys = {"verdict", "use", "source", "document", "version", "clause", "because", "obligations", "settle_by"}
    keys |= {"established", "relation", "terms", "effect", "at", "upstream", "at_odds", "own", "rules"}
    for verdict in (judge("gemma-terms-2025-03-24", Use.TRAIN), not_established("a/b@c", Use.TRAIN)):
        assert set(verdict.to_json()) == keys
        assert verdict.to_json()["verdict"] == ("permit" if verdict.permitted else "refuse")


@given(
    st.sampled_from(list(Use)), st.sampled_from(list(Relation)), st.booleans(), st.sampled_from(["chat", "classifier"])
)
def test_where_no_document_is_established_everything_is_refused(use, relation, distributed, kind):
    facts = Facts(student=Student(kind=kind, distributed=distributed))
    verdict = judge_use("nobody/knows@api", None, use, relation, facts, TODAY)
    assert not verdict.permitted
    assert not verdict.established
    assert verdict.settle_by


def test_azure_is_refused_for_want_of_a_text_and_says_what_is_reported():
    verdict = judge("azure-openai-product-terms", Use.TRAIN)
    assert not verdict.permitted
    assert not verdict.established
    assert "The Verge" in verdict.because
    assert "Product Terms" in verdict.settle_by


def test_a_transcription_does_not_permit():
    verdict = judge("qwen-2024-09-19", Use.TRAIN)
    assert not verdict.permitted
    assert "Built with Qwen" in verdict.because


class TestOpenAisException:
    @pytest.mark.parametrize("document", ["openai-business-2023-11-14", "openai-sa-2026-01-01"])
    @pytest.mark.parametrize("kind", ["classifier", "embedding"])
    @pytest.mark.parametrize("use", [Use.TRAIN, Use.REWARD])
    def test_it_holds_for_an_internal_classifier(self, document, kind, use):
        assert judge(document, use, Facts(student=Student(kind=kind, distributed=False))).permitted

    @pytest.mark.parametrize("student", [Student(), Student(distributed=False), Student(kind="classifier")])
    def test_it_holds_for_nothing_else(self, student):
        assert not judge("openai-sa-2026-01-01", Use.TRAIN, Facts(student=student)).permitted

    def test_it_was_not_there_in_march_2023(self):
        assert not judge("openai-tou-2023-03-14", Use.TRAIN, CLASSIFIER).permitted

    def test_it_ends_on_distribution(self):
        assert not judge("openai-sa-2026-01-01", Use.PUBLISH, CLASSIFIER).permitted
        (verdict,) = may_flow([label(OPENAI)], CATALOG, Effect.PUBLISH, CLASSIFIER)
        assert not verdict.permitted

    def test_inside_it_may_be_trained_and_served(self):
        for effect in (Effect.TRAIN, Effect.SERVE):
            assert all(verdict.permitted for verdict in may_flow([label(OPENAI)], CATALOG, effect, CLASSIFIER))


@given(st.sampled_from([document.id for document in CATALOG.documents]), st.sampled_from(list(Relation)))
def test_an_internal_classifier_is_the_same_question_asked_either_way(document, relation):
    asked_by_use = judge(document, Use.TRAIN_INTERNAL_CLASSIFIER, relation=relation)
    asked_by_facts = judge(document, Use.TRAIN, CLASSIFIER, relation)
    assert replace(asked_by_use, use=Use.TRAIN) == asked_by_facts


class TestDocumentsThatBindTogether:
    def test_the_one_that_forbids_decides(self):
        training = judge("mistral-api-2024-02-08", Use.TRAIN, at=date(2024, 2, 20))
        measuring = judge("mistral-api-2024-02-08", Use.BENCHMARK_TEACHER, at=date(2024, 2, 20))
        assert (training.document, training.permitted) == ("mistral-tou-2024-02-08", False)
        assert (measuring.document, measuring.permitted) == ("mistral-api-2024-02-08", False)

    @pytest.mark.parametrize(
        ("day", "policy"),
        [
            ("2025-07-01", "anthropic-aup-2024-06-06"),
            ("2025-10-01", "anthropic-aup-2025-09-15"),
            ("2026-11-21", "anthropic-aup-2026-11-12"),
        ],
    )
    def test_the_version_of_the_day_binds(self, day, policy):
        verdict = judge("anthropic-commercial-2025-06-17", Use.TRAIN, CLASSIFIER, at=date.fromisoformat(day))
        assert (verdict.document, verdict.permitted) == (policy, False)

    def test_an_unread_companion_withholds_permission_but_hides_no_prohibition(self):
        main = CATALOG.document("openai-sa-2026-01-01")
        both = replace(main, companions=(CATALOG.document("azure-openai-product-terms"),))
        serve = judge_use("a/b@c", both, Use.SERVE, Relation.OUTPUT, Facts(), TODAY)
        train = judge_use("a/b@c", both, Use.TRAIN, Relation.OUTPUT, Facts(), TODAY)
        assert (serve.permitted, serve.established) == (False, False)
        assert (train.permitted, train.established) == (False, True)

    def test_their_obligations_add_up(self):
        verdict = judge("mistral-api-2024-02-08", Use.SERVE, at=date(2024, 2, 20))
        assert {o.document for o in verdict.obligations} == {"mistral-api-2024-02-08", "mistral-tou-2024-02-08"}


class TestGemma:
    def test_a_distributed_student_is_a_model_derivative(self):
        owed = {"pass-on-restrictions", "pass-on-terms", "mark-changes", "notice-file", "delete-on-termination"}
        assert owed <= kinds(judge("gemma-terms-2025-03-24", Use.TRAIN))

    def test_the_notice_is_the_exact_sentence_of_the_terms(self):
        values = {o.value for o in judge("gemma-terms-2025-03-24", Use.PUBLISH).obligations}
        assert (
            "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms" in values
        )

    def test_hosting_needs_no_notice_file(self):
        served = kinds(judge("gemma-terms-2025-03-24", Use.SERVE))
        assert "notice-file" not in served
        assert "pass-on-terms" in served

    def test_an_internal_student_is_still_deleted_on_termination(self):
        assert kinds(judge("gemma-terms-2025-03-24", Use.TRAIN, INTERNAL)) == {"conduct", "delete-on-termination"}


class TestLlama:
    def test_a_distributed_students_name_begins_with_llama(self):
        assert "name-begins-with" in kinds(judge("llama3.1-community", Use.TRAIN))
        assert judge("llama3.1-community", Use.TRAIN, Facts(student=Student(name="Llama-Seed"))).permitted

    @pytest.mark.parametrize("use", [Use.TRAIN, Use.REWARD, Use.SERVE, Use.PUBLISH])
    def test_another_name_is_refused(self, use):
        verdict = judge("llama3.1-community", use, Facts(student=Student(name="Seedling")))
        assert not verdict.permitted
        assert verdict.clause == "1.b.i"
        assert "choose another name" in verdict.because

    def test_an_internal_student_may_have_any_name_until_it_is_published(self):
        facts = Facts(student=Student(name="Seedling", distributed=False))
        assert judge("llama3.1-community", Use.TRAIN, facts).permitted
        assert not judge("llama3.1-community", Use.PUBLISH, facts).permitted

    def test_above_the_cap_meta_must_be_asked(self):
        assert judge("llama3.1-community", Use.TRAIN, Facts(monthly_users=700_000_000)).permitted
        verdict = judge("llama3.1-community", Use.TRAIN, Facts(monthly_users=700_000_001))
        assert not verdict.permitted
        assert "700000001 monthly users" in verdict.because

    def test_only_weights_grown_from_weights_carry_the_notice(self):
        assert "notice-file" in kinds(judge("llama3.1-community", Use.PUBLISH, relation=Relation.WEIGHTS))
        assert "notice-file" not in kinds(judge("llama3.1-community", Use.PUBLISH))


def test_apache_binds_weights_and_leaves_answers_free():
    assert judge("apache-2.0-weights", Use.PUBLISH).obligations == ()
    assert kinds(judge("apache-2.0-weights", Use.PUBLISH, relation=Relation.WEIGHTS)) == {
        "pass-on-terms",
        "mark-changes",
        "display",
    }


def test_tongyi_lets_its_own_weights_be_tuned_but_not_others_be_taught():
    assert not judge("qwen-tongyi-2023-08-03", Use.TRAIN).permitted
    assert judge("qwen-tongyi-2023-08-03", Use.TRAIN, relation=Relation.WEIGHTS).permitted


def test_a_service_says_nothing_of_weights_so_they_are_refused():
    assert not judge("deepseek-platform-2026-04-29", Use.TRAIN, relation=Relation.WEIGHTS).permitted


class TestRegions:
    LISTED = replace(
        CATALOG.document("openai-sa-2026-01-01"),
        regions=Regions(text="supported", supported=("FR",), unsupported=("CN",)),
    )

    def serve(self, region: str | None) -> Verdict:
        return judge_use("a/b@c", self.LISTED, Use.SERVE, Relation.OUTPUT, Facts(region=region), TODAY)

    def test_an_unread_list_leaves_it_to_the_user_to_make_sure(self):
        for region in (None, "FR"):
            verdict = judge("openai-sa-2026-01-01", Use.SERVE, Facts(region=region))
            assert verdict.permitted
            assert "regions" in kinds(verdict)

    def test_a_read_list_decides(self):
        assert self.serve("FR").permitted
        assert "regions" not in kinds(self.serve("FR"))
        assert not self.serve("CN").permitted
        assert not self.serve("XX").permitted

    def test_an_undeclared_region_leaves_an_obligation(self):
        assert "regions" in kinds(self.serve(None))


class TestFlow:
    def test_permitted_sources_flow_on_together(self):
        verdicts = may_flow(
            [label(SMOLLM), label(SMOLLM, Relation.WEIGHTS), label(OWN)], CATALOG, Effect.TRAIN, Facts()
        )
        assert [verdict.permitted for verdict in verdicts] == [True, True, True]

    def test_one_refused_source_among_permitted_ones_is_named(self):
        verdicts = may_flow([label(SMOLLM), label(OPENAI)], CATALOG, Effect.TRAIN, Facts())
        assert {verdict.source for verdict in verdicts if not verdict.permitted} == {OPENAI[0]}

    @pytest.mark.parametrize("relation", [Relation.FILTER, Relation.SCORE])
    def test_a_judge_that_picked_training_data_is_asked_as_reward(self, relation):
        (verdict,) = may_flow([label(OPENAI, relation)], CATALOG, Effect.TRAIN, Facts())
        assert (verdict.use, verdict.permitted) == (Use.REWARD, False)

    def test_serving_asks_again_whether_it_may_learn(self):
        (verdict,) = may_flow([label(OPENAI)], CATALOG, Effect.SERVE, Facts())
        assert (verdict.use, verdict.permitted) == (Use.TRAIN, False)

    def test_an_effect_that_goes_nowhere_asks_nothing(self):
        assert may_flow([label(OPENAI), label(AZURE)], CATALOG, Effect.NONE, Facts()) == ()

    @pytest.mark.parametrize("terms", ["", "0" * 64])
    def test_a_label_whose_terms_are_not_known_is_refused(self, terms):
        (verdict,) = may_flow([Label(SMOLLM[0], Relation.OUTPUT, terms)], CATALOG, Effect.TRAIN, Facts())
        assert not verdict.permitted
        assert not verdict.established

    def test_a_label_cannot_borrow_the_terms_of_another_source(self):
        borrowed = Label(OPENAI[0], Relation.OUTPUT, CATALOG.document("own-work").digest)
        (verdict,) = may_flow([borrowed], CATALOG, Effect.TRAIN, Facts())
        assert not verdict.permitted

    def test_the_terms_of_the_day_it_was_asked_decide(self):
        source = "mistral/mistral-large@api"
        before, after = (CATALOG.governing(source, date(2024, *day)) for day in ((2, 20), (3, 1)))
        assert before is not None
        assert after is not None
        flows = [
            may_flow([Label(source, Relation.OUTPUT, document.digest)], CATALOG, Effect.TRAIN, Facts())[0].permitted
            for document in (before, after)
        ]
        assert flows == [False, True]

    def test_names_at_odds_refuse_the_sources_that_ask_for_them(self):
        facts = Facts(student=Student(name="Llama-DeepSeek"))
        verdicts = may_flow([label(LLAMA), label(DEEPSEEK), label(SMOLLM)], CATALOG, Effect.TRAIN, facts)
        assert {verdict.source for verdict in verdicts if not verdict.permitted} == {DEEPSEEK[0]}


GOVERNED = [
    (pattern.replace("*", "any"), document.digest) for document in CATALOG.documents for pattern in document.sources
]
ANY_LABEL = st.builds(
    lambda governed, relation: Label(governed[0], relation, governed[1]),
    st.sampled_from([*GOVERNED, ("a/a@api", ""), ("a/a@api", "0" * 64)]),
    st.sampled_from(list(Relation)),
)
ANY_FACTS = st.builds(
    Facts,
    student=st.builds(
        Student,
        kind=st.sampled_from(["chat", "classifier", "embedding"]),
        distributed=st.booleans(),
        name=st.sampled_from([None, "Seedling", "Llama-Seed", "Llama-DeepSeek"]),
    ),
    region=st.sampled_from([None, "FR", "CN"]),
    monthly_users=st.sampled_from([None, 10**6, 10**9]),
)
SOME_EFFECT = st.sampled_from([Effect.TRAIN, Effect.SERVE, Effect.PUBLISH])


@given(st.lists(ANY_LABEL, max_size=4), ANY_LABEL, SOME_EFFECT, ANY_FACTS)
def test_another_label_never_turns_a_refusal_into_a_permission(labels, more, effect, facts):
    before = all(verdict.permitted for verdict in may_flow(labels, CATALOG, effect, facts))
    after = all(verdict.permitted for verdict in may_flow([*labels, more], CATALOG, effect, facts))
    assert before or not after


@given(st.lists(ANY_LABEL, max_size=4), ANY_LABEL, SOME_EFFECT, ANY_FACTS)
def test_obligations_only_grow_with_labels(labels, more, effect, facts):
    def owed(of: list[Label]) -> set[object]:
        return {o for verdict in may_flow(of, CATALOG, effect, facts) for o in verdict.obligations}

    assert owed(labels) <= owed([*labels, more])


@given(st.lists(ANY_LABEL, max_size=4, unique=True), SOME_EFFECT, ANY_FACTS)
def test_every_label_gets_a_verdict_in_the_same_order_whatever_order_they_come_in(labels, effect, facts):
    verdicts = may_flow(labels, CATALOG, effect, facts)
    assert len(verdicts) == len(labels)
    assert verdicts == may_flow(labels[::-1], CATALOG, effect, facts)


@given(ANY_LABEL, SOME_EFFECT, ANY_FACTS)
def test_what_may_be_published_may_also_be_trained(one, effect, facts):
    if may_flow([one], CATALOG, Effect.PUBLISH, facts)[0].permitted:
        assert may_flow([one], CATALOG, Effect.TRAIN, facts)[0].permitted


@given(st.lists(ANY_LABEL, max_size=3), st.lists(ANY_LABEL, max_size=3), SOME_EFFECT, ANY_FACTS)
def test_a_verdict_is_the_intersection_of_the_verdicts_of_its_parts(first, second, effect, facts):
    def permitted(labels: list[Label]) -> bool:
        return all(verdict.permitted for verdict in may_flow(labels, CATALOG, effect, facts))

    alone = [verdict for one in {*first, *second} for verdict in may_flow([one], CATALOG, effect, facts)]
    together = all(verdict.permitted for verdict in alone) and not conflict(
        (o for verdict in alone for o in verdict.obligations), facts.student.name
    )
    assert permitted([*first, *second]) == together
    assert not permitted([*first, *second]) or (permitted(first) and permitted(second))


def test_labels_at_odds_are_named_and_are_the_fewest():
    from tests.terms.made import catalog, document, duty, permits

    texts = (
        document("a", "a/*@api", permits(*Use), duties=(duty("name-begins-with", "Llama"),)),
        document("b", "b/*@api", permits(*Use), duties=(duty("name-without", "llama"),)),
        document("c", "c/*@api", permits(*Use), duties=(duty("notice-file", "c"),)),
    )
    labels = [Label(f"{text.id}/m@api", Relation.OUTPUT, text.digest) for text in texts]
    verdicts = may_flow(labels, catalog(*texts), Effect.TRAIN, Facts())
    assert [verdict.permitted for verdict in verdicts] == [False, False, True]
    assert verdicts[0].at_odds == (labels[0], labels[1])
