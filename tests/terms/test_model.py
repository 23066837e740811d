import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.errors import ConfigError
from trueseed.terms import Label, Relation, Source, Student, Use, parse_source

words = st.from_regex(r"[a-z0-9][a-z0-9._:+-]*", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("openai/gpt-4@azure", Source("openai", "gpt-4", "azure")),
        ("qwen/qwen2.5-7b-instruct@weights", Source("qwen", "qwen2.5-7b-instruct", "weights")),
        ("own/anna", Source("own", "anna", "")),
    ],
)
def test_a_source_is_read_into_its_parts(text, source):
    assert parse_source(text) == source


@given(words, words, words)
def test_a_source_survives_being_written_and_read(maker, model, route):
    source = Source(maker, model, route)
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    "text", ["gpt-4", "openai/gpt-4", "openai/@api", "a/b/c@api", "own/", "a/b@c@d", "", "a b/c@api"]
)
def test_a_malformed_source_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="openai/gpt-4@azure"):
        parse_source(text)


def test_a_source_in_capitals_is_told_its_spelling():
    with pytest.raises(ConfigError, match="did you mean 'openai/gpt-4@api'"):
        parse_source("OpenAI/GPT-4@api")


def test_labels_sort_and_survive_json():
    labels = [Label("b/b@api", Relation.OUTPUT, "1"), Label("a/a@api", Relation.WEIGHTS, "2")]
    assert [Label.from_json(label.to_json()) for label in sorted(labels)] == labels[::-1]


@pytest.mark.parametrize(
    ("student", "internal"),
    [
        (Student(), False),
        (Student(distributed=False), False),
        (Student(kind="classifier"), False),
        (Student(kind="classifier", distributed=False), True),
        (Student(kind="embedding", distributed=False), True),
    ],
)
def test_only_an_undistributed_classifier_or_embedding_is_an_internal_classifier(student, internal):
    assert student.is_internal_classifier is internal


def test_fields_that_came_later_are_written_only_when_they_say_something():
    from dataclasses import fields, replace

    from tests.terms.made import document, permits

    from trueseed.terms.catalog import from_json

    plain = document("a", "a/*@api", permits(Use.TRAIN))
    came_later = {each.name for each in fields(plain) if each.metadata.get("later")}
    assert came_later
    assert not came_later & set(plain.to_json())
    said = replace(plain, model_routes=("weights",), binds_earlier=True, beside=(plain,))
    assert from_json(said.to_json()) == said
    assert said.digest != plain.digest
