import json
from datetime import date

import pytest

from trueseed.errors import ConfigError
from trueseed.terms import Catalog, Facts, Use, Verdict, listing, may, shown
from trueseed.terms.answers import given, lines, sentences, told

CATALOG = Catalog.load()
TODAY = date(2026, 11, 21)


def ask(use: Use, subject: str, at: date = TODAY, **facts) -> Verdict:
    return may(use, subject, at=at, catalog=CATALOG, facts=given(Facts(), **facts))


@pytest.mark.parametrize(
    ("subject", "day", "permitted", "document"),
    [
        ("mistral/mistral-large@api", date(2024, 2, 20), False, "mistral-tou-2024-02-08"),
        ("mistral/mistral-large@api", date(2024, 2, 26), False, "mistral-api-2024-02-26"),
        ("mistral/mistral-large@api", date(2024, 3, 1), True, "mistral-terms-2024-02-27"),
        ("openai/gpt-4@api", date(2023, 5, 1), False, "openai-tou-2023-03-14"),
        ("openai/gpt-4@api", TODAY, False, "openai-sa-2026-01-01"),
        ("openai/gpt-4@azure", TODAY, False, "azure-openai-product-terms"),
        ("deepseek/deepseek-chat@api", TODAY, True, "deepseek-platform-2026-04-29"),
        ("anthropic/claude@api", TODAY, False, "anthropic-commercial-2025-06-17"),
        ("huggingfacetb/smollm2-135m-instruct@weights", TODAY, True, "apache-2.0-weights"),
        ("google/gemma-3-270m@weights", TODAY, True, "gemma-terms-2025-03-24"),
        ("meta/llama-3.1-8b-instruct@weights", TODAY, True, "llama3.1-community"),
        ("qwen/qwen-7b-chat@weights", TODAY, False, "qwen-tongyi-2023-08-03"),
        ("own/anna", TODAY, True, "own-work"),
        ("nobody/knows@api", TODAY, False, ""),
    ],
)
def test_a_source_is_judged_by_the_text_of_the_day(subject, day, permitted, document):
    verdict = ask(Use.TRAIN, subject, day)
    assert (verdict.permitted, verdict.document, verdict.source) == (permitted, document, subject)


def test_one_document_alone_leaves_out_what_it_incorporates():
    alone = ask(Use.TRAIN_INTERNAL_CLASSIFIER, "doc:anthropic-commercial-2025-06-17")
    together = ask(Use.TRAIN_INTERNAL_CLASSIFIER, "anthropic/claude@api")
    assert (alone.document, alone.established) == ("anthropic-commercial-2025-06-17", False)
    assert (together.document, together.established) == ("anthropic-aup-2026-11-12", True)


def test_one_document_answers_whatever_the_day():
    assert ask(Use.TRAIN, "doc:mistral-terms-2024-02-27", date(2020, 1, 1)).permitted


def test_an_internal_classifier_is_train_with_such_a_student():
    assert ask(Use.TRAIN, "openai/gpt-4@api", student="classifier", distributed=False).permitted
    assert ask(Use.TRAIN_INTERNAL_CLASSIFIER, "openai/gpt-4@api").permitted


def test_a_day_before_every_version_says_which_are_known():
    verdict = ask(Use.TRAIN, "openai/gpt-4@api", date(2022, 1, 1))
    assert not verdict.permitted
    assert "openai-tou-2023-03-14 (from 2023-03-14 until 2023-08-28)" in verdict.because


def test_a_region_is_passed_on():
    verdict = ask(Use.SERVE, "openai/gpt-4@api", region="FR")
    assert any("'FR'" in obligation.text for obligation in verdict.obligations)


@pytest.mark.parametrize("subject", ["gpt-4", "doc:nothing-like-it", "doc:"])
def test_what_cannot_be_read_is_the_users_to_mend(subject):
    with pytest.raises(ConfigError):
        ask(Use.TRAIN, subject)


def test_an_unknown_use_is_told_its_nearest():
    with pytest.raises(ConfigError, match="nearest: judge"):
        ask("juge", "openai/gpt-4@api")  # type: ignore[arg-type]


def test_an_unknown_kind_of_student_is_told_its_nearest():
    with pytest.raises(ConfigError, match="nearest: classifier"):
        ask(Use.TRAIN, "openai/gpt-4@api", student="clasifier")


def test_a_name_decides_for_llama():
    assert ask(Use.TRAIN, "doc:llama3.1-community", name="Llama-Seed").permitted
    assert not ask(Use.TRAIN, "doc:llama3.1-community", name="Seed").permitted


def test_a_verdict_is_told_in_lines():
    told = sentences(ask(Use.TRAIN, "google/gemma-3-270m@weights"))
    assert told[0] == "google/gemma-3-270m@weights, train: permitted"
    assert any("Notice" in line for line in told)
    assert sentences(ask(Use.TRAIN, "openai/gpt-4@azure"))[0].endswith("refused: not established")


def test_a_document_is_told_in_lines():
    told = "\n".join(lines(shown(CATALOG, "apache-2.0-weights")))
    for part in ("c71d239df91726fc", "learned from UltraFeedback", "publish_benchmark          permit"):
        assert part in told


def test_a_document_tells_what_is_owed_for_its_weights_too():
    [owed, *_] = [line for line in lines(shown(CATALOG, "apache-2.0-weights")) if line.startswith("  owed")]
    duty = CATALOG.document("apache-2.0-weights").duties[0]
    assert duty.text in owed
    assert "weights" in owed


def test_the_list_is_told_with_whole_ids_and_sources():
    lines_told = told(listing(CATALOG))
    for document in CATALOG.documents:
        assert f"{document.id}: {document.document}" in lines_told
        assert any(", ".join(document.sources) in line for line in lines_told)


def test_the_answer_is_a_sentence():
    assert str(ask(Use.TRAIN, "openai/gpt-4@api")).startswith("openai/gpt-4@api may not be used to train: ")
    assert "To settle it: read " in str(ask(Use.TRAIN, "openai/gpt-4@azure"))


def test_the_list_names_every_document_once():
    assert sorted(line["id"] for line in listing(CATALOG)) == sorted(document.id for document in CATALOG.documents)


def test_list_and_show_are_plain_json():
    assert json.loads(json.dumps(listing(CATALOG))) == listing(CATALOG)
    for document in CATALOG.documents:
        content = shown(CATALOG, document.id)
        assert json.loads(json.dumps(content)) == content
        assert content["digest"] == document.digest
        assert set(content["uses"]) == {use.value for use in Use}
