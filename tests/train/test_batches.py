"""Records to batches: what is refused, what is left out, and in which order the rest comes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.chat import Message, user
from trueseed.core.records import Origin, Record
from trueseed.errors import ConfigError
from trueseed.lm.format import Format
from trueseed.train.batches import Example, examples, in_batches, plan

ORIGIN = Origin(kind="human", source="own/tests", project="", use="", terms="", asked_at="2026-01-01T00:00:00Z")

lengths = st.lists(st.integers(2, 50), min_size=1, max_size=60)


def record(question: str, answer: str) -> Record:
    return Record(messages=(*user(question), Message("assistant", answer)), origin=ORIGIN)


def rows_of(lengths: list[int]) -> tuple[Example, ...]:
    return tuple(
        Example(id=str(at), tokens=tuple(range(at, at + length)), mask=(False,) + (True,) * (length - 1))
        for at, length in enumerate(lengths)
    )


@pytest.fixture(scope="module")
def form(tiny_llama: Path) -> Format:
    return Format(tiny_llama)


def test_only_the_answer_and_its_end_are_trained_on(form: Format) -> None:
    (example,) = examples([record("Tell me a story.", "The sea.")], form, max_length=100).kept
    trained = [token for token, counts in zip(example.tokens, example.mask, strict=True) if counts]
    assert form.tokenizer.decode(trained) == "The sea.<|end|>"


def test_a_record_without_a_trainable_token_is_refused_by_name(form: Format) -> None:
    good, empty = record("one", "two"), record("three", "  ")
    with pytest.raises(ConfigError, match=empty.id[:16]):
        examples([good, empty], form, max_length=100)


def test_a_record_that_is_too_long_is_left_out_whole_and_named(form: Format) -> None:
    short, long = record("one", "two"), record("one", "two " * 100)
    found = examples([short, long], form, max_length=60)
    assert [example.id for example in found.kept] == [short.id]
    assert found.too_long == (long.id,)


def test_the_smallest_context_is_how_long_a_record_may_be_and_is_named(form: Format) -> None:
    short, long = record("one", "two"), record("one", "two " * 100)
    contexts = {"student": 500, "teacher": 60, "other": None}
    found = examples([short, long], form, max_length=1000, contexts=contexts)
    assert (found.too_long, found.room) == ((long.id,), "60 tokens (the teacher's context)")
    assert str(found).startswith("1 of 2 records left out (`too_long: drop`): more than 60 tokens")
    with pytest.raises(
        ConfigError, match=rf"1 record of more than 60 tokens \(the teacher's context\).*{long.id[:16]}"
    ):
        examples([short, long], form, max_length=1000, contexts=contexts, too_long="refuse")
    assert examples([long], form, max_length=60, may_be_none=True).kept == ()


def test_nothing_left_to_train_on_is_an_error_that_says_what_to_change(form: Format) -> None:
    with pytest.raises(ConfigError, match="max_length=3"):
        examples([record("one", "two")], form, max_length=3)
    with pytest.raises(ConfigError, match="no records"):
        examples([], form, max_length=3)


@given(lengths, st.integers(10, 200), st.integers(1, 3), st.integers(0, 5))
def test_an_epoch_visits_every_row_once_within_its_budget(
    lengths: list[int], budget: int, accumulation: int, seed: int
) -> None:
    rows = rows_of(lengths)
    steps = plan(rows, tokens_per_batch=budget, gradient_accumulation_steps=accumulation, seed=seed, epoch=0)
    batches = [batch for step in steps for batch in step]
    assert sorted(row.id for batch in batches for row in batch) == sorted(row.id for row in rows)
    assert all(len(batch) == 1 or sum(len(row.tokens) for row in batch) <= budget for batch in batches)


@given(lengths, st.integers(0, 5))
def test_the_order_is_a_function_of_seed_and_epoch(lengths: list[int], seed: int) -> None:
    rows = rows_of(lengths)

    def order(seed: int, epoch: int) -> list[list[str]]:
        steps = plan(rows, tokens_per_batch=60, gradient_accumulation_steps=1, seed=seed, epoch=epoch)
        return [[row.id for row in batch] for step in steps for batch in step]

    assert order(seed, 1) == order(seed, 1)
    if len(rows) > 20:
        assert order(seed, 0) != order(seed, 1) != order(seed + 1, 1)


@given(lengths, st.integers(10, 200))
def test_measuring_visits_every_row_once(lengths: list[int], budget: int) -> None:
    visited = [row.id for batch in in_batches(rows_of(lengths), budget) for row in batch]
    assert sorted(visited) == sorted(row.id for row in rows_of(lengths))
