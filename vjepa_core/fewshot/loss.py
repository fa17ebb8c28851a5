"""Loss for frames on which only some structures may have been outlined."""

from __future__ import annotations

import torch
from torch import Tensor


def partial_label_loss(logits: Tensor, target: Tensor, drawn: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice, with 'not outlined here' kept apart from 'absent'.

    Where a frame's label is 0 the rater only said "none of the structures that I outlined on this frame".
    The probability of that is the sum over background and every structure not outlined on the frame
    (the marginal loss of Shi et al., Medical Image Analysis 2021).

    Parameters
    ----------
    logits : (B, K, h, w)
    target : (B, K, h, w)
        Soft one-hot: share of each pixel covered by background and each class.
    drawn : (B, K) bool
        Which classes were outlined on the frame (column 0, background, is ignored).
    weight : (B, h, w)
        0 where a pixel is unlabelled, else 1.

    Returns
    -------
    scalar
    """
    log_p = torch.log_softmax(logits, 1)
    elsewhere = ~drawn.clone()
    elsewhere[:, 0] = True
    masked = log_p.masked_fill(~elsewhere[:, :, None, None], -torch.inf)
    log_p = torch.cat([torch.logsumexp(masked, 1, keepdim=True), log_p[:, 1:]], 1)
    # Classes not outlined on this frame carry no target; their log-probability must not give 0 * -inf.
    cross_entropy = -(target * log_p.clamp_min(-30.0)).sum(1)
    cross_entropy = (cross_entropy * weight).sum() / weight.sum().clamp_min(1.0)

    p = log_p.exp() * weight[:, None]
    t = target * weight[:, None]
    overlap = (p * t).sum((2, 3))
    total = p.sum((2, 3)) + t.sum((2, 3))
    dice = 1.0 - (2.0 * overlap + 1.0) / (total + 1.0)
    counted = drawn.clone()
    counted[:, 0] = False
    dice_loss = (dice * counted).sum() / counted.sum().clamp_min(1)
    return cross_entropy + dice_loss
