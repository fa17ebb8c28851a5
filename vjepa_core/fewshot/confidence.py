"""How far a frame's prediction can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vjepa_core.fewshot.study import StudyCine


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


def motion_confidence(cine: StudyCine, frames: Sequence[int]) -> Tensor:
    """How well the nearest label survives the way to a frame and back: its soft Dice with itself.

    2 sum(min(a, b)) / (sum a + sum b) over all structures, on the head's grid. Where tissue cannot be
    followed, the label does not come back to where it was.

    Parameters
    ----------
    cine : StudyCine
        With at least one frame on which a structure is outlined.
    frames : sequence of int

    Returns
    -------
    (len(frames),) float
        In 0..1; 1 on annotated frames.
    """
    shown = _shown(cine)
    out = torch.ones(len(frames))
    for i, frame in enumerate(frames):
        source = min(shown, key=lambda s: abs(s - frame))
        if source != frame:
            label = cine.labels[source].target[..., 1:]
            back = cine.motion.there_and_back(label, source, frame)
            total = float(label.sum() + back.sum())
            out[i] = 2.0 * float(np.minimum(label, back).sum()) / max(total, 1e-6)
    return out.clamp(0.0, 1.0)


def confidence(cine: StudyCine, frames: Sequence[int], probabilities: Tensor) -> Tensor:
    """Confidence in a prediction, (len(frames),) in 0..1.

    `motion_confidence` in a cine with labels: on pseudo-cines it follows the true Dice of the frames
    (correlation 0.6 to 0.9 within a cine), while the head's own probabilities do not (-0.3) and spoil the
    product. `frame_confidence` in a cine without labels, where there is nothing else.

    Parameters
    ----------
    cine : StudyCine
    frames : sequence of int
    probabilities : (len(frames), K, h, w) float
        The head's answer on these frames.
    """
    return motion_confidence(cine, frames) if _shown(cine) else frame_confidence(probabilities)


def _shown(cine: StudyCine) -> list[int]:
    return [frame for frame, label in cine.labels.items() if label.drawn[1:].any()]
