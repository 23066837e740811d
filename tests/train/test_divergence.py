"""The divergence between two models against a dense reference in float64, its gradient, and its limits."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import kl_div

from trueseed.train.divergence import Divergence, divergence, of_logits
from trueseed.train.losses import answer_loss

A, D, E, V = 37, 6, 5, 11


def dense(q_AV: Tensor, p_AV: Tensor, beta: float, temperature: float) -> Tensor:
    """Equation 1 of arXiv:2306.13649 from logits, word for word."""
    q, p = (logits.double().div(temperature).softmax(-1) for logits in (q_AV, p_AV))
    m = beta * p + (1 - beta) * q

    def kl(a: Tensor, b: Tensor) -> Tensor:
        return (a * (a / b).log()).sum()

    return kl(p, q) if beta == 0 else kl(q, p) if beta == 1 else beta * kl(p, m) + (1 - beta) * kl(q, m)


def as_trl_has_it(q_AV: Tensor, p_AV: Tensor, beta: float) -> Tensor:
    """What TRL's GKD trainer (1.16) sums before it divides: the mixture in logarithms, then `kl_div` of each side."""
    q, p = q_AV.log_softmax(-1), p_AV.log_softmax(-1)
    m = q if beta == 0 else p if beta == 1 else torch.logaddexp(q + math.log(1 - beta), p + math.log(beta))
    teacher, student = (kl_div(m, side, reduction="sum", log_target=True) for side in (p, q))
    return teacher if beta == 0 else student if beta == 1 else beta * teacher + (1 - beta) * student


def sides(seed: int = 0, dtype: torch.dtype = torch.float64, extra: int = 0) -> tuple[Tensor, ...]:
    """Hidden states and head of the student, then the teacher's (whose head is `extra` longer), then labels."""
    made = torch.Generator().manual_seed(seed)
    shapes = ((A, D), (V, D), (A, E), (V + extra, E))
    floats = [torch.randn(shape, generator=made, dtype=dtype) for shape in shapes]
    for own in floats[:2]:
        own.requires_grad_()
    return *floats, torch.randint(V, (A,), generator=made)


betas = st.sampled_from([0.0, 1.0, 0.1, 0.5, 0.9])
temperatures = st.sampled_from([1.0, 0.5, 2.0])


@given(betas, temperatures, st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_value_and_gradient_are_those_of_the_dense_reference(beta: float, temperature: float, seed: int) -> None:
    hidden, head, other, other_head, labels = sides(seed)
    how = Divergence(beta=beta, temperature=temperature)
    found = divergence(hidden, head, other, other_head, labels, how)
    expected = dense(hidden @ head.T, other @ other_head.T, beta, temperature)
    torch.testing.assert_close(found, expected)
    for ours, reference in zip(*(torch.autograd.grad(x, (hidden, head)) for x in (found, expected)), strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_it_is_trls_sum_and_a_token_of_it_at_most_ln_2_in_the_middle(beta: float) -> None:
    """In float32. TRL then divides by the labels of its dataset, here by the answer tokens (docs/log.md)."""
    hidden, head, other, other_head, labels = (
        each.float() if each.is_floating_point() else each.detach() for each in sides()
    )
    found = divergence(hidden, head, other, other_head, labels, Divergence(beta=beta)).item()
    logits = hidden @ head.T, other @ other_head.T
    assert found == pytest.approx(as_trl_has_it(*logits, beta).item(), rel=1e-5)
    assert found == pytest.approx(dense(*logits, beta, 1.0).item(), rel=1e-5)
    if beta == 0.5:
        apart = torch.eye(V)[:2] * 1e3
        opposed = divergence(torch.eye(2), apart.T, torch.eye(2).flip(0), apart.T, labels[:2], Divergence(beta=beta))
        assert found / A < opposed.item() / 2 == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [0, 3])
def test_gradients_are_right_by_finite_differences(beta: float, top_k: int) -> None:
    hidden, head, other, other_head, labels = sides()
    how = Divergence(beta=beta, temperature=1.5, top_k=top_k, ce_weight=0.3)
    few = slice(0, 4)
    assert torch.autograd.gradcheck(
        lambda h, w: divergence(h, w, other[few], other_head, labels[few], how),
        (hidden[few].detach().requires_grad_(), head),
    )


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [V - 1, V, 5 * V])
def test_a_k_of_the_whole_vocabulary_says_what_no_k_says(beta: float, top_k: int) -> None:
    hidden, head, *rest = sides()
    found, expected = (divergence(hidden, head, *rest, Divergence(beta=beta, top_k=k)) for k in (top_k, 0))
    torch.testing.assert_close(found, expected)
    for ours, dense in zip(*(torch.autograd.grad(x, (hidden, head)) for x in (found, expected)), strict=True):
        torch.testing.assert_close(ours, dense)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_k_says_at_most_what_all_tokens_say(beta: float) -> None:
    """Putting outcomes together loses information, never makes any (the data processing inequality)."""
    said = [divergence(*sides(), Divergence(beta=beta, top_k=k)).item() for k in (1, 2, 4, 8, 0)]
    assert said[0] > 0 and said == sorted(said)


def test_the_top_k_are_chosen_after_the_softmax_and_the_tail_is_kept() -> None:
    """Two tokens kept of four; by hand."""
    p, q = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).double(), torch.tensor([[0.2, 0.2, 0.2, 0.4]]).double()
    found = of_logits(q.log(), p.log(), torch.zeros(1, dtype=torch.int64), Divergence(top_k=2))
    a, b = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    assert float(found) == pytest.approx((a * (a / b).log()).sum().item())


def test_towards_its_ends_the_divergence_becomes_that_kl() -> None:
    forward, reverse = (divergence(*sides(), Divergence(beta=end)).item() for end in (0.0, 1.0))
    near = 1e-6
    assert divergence(*sides(), Divergence(beta=near)).item() / near == pytest.approx(forward, rel=1e-3)
    assert divergence(*sides(), Divergence(beta=1 - near)).item() / near == pytest.approx(reverse, rel=1e-3)


@pytest.mark.parametrize("how", [Divergence(beta=b, top_k=k) for b in (0.0, 0.5, 1.0) for k in (0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_between_a_model_and_itself_there_is_nothing_to_learn(how: Divergence, dtype: torch.dtype) -> None:
    hidden, head, *_, labels = sides(dtype=dtype)
    loss = divergence(hidden, head, hidden, head, labels, how)
    assert abs(loss.item()) < 1e-4
    for gradient in torch.autograd.grad(loss, (hidden, head)):
        assert float(gradient.abs().max()) < 1e-5


def test_a_teacher_who_is_certain_teaches_what_fine_tuning_does() -> None:
    hidden, head, *_, labels = sides()
    certain = 1e3 * torch.nn.functional.one_hot(labels, V).double()
    ours = divergence(hidden, head, certain, torch.eye(V).double(), labels, Divergence())
    theirs = answer_loss(hidden, head, labels)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    for found, expected in zip(*(torch.autograd.grad(x, (hidden, head)) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_cross_entropy_is_added_at_temperature_one() -> None:
    hidden, head, *rest = sides()
    mixed, pure = (divergence(hidden, head, *rest, Divergence(temperature=2, ce_weight=w)) for w in (0.25, 0.0))
    expected = pure + 0.25 * answer_loss(hidden, head, rest[-1])
    assert mixed.item() == pytest.approx(expected.item(), rel=1e-6)
    for found, other in zip(*(torch.autograd.grad(x, (hidden, head)) for x in (mixed, expected)), strict=True):
        torch.testing.assert_close(found, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("extra", [-4, 4])
def test_padded_vocabularies_are_compared_where_both_have_tokens(extra: int) -> None:
    hidden, head, other, other_head, labels = sides(extra=extra)
    both = min(V, V + extra)
    loss = divergence(hidden, head, other, other_head, labels % both, Divergence(beta=0.5))
    expected = dense(hidden @ head[:both].T, other @ other_head[:both].T, 0.5, 1.0)
    torch.testing.assert_close(loss, expected)
    assert not torch.autograd.grad(loss, head)[0][both:].any()


def test_logits_say_what_hidden_states_say() -> None:
    hidden, head, other, other_head, labels = sides()
    how = Divergence(beta=0.3, top_k=4, ce_weight=0.5)
    logits: Any = (hidden @ head.T).detach().requires_grad_()
    found = of_logits(logits, other @ other_head.T, labels, how)
    torch.testing.assert_close(found, divergence(hidden, head, other, other_head, labels, how))
    (gradient,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(
        gradient @ head, torch.autograd.grad(divergence(hidden, head, other, other_head, labels, how), hidden)[0]
    )
