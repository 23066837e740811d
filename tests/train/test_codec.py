"""Stored log-probabilities: what comes back is what was kept, in at most 120 bytes a token."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.errors import Broken, ConfigError
from trueseed.lm.topk import Drawn, TopK
from trueseed.train.codec import LEAST, ROUNDING, decode, encode, kept

VOCABULARIES = (2, 300, 49_152, 65_536, 65_537, 151_936, 262_144, 1_000_000)

nats = st.one_of(
    st.floats(0, 2, width=32), st.floats(0, 60, width=32), st.sampled_from([0.0, 1e-30, 0.5, 1.0, 2.0, 200.0, np.inf])
)


@st.composite
def thoughts(draw: st.DrawFn) -> tuple[TopK, int]:
    vocabulary = draw(st.sampled_from(VOCABULARIES))
    places, k, m = draw(st.integers(0, 5)), draw(st.integers(1, 9)), draw(st.integers(0, 9))

    def ids(many: int) -> np.ndarray:
        some = st.lists(st.integers(0, vocabulary - 1), min_size=places * many, max_size=places * many)
        return np.array(draw(some), np.int32).reshape(places, many)

    def numbers(many: int) -> np.ndarray:
        return np.array(draw(st.lists(nats, min_size=many, max_size=many)), np.float32)

    return TopK(
        ids=ids(k),
        logprobs=-numbers(places * k).reshape(places, k),
        tail=-numbers(places),
        drawn=Drawn(ids=ids(m), entropy=numbers(places)) if m else None,
    ), vocabulary


def spoken(places: int, k: int, vocabulary: int, *, draws: int = 0, seed: int = 0) -> TopK:
    """Random and in order, as a teacher gives it."""
    rng = np.random.default_rng(seed)
    logits = np.sort(rng.normal(size=(places, k)) * 4)[:, ::-1]
    total = np.log(np.exp(logits).sum(1) + 1)
    ids = rng.permuted(np.broadcast_to(np.arange(min(vocabulary, 4096)), (places, min(vocabulary, 4096))), axis=1)
    ids = (ids + vocabulary - min(vocabulary, 4096)).astype(np.int32)
    return TopK(
        ids=ids[:, :k],
        logprobs=(logits - total[:, None]).astype(np.float32),
        tail=-total.astype(np.float32),
        drawn=Drawn(ids=ids[:, k : k + draws], entropy=np.full(places, 7.3, np.float32)) if draws else None,
    )


def same(one: TopK, other: TopK) -> bool:
    """To the bit."""
    assert (one.drawn is None) == (other.drawn is None)
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("ids", "logprobs", "tail")]
    if one.drawn and other.drawn:
        pairs += [(one.drawn.ids, other.drawn.ids), (one.drawn.entropy, other.drawn.entropy)]
    return all((a.tobytes(), a.dtype, a.shape) == (b.tobytes(), b.dtype, b.shape) for a, b in pairs)


@given(thoughts())
@settings(max_examples=60)
def test_what_is_decoded_is_what_was_kept_bit_for_bit(thought: tuple[TopK, int]) -> None:
    topk, vocabulary = thought
    assert same(decode(encode(topk, vocabulary=vocabulary)), kept(topk))


@given(thoughts())
@settings(max_examples=60)
def test_what_is_kept_is_kept_again_in_the_same_bytes(thought: tuple[TopK, int]) -> None:
    topk, vocabulary = thought
    blob = encode(topk, vocabulary=vocabulary)
    assert encode(decode(blob), vocabulary=vocabulary) == blob


@given(thoughts())
@settings(max_examples=60)
def test_rounding_is_bounded_and_keeps_ids_order_and_impossibility(thought: tuple[TopK, int]) -> None:
    topk, _ = thought
    found = kept(topk)
    assert np.array_equal(found.ids, topk.ids)
    numbers = [(topk.logprobs, found.logprobs), (topk.tail, found.tail)]
    if topk.drawn and found.drawn:
        assert np.array_equal(found.drawn.ids, topk.drawn.ids)
        numbers.append((-topk.drawn.entropy, -found.drawn.entropy))
    for was, now in numbers:
        assert np.array_equal(np.isneginf(was), np.isneginf(now))
        within = (was >= LEAST) & ~np.isneginf(was)
        exact = was[within].astype(np.float64)
        assert (np.abs(now[within] - exact) <= np.maximum(np.abs(exact) * ROUNDING, 1 / 1024)).all()
        assert (now[(was < LEAST) & ~np.isneginf(was)] <= LEAST).all()


@pytest.mark.parametrize("places", [8, 100, 1000])
def test_a_token_takes_at_most_120_bytes_at_k_32_and_any_vocabulary_to_262144(places: int) -> None:
    for vocabulary in (300, 49_152, 151_936, 262_144):
        assert len(encode(spoken(places, 32, vocabulary), vocabulary=vocabulary)) <= 120 * places


def test_a_token_of_16_probable_and_28_drawn_ones_takes_at_most_120_bytes_for_vocabularies_to_65536() -> None:
    assert len(encode(spoken(8, 16, 65_536, draws=28), vocabulary=65_536)) <= 120 * 8


def test_equal_after_rounding_they_still_stand_in_the_teachers_order() -> None:
    topk = TopK(
        ids=np.array([[9, 5]], np.int32), logprobs=np.array([[-0.6931, -0.69315]], np.float32), tail=np.float32([-20])
    )
    found = decode(encode(topk, vocabulary=10))
    assert found.logprobs[0, 0] == found.logprobs[0, 1]
    assert found.ids.tolist() == [[9, 5]]


def test_rounding_costs_less_than_a_hundred_thousandth_of_a_nat() -> None:
    """KL from what the teacher thought to what is kept of it, made to sum to one, as the loss does."""
    topk = spoken(500, 32, 49_152)
    exact, rounded = (
        np.concatenate([each.logprobs, each.tail[:, None]], 1).astype(np.float64) for each in (topk, kept(topk))
    )
    rounded -= np.log(np.exp(rounded).sum(1, keepdims=True))
    assert 0 < (np.exp(exact) * (exact - rounded)).sum(1).mean() < 1e-5


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=60)
def test_a_changed_byte_is_found(at: int, change: int) -> None:
    blob = bytearray(encode(spoken(3, 4, 70_000), vocabulary=70_000))
    blob[at % len(blob)] ^= change
    with pytest.raises(Broken):
        decode(bytes(blob))


def test_a_cut_or_lengthened_blob_is_found() -> None:
    blob = encode(spoken(3, 4, 70_000), vocabulary=70_000)
    for end in range(len(blob)):
        with pytest.raises(Broken):
            decode(blob[:end])
    with pytest.raises(Broken):
        decode(blob + b"\0")


def test_a_length_that_its_checksum_vouches_for_is_still_checked() -> None:
    body = bytearray(encode(spoken(3, 4, 70_000), vocabulary=70_000)[:-4])
    struct.pack_into("<I", body, 8, 2)
    with pytest.raises(Broken, match="bytes, not the"):
        decode(bytes(body) + zlib.crc32(body).to_bytes(4, "little"))


def test_another_version_is_named() -> None:
    body = bytearray(encode(spoken(1, 2, 300), vocabulary=300)[:-4])
    body[3] = 1
    with pytest.raises(Broken, match="version 1; this program reads 2"):
        decode(bytes(body) + zlib.crc32(body).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ids": np.array([[1, 300]], np.int32)}, "not all in a vocabulary of 300"),
        ({"ids": np.array([[-1, 3]], np.int32)}, "not all in a vocabulary of 300"),
        ({"logprobs": np.array([[-1.0, np.nan]], np.float32)}, "broken"),
        ({"tail": np.array([0.5], np.float32)}, "log of the tail's mass of 0.5"),
        ({"tail": np.array([-1.0, -1.0], np.float32)}, "do not belong together"),
        ({"drawn": Drawn(ids=np.array([[300]], np.int32), entropy=np.float32([1]))}, "not all in a vocabulary of 300"),
        ({"drawn": Drawn(ids=np.array([[3]], np.int32), entropy=np.float32([-1]))}, "entropy of the tail of 1"),
        ({"drawn": Drawn(ids=np.array([[3]], np.int32), entropy=np.float32([np.nan]))}, "broken"),
        ({"drawn": Drawn(ids=np.array([[3], [4]], np.int32), entropy=np.float32([1]))}, "do not belong to 1 places"),
        ({"drawn": Drawn(ids=np.zeros((1, 0), np.int32), entropy=np.float32([1]))}, "0 drawn tokens beside 2"),
    ],
)
def test_what_no_teacher_can_have_thought_is_not_stored(changed: dict[str, np.ndarray], says: str) -> None:
    given = {
        "ids": np.array([[1, 2]], np.int32),
        "logprobs": np.array([[-1.0, -2.0]], np.float32),
        "tail": np.array([-1.0], np.float32),
    }
    with pytest.raises(ConfigError, match=says):
        encode(TopK(**{**given, **changed}), vocabulary=300)
