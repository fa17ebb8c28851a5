"""Pseudo-labels for cines without labels, from confident predictions of the averaged head.

This is a mean teacher (Tarvainen and Valpola, NeurIPS 2017): the averaged weights predict an unmodified
frame, and the current weights are fitted to that prediction on an augmented frame. The teacher is the
unweighted mean of the two networks of a head; its predictions are used only where the networks agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vjepa_core.fewshot.overlap import MIN_AGREEMENT, agreement


@torch.no_grad()
def pseudo_labels(predictions: Sequence[Tensor], min_probability: float) -> tuple[Tensor, Tensor]:
    """Compute pseudo-labels and their weights.

    Parameters
    ----------
    predictions : sequence of Tensor
        Logits (B, K, h, w) of the two networks.
    min_probability : float
        Minimum mean probability of a pixel.

    Returns
    -------
    target : Tensor
        One-hot labels, shape (B, K, h, w), float.
    weight : Tensor
        1 where the networks predict the same class with sufficient probability, otherwise 0; all 0 on frames
        on which their predictions differ too much. Shape (B, h, w), float.
    """
    probabilities = torch.stack([logits.softmax(1) for logits in predictions])
    mean, values = probabilities.mean(0), probabilities.argmax(2)
    same = (values == values[0]).all(0)
    weight = (same & (mean.amax(1) >= min_probability)).float()
    predicted = values.to(torch.uint8).cpu().numpy()
    agree = [
        agreement(one, other) >= MIN_AGREEMENT for one, other in zip(predicted[0], predicted[-1], strict=True)
    ]
    weight *= torch.tensor(agree, device=weight.device)[:, None, None]
    target = functional.one_hot(mean.argmax(1), mean.shape[1]).movedim(-1, 1).float()
    return target, weight
