"""The most probable tokens of given sequences, and what they leave."""

from pathlib import Path

import numpy as np
import pytest
import torch

from trueseed.errors import ConfigError
from trueseed.lm import checkpoint
from trueseed.lm.engine import Engine
from trueseed.lm.forced import Chat, top
from trueseed.lm.topk import TopK

CHATS: list[Chat] = [
    (list(range(20, 60)), [False] * 10 + [True] * 30),
    ([5, 9, 17, 42, 7], [False, False, True, False, True]),
    ([5, 9, 17, 42, 8], [True] * 5),
    ([5, 9, 17], [True, False, False]),
]


@pytest.fixture(scope="module")
def engine(tiny_llama: Path) -> Engine:
    return Engine(tiny_llama, "own/tiny", dtype="float32")


def dense(folder: Path, chat: Chat) -> torch.Tensor:
    """log p of all tokens at the answer places, from transformers, in float64."""
    model = checkpoint.load(folder, torch.float32)
    with torch.inference_mode():
        logits = model(torch.tensor([chat[0][:-1]])).logits[0].double()
    return logits.log_softmax(-1)[torch.tensor(chat[1][1:])]


@pytest.mark.parametrize("k", [1, 32, 200])
def test_it_is_the_top_of_transformers_dense_log_probabilities(tiny_llama: Path, engine: Engine, k: int) -> None:
    for chat, found in zip(CHATS, engine.topk(CHATS, k), strict=True):
        logp, ids = dense(tiny_llama, chat).topk(k, dim=-1)
        assert (found.ids == ids.numpy()).all()
        np.testing.assert_allclose(found.logprobs, logp.numpy(), atol=1e-4)
        left = dense(tiny_llama, chat).scatter(1, ids, -torch.inf).logsumexp(-1)
        np.testing.assert_allclose(found.tail, left.numpy(), atol=1e-4)
        assert (found.ids.dtype, found.logprobs.dtype, found.tail.dtype) == (np.int32, np.float32, np.float32)


def test_all_of_the_vocabulary_equals_dense_and_leaves_nothing(tiny_llama: Path, engine: Engine) -> None:
    vocabulary = engine._network(torch.float32).vocabulary
    for chat, found in zip(CHATS, engine.topk(CHATS, vocabulary), strict=True):
        there = torch.from_numpy(found.ids).long()
        np.testing.assert_allclose(found.logprobs, dense(tiny_llama, chat).gather(1, there).numpy(), atol=1e-4)
        assert (there.sort(-1).values == torch.arange(vocabulary)).all()
        assert (found.tail == -np.inf).all()


def test_a_sequence_without_answer_tokens_has_no_rows(engine: Engine) -> None:
    nothing = [([5, 9], [True, False]), ([5], [True]), ([], [])]
    for found in engine.topk(nothing, 3):
        assert (found.ids.shape, found.logprobs.shape, found.tail.shape) == ((0, 3), (0, 3), (0,))


@pytest.mark.parametrize("spread", [0.1, 5.0, 60.0, 300.0])
def test_small_masses_keep_their_digits_even_below_float32s_range(spread: float) -> None:
    logits = torch.randn(16, 512, generator=torch.Generator().manual_seed(3)) * spread
    for k in (1, 4, 64, 511):
        ids, logprobs, tail, *_ = top(logits, k)
        below = logits.double() - logits.double().amax(-1, keepdim=True)
        kept = below.gather(1, ids.long())
        exact = kept - below.exp().sort(-1).values[:, :-1].sum(-1, keepdim=True).log1p()
        rest = below.scatter(1, ids.long(), -torch.inf).logsumexp(-1) - kept.logsumexp(-1)
        torch.testing.assert_close(logprobs.double(), exact, rtol=2e-6, atol=1e-37)
        torch.testing.assert_close(tail.double(), -torch.logaddexp(-rest, 0 * rest), rtol=2e-6, atol=1e-37)


def test_equal_tokens_come_by_id() -> None:
    ids, logprobs, *_ = top(torch.tensor([[1.0, 2.0, 2.0, 1.0, 2.0, 0.0, 0.0, 0.0]]), 5)
    assert ids.tolist() == [[1, 2, 4, 0, 3]]
    assert len(set(logprobs[0].tolist())) == 2


@pytest.mark.parametrize("k", [0, -1, 100_000])
def test_a_k_that_cannot_be_is_refused(engine: Engine, k: int) -> None:
    with pytest.raises(ConfigError, match="vocabulary"):
        list(engine.topk(CHATS, k))


@pytest.mark.parametrize(
    ("chat", "said"),
    [
        (([5, 9_999], [False, True]), "another model"),
        (([5, -1], [False, True]), "another model"),
        (([5] * 1025, [True] * 1025), "context is 1024"),
        (([5, 6], [True]), "a mask of 1"),
    ],
)
def test_a_sequence_that_cannot_be_read_is_refused_before_anything_is_computed(
    engine: Engine, chat: Chat, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        engine.topk([*CHATS, chat], 3)


def test_draws_are_of_the_others_by_their_share_and_the_same_for_a_seed(tiny_llama: Path, engine: Engine) -> None:
    k, draws = 3, 400
    (one,), (again,), (other,) = (list(engine.topk(CHATS[:1], k, draws=draws, seed=seed)) for seed in (1, 1, 2))
    assert one.drawn and again.drawn and other.drawn
    assert (one.drawn.ids == again.drawn.ids).all() and not (one.drawn.ids == other.drawn.ids).all()
    assert (one.k, one.draws) == (k, draws)
    share = others(tiny_llama, one)
    counts = torch.stack([torch.bincount(row.long(), minlength=share.shape[1]) for row in drawn_of(one)])
    assert (counts - draws * share).abs().max() < 1.001  # never one or more away; the shares are another computation's
    assert (counts.sum(1) == draws).all()


def test_counts_of_draws_are_on_average_each_tokens_share(tiny_llama: Path, engine: Engine) -> None:
    draws, of = 2, 200
    found = [next(iter(engine.topk(CHATS[:1], 3, draws=draws, seed=seed))) for seed in range(of)]
    share = others(tiny_llama, found[0])
    drawn = torch.stack([drawn_of(each) for each in found], 1).flatten(1)
    counts = torch.stack([torch.bincount(row.long(), minlength=share.shape[1]) for row in drawn])
    some = share > 0
    chance = (draws * share * (1 - draws * share)).clamp_min(1e-9) * of  # once or not at all
    assert ((counts - of * draws * share) ** 2 / chance)[some].mean() < 1.3  # its mean over so many tokens is 1


def test_the_entropy_beside_draws_is_that_of_all_other_tokens(tiny_llama: Path, engine: Engine) -> None:
    [one] = engine.topk(CHATS[:1], 3, draws=1)
    assert one.drawn
    expected = torch.special.entr(others(tiny_llama, one)).sum(-1).numpy()
    np.testing.assert_allclose(one.drawn.entropy, expected, atol=1e-3)


def others(folder: Path, one: TopK) -> torch.Tensor:
    """Each token's share of what the k leave."""
    logp = dense(folder, CHATS[0]).scatter(1, torch.from_numpy(one.ids).long(), -torch.inf)
    return logp.double().softmax(-1)


def drawn_of(one: TopK) -> torch.Tensor:
    assert one.drawn
    return torch.from_numpy(one.drawn.ids)


def test_who_leaves_nothing_cannot_draw(engine: Engine) -> None:
    with pytest.raises(ConfigError):
        list(engine.topk(CHATS, engine._network(torch.float32).vocabulary, draws=1))
