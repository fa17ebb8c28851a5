"""Loss for frames that are annotated for some of the structures only."""

from __future__ import annotations

import torch
from torch import Tensor


def partial_label_loss(logits: Tensor, target: Tensor, stated: Tensor, weight: Tensor) -> Tensor:
    """Compute cross-entropy plus soft Dice loss for partially labelled frames.

    Label 0 means "none of the structures for which the frame is annotated". Its probability is the sum of the
    probabilities of background and of all other structures (marginal loss of Shi et al., Medical Image
    Analysis 2021).

    Parameters
    ----------
    logits : Tensor
        Shape (B, K, h, w).
    target : Tensor
        Fraction of each pixel covered by background and each class, shape (B, K, h, w).
    stated : Tensor
        Classes for which the frame is annotated, shape (B, K), bool; column 0 (background) is ignored.
    weight : Tensor
        Weight of each pixel, 0 where unlabelled, shape (B, h, w).

    Returns
    -------
    Tensor
        Scalar.
    """
    log_p = torch.log_softmax(logits, 1)
    merged = ~stated.clone()
    merged[:, 0] = True
    masked = log_p.masked_fill(~merged[:, :, None, None], -torch.inf)
    log_p = torch.cat([torch.logsumexp(masked, 1, keepdim=True), log_p[:, 1:]], 1)
    # Classes without annotation have a target of 0; clamp, so that 0 * -inf does not occur.
    cross_entropy = -(target * log_p.clamp_min(-30.0)).sum(1)
    cross_entropy = (cross_entropy * weight).sum() / weight.sum().clamp_min(1.0)

    p = log_p.exp() * weight[:, None]
    t = target * weight[:, None]
    overlap = (p * t).sum((2, 3))
    total = p.sum((2, 3)) + t.sum((2, 3))
    dice = 1.0 - (2.0 * overlap + 1.0) / (total + 1.0)
    counted = stated.clone()
    counted[:, 0] = False
    dice_loss = (dice * counted).sum() / counted.sum().clamp_min(1)
    return cross_entropy + dice_loss
