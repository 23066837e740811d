"""Stored thoughts of a teacher: found for the very record and tokens that it read, or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.test_codec import same, spoken

from trueseed.errors import Broken, ConfigError
from trueseed.lm.topk import TopK
from trueseed.train import codec
from trueseed.train.signals import ABOUT_FILE, FILE, About, Signals, fingerprint, write

VOCABULARY = 300
ABOUT = About(source="own/tests", k=4, vocabulary=VOCABULARY, tokenizer="t", template="c")
Entry = tuple[str, tuple[int, ...], tuple[bool, ...], TopK]


def entry(at: int, *, answer: int = 5, k: int = 4) -> Entry:
    tokens = tuple(range(1, 4 + answer + at % 3))
    mask = tuple(place >= len(tokens) - answer for place in range(len(tokens)))
    return f"record-{at}", tokens, mask, spoken(answer, k, VOCABULARY, seed=at)


@pytest.fixture
def entries() -> list[Entry]:
    return [entry(at, answer=1 + at % 7) for at in range(70)]


def test_every_record_comes_back_as_the_codec_kept_it(tmp_path: Path, entries: list[Entry]) -> None:
    about = write(tmp_path, ABOUT, entries)
    found = Signals.open(tmp_path)
    assert len(found) == about.records == len(entries)
    assert found.about == about
    for record, _, _, topk in entries:
        assert same(found[record], codec.kept(topk))


def test_what_is_said_of_them_is_counted(tmp_path: Path, entries: list[Entry]) -> None:
    about = write(tmp_path, ABOUT, entries)
    assert about.places == sum(sum(mask) for _, _, mask, _ in entries)
    kept = [np.exp(topk.logprobs.astype(np.float64)).sum(1) for *_, topk in entries]
    assert about.mass == pytest.approx(np.concatenate(kept).mean(), abs=1e-5)
    sizes = [len(codec.encode(topk, vocabulary=VOCABULARY)) for *_, topk in entries]
    assert about.bytes_per_token == pytest.approx(sum(sizes) / about.places)
    assert json.loads((tmp_path / ABOUT_FILE).read_text())["source"] == "own/tests"


def test_a_record_read_as_other_tokens_is_refused_by_name(tmp_path: Path, entries: list[Entry]) -> None:
    write(tmp_path, ABOUT, entries)
    found = Signals.open(tmp_path)
    rows = [(record, tokens, mask) for record, tokens, mask, _ in entries]
    found.must_cover(rows)
    record, tokens, mask = rows[3]
    with pytest.raises(ConfigError, match=r"read 1 records as other tokens .*record-3\b"):
        found.must_cover([*rows[:3], (record, (9, *tokens[1:]), mask)])
    with pytest.raises(ConfigError, match=r"other tokens"):
        found.must_cover([(record, tokens, (*mask[:-1], False))])


def test_a_record_the_teacher_never_saw_is_refused_by_name(tmp_path: Path, entries: list[Entry]) -> None:
    write(tmp_path, ABOUT, entries[1:])
    found = Signals.open(tmp_path)
    with pytest.raises(ConfigError, match=r"not asked about 1 records: record-0\."):
        found.must_cover([(record, tokens, mask) for record, tokens, mask, _ in entries])
    with pytest.raises(ConfigError, match="not asked about record record-0"):
        found["record-0"]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20), st.data())
@settings(max_examples=30)
def test_other_tokens_or_another_mask_have_another_fingerprint(tokens: list[int], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(tokens), max_size=len(tokens)))
    at = data.draw(st.integers(0, len(tokens) - 1))
    changed = [*tokens[:at], (tokens[at] + 1) % 2**32, *tokens[at + 1 :]]
    flipped = [*mask[:at], not mask[at], *mask[at + 1 :]]
    assert len({fingerprint(tokens, mask), fingerprint(changed, mask), fingerprint(tokens, flipped)}) == 3


def thought(**changed: Any) -> Entry:
    record, tokens, mask, topk = entry(0, answer=1)
    return (
        record,
        tokens,
        mask,
        TopK(**{**{name: getattr(topk, name) for name in ("ids", "logprobs", "tail")}, **changed}),
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"logprobs": np.log(np.float32([[0.5, 0.3, 0.2, 0.1]]))}, r"record-0: probabilities of a token sum to 1\.1"),
        ({"tail": np.float32([0.0])}, "sum to"),
        ({"logprobs": np.float32([[-1, -2, np.nan, -4]])}, "record-0: a log-probability is not a number"),
        ({"tail": np.float32([np.nan])}, "not a number"),
        ({"ids": np.int32([[1, 2, 3, 300]])}, "not all in a vocabulary of 300"),
        ({"ids": np.int32([[1, 2, 1, 3]])}, "stands twice"),
    ],
)
def test_what_cannot_be_probabilities_is_not_stored(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        write(tmp_path, ABOUT, [thought(**changed)])


def test_thoughts_of_fewer_places_or_another_k_are_not_stored(tmp_path: Path) -> None:
    record, tokens, _, topk = entry(0)
    with pytest.raises(ConfigError, match=r"has 4 answer tokens .*gave 5 times"):
        write(tmp_path, ABOUT, [(record, tokens, (False,) * (len(tokens) - 4) + (True,) * 4, topk)])
    with pytest.raises(ConfigError, match="give 4"):
        write(tmp_path, ABOUT, [entry(0, k=3)])


def test_a_record_given_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        write(tmp_path, ABOUT, [entry(0), entry(0)])


def test_what_was_not_finished_cannot_be_opened(tmp_path: Path, entries: list[Entry]) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        write(tmp_path, ABOUT, [*entries, entries[0]])
    with pytest.raises(ConfigError, match="holds no signals"):
        Signals.open(tmp_path)


def test_changed_and_cut_files_are_broken(tmp_path: Path, entries: list[Entry]) -> None:
    write(tmp_path, ABOUT, entries)
    whole = (tmp_path / FILE).read_bytes()
    blob = codec.encode(entries[5][3], vocabulary=VOCABULARY)
    at = whole.index(blob) + 20
    (tmp_path / FILE).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(Broken, match="record-5"):
        Signals.open(tmp_path)["record-5"]
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Broken, match="cannot be read"):
        Signals.open(tmp_path)
    (tmp_path / FILE).write_bytes(whole)
    (tmp_path / ABOUT_FILE).write_text("{}")
    with pytest.raises(Broken, match="lacks"):
        Signals.open(tmp_path)
