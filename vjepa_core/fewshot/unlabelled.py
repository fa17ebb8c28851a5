"""What cines that nobody has outlined add to a fit: the averaged head's own answers, where it is sure.

A mean teacher (Tarvainen and Valpola, NeurIPS 2017): the average of the weights so far answers on a frame as
it is, and the weights that are being fitted learn that answer on the frame as augmentation changes it. Here
the teacher is two nets with an equal say, and is listened to only where they see the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vjepa_core.fewshot.overlap import AGREED, agreement


@torch.no_grad()
def own_targets(answers: Sequence[Tensor], sure: float) -> tuple[Tensor, Tensor]:
    """Labels that a head may learn of itself.

    Parameters
    ----------
    answers : sequence of Tensor
        Logits (B, K, h, w) of its nets, two of them.
    sure : float
        Mean probability from which on a pixel counts.

    Returns
    -------
    target : (B, K, h, w) float
        One-hot.
    weight : (B, h, w) float
        1 where the nets give the same class and are sure of it, else 0; all 0 on a frame on which they do
        not see the same heart.
    """
    each = torch.stack([answer.softmax(1) for answer in answers])
    mean, values = each.mean(0), each.argmax(2)
    same = (values == values[0]).all(0)
    weight = (same & (mean.amax(1) >= sure)).float()
    drawn = values.to(torch.uint8).cpu().numpy()
    seen = [agreement(one, other) >= AGREED for one, other in zip(drawn[0], drawn[-1], strict=True)]
    weight *= torch.tensor(seen, device=weight.device)[:, None, None]
    target = functional.one_hot(mean.argmax(1), mean.shape[1]).movedim(-1, 1).float()
    return target, weight
