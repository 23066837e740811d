"""Divergence from a stored top-k: against a dense reference in float64, its gradients, and its ends."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trueseed.errors import ConfigError
from trueseed.lm.topk import Drawn, TopK
from trueseed.train.codec import decode, encode
from trueseed.train.divergence import Divergence, divergence
from trueseed.train.losses import answer_loss
from trueseed.train.sparse import Thought, sparse, sparse_of_logits

A, D, V = 37, 6, 11
betas = st.sampled_from([0.0, 1.0, 0.1, 0.5, 0.9])


def student(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, head, labels."""
    made = torch.Generator().manual_seed(seed)
    hidden, head = (torch.randn(shape, generator=made, dtype=dtype).requires_grad_() for shape in ((A, D), (V, D)))
    return hidden, head, torch.randint(V, (A,), generator=made)


def teacher(seed: int = 0) -> Tensor:
    return torch.randn((A, V), generator=torch.Generator().manual_seed(1000 + seed), dtype=torch.float64) * 2


def top(logits_AV: Tensor, k: int) -> Thought:
    """The k most probable tokens of a dense teacher, and the rest's mass; exact, as float32 storage would not be."""
    logp = logits_AV.log_softmax(-1)
    kept, ids = logp.sort(-1, descending=True)
    tail = kept[:, k:].logsumexp(-1, keepdim=True)
    return Thought(ids[:, :k], torch.cat([kept[:, :k], tail], 1) if k < V else kept)


def dense(q_AV: Tensor, p_AV: Tensor, beta: float, temperature: float = 1.0, groups: Tensor | None = None) -> Tensor:
    """Equation 1 of arXiv:2306.13649 word for word; groups V×C: which tokens are one outcome."""
    q, p = ((x.double() / temperature).softmax(-1) for x in (q_AV, p_AV))
    q, p = (q, p) if groups is None else (torch.bmm(q[:, None], groups)[:, 0], torch.bmm(p[:, None], groups)[:, 0])
    m = beta * p + (1 - beta) * q
    kl_pq, kl_qp, kl_pm, kl_qm = ((a * (a / b).log()).sum() for a, b in ((p, q), (q, p), (p, m), (q, m)))
    return kl_pq if beta == 0 else kl_qp if beta == 1 else beta * kl_pm + (1 - beta) * kl_qm


def merged(ids: Tensor) -> Tensor:
    """A × V × (k + 1): ones where a token belongs to an outcome."""
    k = ids.shape[1]
    own = torch.nn.functional.one_hot(ids, V).transpose(1, 2).double()
    return torch.cat([own, 1 - own.sum(-1, keepdim=True)], -1) if k < V else own


def must_agree(found: Tensor, expected: Tensor, weights: tuple[Tensor, ...]) -> None:
    torch.testing.assert_close(found, expected)
    pairs = zip(*(torch.autograd.grad(value, weights) for value in (found, expected)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


@given(betas, st.sampled_from([1, 3, 10]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_value_and_gradient_are_those_of_the_dense_reference_over_k_tokens_and_a_tail(
    beta: float, k: int, seed: int
) -> None:
    hidden, head, labels = student(seed)
    thought = top(teacher(seed), k)
    found = sparse(hidden, head, labels, thought, Divergence(beta=beta)).total
    expected = dense(hidden @ head.T, teacher(seed), beta, groups=merged(thought.ids))
    must_agree(found, expected, (hidden, head))


@given(betas, st.sampled_from([1.0, 0.5, 2.0]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_with_the_whole_vocabulary_it_is_the_dense_divergence(beta: float, temperature: float, seed: int) -> None:
    hidden, head, labels = student(seed)
    found = sparse(hidden, head, labels, top(teacher(seed), V), Divergence(beta=beta, temperature=temperature)).total
    must_agree(found, dense(hidden @ head.T, teacher(seed), beta, temperature), (hidden, head))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_stored_is_what_the_teacher_in_memory_says_of_the_same_tokens(beta: float) -> None:
    hidden, head, labels = student()
    online = divergence(
        hidden, head, teacher(), torch.eye(V, dtype=torch.float64), labels, Divergence(beta=beta, top_k=4)
    )
    must_agree(sparse(hidden, head, labels, top(teacher(), 4), Divergence(beta=beta)).total, online, (hidden, head))


@given(betas, st.sampled_from([1.0, 2.0]), st.sampled_from([0.0, 0.7]), st.sampled_from([3, V]))
@settings(max_examples=6, deadline=None)
def test_gradients_are_right_by_finite_differences(beta: float, temperature: float, ce: float, k: int) -> None:
    hidden, head, labels = (x[:2] if len(x) == A else x for x in student())
    thought, how = top(teacher()[:2], k), Divergence(beta=beta, temperature=temperature, ce_weight=ce)
    weights = (hidden.detach().requires_grad_(), head)
    assert torch.autograd.gradcheck(lambda h, w: sparse(h, w, labels, thought, how).total, weights)


def test_a_teacher_certain_of_the_label_is_supervised_fine_tuning() -> None:
    hidden, head, labels = student()
    certain = TopK(
        ids=labels[:, None].int().numpy(),
        logprobs=np.zeros((A, 1), np.float32),
        tail=np.full(A, -np.inf, np.float32),
    )
    stored = decode(encode(certain, vocabulary=V))
    found = sparse(hidden, head, labels, Thought.of(stored, k=1, vocabulary=V), Divergence())
    must_agree(found.total, answer_loss(hidden, head, labels), (hidden, head))
    assert found.kl == pytest.approx(found.ce)


@given(st.sampled_from([3, V]), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_middle_goes_to_the_forward_and_the_reverse_end(k: int, seed: int) -> None:
    hidden, head, labels = student(seed)
    value = {
        beta: sparse(hidden, head, labels, top(teacher(seed), k), Divergence(beta=beta)).kl
        for beta in (0.0, 1e-8, 1 - 1e-8, 1.0)
    }
    assert value[1e-8] / 1e-8 == pytest.approx(value[0.0], rel=1e-3)
    assert value[1 - 1e-8] / 1e-8 == pytest.approx(value[1.0], rel=1e-3)


@given(betas, st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_more_tokens_never_bring_less_divergence_and_none_exceeds_the_dense_one(beta: float, seed: int) -> None:
    hidden, head, labels = student(seed)
    values = [
        sparse(hidden, head, labels, top(teacher(seed), k), Divergence(beta=beta)).kl for k in (1, 2, 4, 8, V - 1, V)
    ]
    assert all(less <= more + 1e-9 for less, more in itertools.pairwise(values))


def test_the_student_that_is_the_teacher_has_nothing_to_learn() -> None:
    hidden, head, labels = student()
    for beta in (0.0, 0.5, 1.0):
        for temperature in (1.0, 2.0):
            how = Divergence(beta=beta, temperature=temperature)
            found = sparse(hidden, head, labels, top((hidden @ head.T).detach(), 4), how)
            assert found.kl == pytest.approx(0, abs=1e-9)
            for gradient in torch.autograd.grad(found.total, (hidden, head)):
                torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_mass_outside_the_top_k_is_felt_which_a_softmax_over_the_top_k_would_hide() -> None:
    """Top-k before softmax: two students that agree among the kept tokens and not outside would be the same."""
    thought = top(teacher(), 3)
    logits = teacher().clone().requires_grad_()
    shifted = teacher() + 5 * (1 - torch.nn.functional.one_hot(thought.ids, V).sum(1))
    labels = student()[2]
    assert sparse_of_logits(logits, labels, thought, Divergence()).kl == pytest.approx(0, abs=1e-9)
    assert sparse_of_logits(shifted.requires_grad_(), labels, thought, Divergence()).kl > 10


def test_temperature_softens_the_kept_tokens_and_leaves_the_split_from_the_tail() -> None:
    """KL = KL of the split + mass kept · KL among the kept at T (the chain rule), by hand."""
    hidden, head, labels = student()
    thought, T = top(teacher(), 3), 2.0
    q, p = (hidden @ head.T).detach(), teacher()
    kept = [x.log_softmax(-1).gather(1, thought.ids) for x in (q, p)]
    Q, P = (x.exp().sum(-1) for x in kept)
    among_q, among_p = ((x / T).log_softmax(-1) for x in kept)
    split = P * (P / Q).log() + (1 - P) * ((1 - P) / (1 - Q)).log()
    expected = split + P * (among_p.exp() * (among_p - among_q)).sum(-1)
    found = sparse(hidden, head, labels, thought, Divergence(temperature=T))
    assert found.kl == pytest.approx(float(expected.sum()))


def test_cross_entropy_is_added_by_its_weight_on_labels_kept_or_not() -> None:
    hidden, head, labels = student()
    thought = top(teacher(), 2)
    plain = sparse(hidden, head, labels, thought, Divergence())
    mixed = sparse(hidden, head, labels, thought, Divergence(ce_weight=0.25))
    own = answer_loss(hidden, head, labels)
    assert (mixed.kl, mixed.ce) == (plain.kl, pytest.approx(own.item()))
    must_agree(mixed.total, plain.total + 0.25 * own, (hidden, head))


@given(betas, st.sampled_from([1.0, 2.0]))
@settings(max_examples=10, deadline=None)
def test_from_logits_it_says_the_same(beta: float, temperature: float) -> None:
    hidden, head, labels = student()
    thought, how = top(teacher(), 4), Divergence(beta=beta, temperature=temperature, ce_weight=0.5)
    must_agree(
        sparse(hidden, head, labels, thought, how).total,
        sparse_of_logits(hidden @ head.T, labels, thought, how).total,
        (hidden, head),
    )


def test_in_bfloat16_it_is_near_what_it_is_in_float64() -> None:
    hidden, head, labels = student(dtype=torch.bfloat16)
    thought = top(teacher(), 4)
    found = sparse(hidden, head, labels, thought, Divergence(beta=0.5))
    exact = dense((hidden @ head.T).detach().double(), teacher(), 0.5, groups=merged(thought.ids))
    assert found.kl == pytest.approx(float(exact), rel=2e-2)
    assert torch.autograd.grad(found.total, hidden)[0].dtype == torch.bfloat16


def test_fewer_may_be_compared_than_are_stored_and_the_others_join_the_tail() -> None:
    stored = as_stored(top(teacher(), 6))
    less, exact = Thought.of(stored, k=3, vocabulary=V), top(teacher(), 3)
    assert torch.equal(less.ids, exact.ids)
    torch.testing.assert_close(less.logp, exact.logp, rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match=r"loss_top_k: 7.* 6 are stored"):
        Thought.of(stored, k=7, vocabulary=V)


def test_a_token_that_the_student_does_not_have_is_refused_never_bent() -> None:
    with pytest.raises(ConfigError, match="student knows only 5 tokens"):
        Thought.of(as_stored(top(teacher(), 6)), k=6, vocabulary=5)


def as_stored(thought: Thought) -> TopK:
    logp = thought.logp.float().numpy()
    return TopK(ids=thought.ids.int().numpy(), logprobs=logp[:, :-1], tail=logp[:, -1])


# tokens drawn from the tail


def drawn(logits_AV: Tensor, k: int, draws: int, seed: int = 0) -> TopK:
    """A teacher's k most probable tokens and so many of the others by chance, in float64."""
    logp = logits_AV.log_softmax(-1)
    kept, ids = logp.sort(-1, descending=True)
    others = torch.multinomial(kept[:, k:].exp(), draws, True, generator=torch.Generator().manual_seed(seed)) + k
    share = kept[:, k:].softmax(-1)
    return TopK(
        ids=ids[:, :k].int().numpy(),
        logprobs=kept[:, :k].numpy(),
        tail=kept[:, k:].logsumexp(-1).numpy(),
        drawn=Drawn(ids=ids.gather(1, others).int().numpy(), entropy=torch.special.entr(share).sum(-1).numpy()),
    )


def test_draws_that_hold_every_other_token_by_its_share_are_the_dense_kl() -> None:
    hidden, head, labels = student()
    logits = teacher()
    kept = logits.sort(-1, descending=True).indices[:, :4]
    even = torch.full_like(logits, -1.0).scatter(1, kept, logits.gather(1, kept).abs())  # all others are alike
    logp, ids = even.log_softmax(-1).sort(-1, descending=True)
    once = Drawn(ids=ids[:, 4:].int().numpy(), entropy=np.full(A, np.log(V - 4)))
    tail = logp[:, 4:].logsumexp(-1).numpy()
    said = TopK(ids=ids[:, :4].int().numpy(), logprobs=logp[:, :4].numpy(), tail=tail, drawn=once)
    found = sparse(hidden, head, labels, Thought.of(said, k=4, vocabulary=V, draws=V - 4), Divergence())
    must_agree(found.total, dense(hidden @ head.T, even, 0.0), (hidden, head))


def test_on_average_over_draws_loss_and_gradient_are_the_dense_forward_kl() -> None:
    hidden, head, labels = student()
    expected = dense(hidden @ head.T, teacher(), 0.0)
    (aim,) = torch.autograd.grad(expected, hidden)
    values, gradients = [], []
    for seed in range(400):
        thought = Thought.of(drawn(teacher(), 3, 4, seed), k=3, vocabulary=V, draws=4)
        found = sparse(hidden, head, labels, thought, Divergence())
        values.append(float(found.total.detach()))
        gradients.append(torch.autograd.grad(found.total, hidden)[0])
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - float(expected.detach())) < 4 * error
    stacked = torch.stack(gradients)
    apart = (stacked.mean(0) - aim) / (stacked.std(0) / len(gradients) ** 0.5)
    assert apart.square().mean() == pytest.approx(1, abs=0.5)  # no farther than chance takes an average of so many


def test_without_draws_mass_in_the_tail_moved_from_likely_to_unlikely_tokens_is_not_felt_and_with_them_it_is() -> None:
    logits = torch.tensor([[5.0, 2.0, 1.0, -9.0]], dtype=torch.float64)
    wrong = torch.tensor([[5.0, 2.0, -9.0, 1.0]], dtype=torch.float64)  # the last two, changed over
    said = drawn(logits, 2, 8)
    blind, seeing = (
        sparse_of_logits(wrong, torch.tensor([0]), Thought.of(said, k=2, vocabulary=4, draws=m), Divergence())
        for m in (0, 8)
    )
    assert blind.kl == pytest.approx(0, abs=1e-9)
    assert seeing.kl > 0.1


@given(st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_gradients_with_draws_are_right_by_finite_differences(seed: int) -> None:
    hidden, head, labels = student(seed)
    thought = Thought.of(drawn(teacher(seed), 3, 5, seed), k=3, vocabulary=V, draws=5)
    part = (hidden[:3].detach().requires_grad_(), head)
    split = thought.take(torch.arange(3))
    how = Divergence(ce_weight=0.3)
    assert torch.autograd.gradcheck(lambda h, w: sparse(h, w, labels[:3], split, how).total, part)


def test_draws_are_taken_as_they_were_made_or_not_at_all() -> None:
    said = drawn(teacher(), 3, 4)
    with pytest.raises(ConfigError, match="not what is stored, 4 beside 3"):
        Thought.of(said, k=2, vocabulary=V, draws=4)
    with pytest.raises(ConfigError, match="not what is stored, 4 beside 3"):
        Thought.of(said, k=3, vocabulary=V, draws=2)
    assert Thought.of(said, k=2, vocabulary=V).entropy is None
