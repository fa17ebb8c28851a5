"""How sure the head is of a frame."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_confidence(probabilities: Tensor) -> Tensor:
    """Dice that the head itself expects of its masks, one number a frame in 0..1.

    If every pixel is right with the probability that the head gives it, a mask m drawn from probabilities p
    has the expected overlap sum(p m) with the truth, so its Dice is about 2 sum(p m) / (sum p + sum m).
    The mean over the classes drawn on the frame; 0 where none is drawn.

    Parameters
    ----------
    probabilities : (B, K, h, w) float
        Background and classes; sums to one over K.

    Returns
    -------
    (B,) float
    """
    p = probabilities.float()
    mask = torch.zeros_like(p).scatter_(1, p.argmax(1, keepdim=True), 1.0)[:, 1:]
    p = p[:, 1:]
    size = mask.sum((2, 3))
    dice = 2 * (p * mask).sum((2, 3)) / (p.sum((2, 3)) + size).clamp_min(1e-6)
    drawn = (size > 0).float()
    return ((dice * drawn).sum(1) / drawn.sum(1).clamp_min(1.0)).clamp(0.0, 1.0)
