"""The loss compared with plain sums, and with partially outlined frames."""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_core.fewshot.loss import partial_label_loss


def one_hot(labels: Tensor, k: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, k).permute(0, 3, 1, 2).float()


def test_with_all_structures_outlined_the_loss_is_cross_entropy_plus_soft_dice() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5)
    labels = torch.randint(0, 3, (2, 4, 5))
    p, t = logits.softmax(1), one_hot(labels, 3)
    cross_entropy = torch.nn.functional.cross_entropy(logits, labels)
    dice = torch.stack(
        [
            1 - (2 * (p[b, c] * t[b, c]).sum() + 1) / (p[b, c].sum() + t[b, c].sum() + 1)
            for b in range(2)
            for c in (1, 2)
        ]
    ).mean()
    loss = partial_label_loss(logits, t, torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 4, 5))
    torch.testing.assert_close(loss, cross_entropy + dice)


def test_a_structure_that_is_not_outlined_is_not_learned_as_background() -> None:
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    target = one_hot(torch.tensor([[[1, 1, 0, 0]] * 4]), 3)
    partial_label_loss(logits, target, torch.tensor([[True, True, False]]), torch.ones(1, 4, 4)).backward()
    assert logits.grad is not None
    outside = logits.grad[0, :, :, 2:]
    torch.testing.assert_close(
        outside[0], outside[2]
    )  # nothing distinguishes background from the class that is not outlined
    assert (outside[1] > 0).all()  # the outlined class is pushed away


def test_unlabelled_pixels_have_no_gradient() -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    weight = torch.ones(1, 4, 4)
    weight[:, :, 1] = 0
    target = one_hot(torch.randint(0, 2, (1, 4, 4)), 2)
    partial_label_loss(logits, target, torch.ones(1, 2, dtype=torch.bool), weight).backward()
    assert logits.grad is not None
    assert not logits.grad[..., 1].any()
    assert logits.grad[..., 0].any()


def test_without_labels_the_loss_is_finite() -> None:
    target = one_hot(torch.zeros(1, 4, 4, dtype=torch.long), 2)
    nothing = torch.tensor([[True, False]])
    assert partial_label_loss(torch.randn(1, 2, 4, 4), target, nothing, torch.zeros(1, 4, 4)).isfinite()
