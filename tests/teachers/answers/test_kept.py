"""The line that an answer is kept as."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.core.chat import Answer, TokenLogprob
from trueseed.teachers.answers.kept import Kept, key
from trueseed.terms.model import Use

KEPT = Kept(
    teacher="a" * 64,
    request="b" * 64,
    source="acme/large@api",
    use=Use.JUDGE,
    project="seed",
    terms="c" * 64,
    asked_at="2026-11-21T09:30:00Z",
    step="d" * 64,
    answer=Answer(text="ä", finish="stop", prompt_tokens=3, completion_tokens=1, logprobs=(TokenLogprob("ä", -0.5),)),
)

text = st.text(st.characters(exclude_categories=["Cs"]))
told = (text | st.integers(0, 10**6), st.floats(max_value=0, allow_infinity=False))
tops = st.lists(st.builds(TokenLogprob, *told, st.binary(max_size=4)), max_size=3).map(tuple)
answers = st.builds(
    Answer,
    text=text,
    finish=st.sampled_from(["stop", "length", "skipped"]),
    prompt_tokens=st.integers(0, 10**9),
    completion_tokens=st.integers(0, 10**9),
    because=text,
    logprobs=st.lists(st.builds(TokenLogprob, *told, st.binary(max_size=4), tops)).map(tuple),
    tool_calls=st.lists(st.dictionaries(text, text)).map(tuple),
)


@settings(max_examples=40)
@given(answers)
def test_what_is_kept_comes_back(answer):
    kept = replace(KEPT, answer=answer)
    assert Kept.parse(json.dumps(kept.to_json(), ensure_ascii=False).encode()) == kept


def test_an_answer_without_the_most_probable_tokens_is_kept_as_before():
    assert KEPT.to_json()["answer"]["logprobs"] == [["ä", -0.5]]


@pytest.mark.parametrize("changed", [("e" * 64, KEPT.source, KEPT.request), (KEPT.teacher, "acme/l@x", KEPT.request)])
def test_the_key_covers_teacher_source_and_request(changed):
    assert KEPT.key == key(KEPT.teacher, KEPT.source, KEPT.request)
    assert KEPT.key != key(*changed)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.data())
def test_anything_else_is_a_value_error(data):
    whole = KEPT.to_json()
    inside = data.draw(st.sampled_from([whole, whole["answer"]]))
    name = data.draw(st.sampled_from([*inside, "more"]))
    inside[name] = data.draw(values)
    try:
        found = Kept.parse(json.dumps(whole))
    except ValueError:
        return
    assert found.to_json() == whole


@pytest.mark.parametrize("line", ["", "[]", "{}", "[" * 100_000, '{"answer": 1}', "\x00"])
def test_what_is_no_answer_is_a_value_error(line):
    with pytest.raises(ValueError):
        Kept.parse(line)
