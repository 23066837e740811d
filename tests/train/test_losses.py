"""The loss on answers against what one would write in five lines."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trueseed.train import losses
from trueseed.train.losses import answer_loss


def dense(hidden_AD: torch.Tensor, head_VD: torch.Tensor, labels_A: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(hidden_AD @ head_VD.T, labels_A, reduction="sum")


def drawn(answers: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(answers, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    head = torch.randn(11, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    return hidden, head, torch.randint(11, (answers,), generator=generator)


def test_its_gradients_are_those_of_finite_differences():
    hidden, head, labels = drawn(4)
    assert torch.autograd.gradcheck(lambda h, w: answer_loss(h, w, labels), (hidden, head))


@given(st.integers(1, 9), st.integers(0, 3), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_it_is_the_dense_one_however_it_is_cut(answers: int, seed: int, rows: int) -> None:
    hidden, head, labels = drawn(answers, seed)
    expected = dense(hidden, head, labels)
    wanted = torch.autograd.grad(expected, (hidden, head))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "_ROWS", rows)
        patch.setattr(losses, "_LOGITS", 2 * rows * 11)
        found = answer_loss(hidden, head, labels)
        gradients = torch.autograd.grad(3 * found, (hidden, head))
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(ours, 3 * theirs)


def test_in_bfloat16_a_nearly_certain_token_still_has_a_gradient():
    head = torch.eye(4, dtype=torch.bfloat16)
    hidden = torch.tensor([[7.0, 0, 0, 0]], dtype=torch.bfloat16, requires_grad=True)
    answer_loss(hidden, head, torch.tensor([0])).backward()
    exact = hidden.detach().float().softmax(-1)[0, 0] - 1
    assert hidden.grad is not None
    assert hidden.grad[0, 0].item() == pytest.approx(exact.item(), rel=0.01)
    assert exact.item() > -0.004  # which 1 - 1 in bfloat16 would not show
