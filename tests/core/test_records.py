"""A record keeps its identity through every way of writing it down."""

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.core.chat import Message, user
from trueseed.core.merkle import inclusion, leaf_hash, root_from_inclusion
from trueseed.core.records import Origin, Record, read_parquet, record_root, write_parquet

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
messages = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), text), min_size=1, max_size=4)
origins = st.builds(
    Origin,
    kind=st.sampled_from(["teacher", "human", "dataset", "transform"]),
    source=text, project=text, use=text, terms=text, asked_at=text, request=text,
    parents=st.lists(text, max_size=3).map(tuple),
)  # fmt: skip
values = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e6, 1e6) | text
records = st.builds(
    Record,
    messages=messages.map(tuple),
    origin=origins,
    task=st.dictionaries(text, values | st.lists(values, max_size=3), max_size=3),
    scores=st.dictionaries(text, st.floats(allow_nan=False), max_size=3),
)


@pytest.fixture
def record():
    origin = Origin(kind="human", source="own/me", project="p", use="", terms="", asked_at="2026-01-01T00:00:00Z")
    return Record(messages=(*user("Hi?"), Message("assistant", "Hello.")), origin=origin, task={"prompt": "Hi?"})


@given(records)
def test_a_record_is_read_back_from_json_as_it_was(record):
    again = Record.from_json(record.to_json())
    assert again == record
    assert again.id == record.id


@settings(max_examples=30, deadline=None)
@given(st.lists(records, max_size=4))
def test_records_are_read_back_from_parquet_as_they_were(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("parquet") / "records.parquet"
    assert write_parquet(some, path) == len(some)
    again = list(read_parquet(path))
    assert again == some
    assert [record.id for record in again] == [record.id for record in some]


def test_scores_are_not_part_of_the_identity(record):
    assert replace(record, scores={"length": 1.0}).id == record.id


def test_words_origin_and_task_are_part_of_the_identity(record):
    others = [
        replace(record, messages=(*user("Hi?"), Message("assistant", "Hello!"))),
        replace(record, origin=replace(record.origin, source="own/you")),
        replace(record, origin=replace(record.origin, parents=("x",))),
        replace(record, task={}),
    ]
    assert len({record.id, *(other.id for other in others)}) == 5


def test_the_answer_is_the_last_message(record):
    assert record.answer == "Hello."


def test_one_record_is_proven_by_the_root_without_the_others():
    ids = [f"{number:064x}" for number in range(11)]
    leaves = [leaf_hash(each.encode()) for each in ids]
    assert root_from_inclusion(leaves[7], 7, len(ids), inclusion(leaves, 7)).hex() == record_root(ids)


def test_a_file_that_is_not_ours_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"not parquet")
    with pytest.raises(pa.ArrowInvalid):
        list(read_parquet(tmp_path / "file"))
