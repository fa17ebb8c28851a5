"""How far a prediction can be trusted: the Dice to expect of a frame, and where its labels may be wrong.

The head's softmax, what motion says, and how far the two agree are signs; `calibration` makes probabilities
of them. None needs the head to run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.fewshot.calibration import Calibration, Situation, nines, shipped_calibration
from vjepa_core.fewshot.prepared_cine import PreparedCine

DICE_FLOOR, SOFTMAX_FLOOR = 0.002, 1e-4
"""What `nines` is kept off 1 by, of Dice and of softmax."""

KNOWN_SHARE = 0.98
"""Of the pixels: a frame on which fewer are labelled does not tell its Dice."""


@dataclass(frozen=True, eq=False)
class Trust:
    """How far predictions of some frames can be trusted.

    Attributes
    ----------
    dice : (B,) float
        Mean Dice of the drawn structures to expect of each frame; 0 where nothing is drawn.
    wrong : (B, grid, grid) float
        Probability that the drawn label of a pixel is wrong.
    """

    dice: Tensor
    wrong: Tensor


def trust(
    cine: PreparedCine,
    frames: Sequence[int],
    probabilities: Tensor,
    *,
    carried: bool = False,
    calibration: Calibration | None = None,
) -> Trust:
    """Trust in a prediction.

    Parameters
    ----------
    cine : PreparedCine
    frames : sequence of int
    probabilities : (len(frames), K, grid, grid) float
        The head's answer on these frames; background and classes.
    carried : bool
        They are no head's answer but the labels of this cine, carried along motion.
    calibration : Calibration, optional
        Default the one that ships, for what the prediction rests on.
    """
    maps = calibration or shipped_calibration()[situation(cine, carried=carried)]
    prior = cine.prior(frames, probabilities.shape[1])
    dice = maps.expected_dice(frame_signs(cine, frames, probabilities, prior))
    for row, frame in enumerate(frames):
        known = _known_dice(cine, frame, probabilities[row])
        dice[row] = dice[row] if known is None else known
    # Trust in the pixels of a frame without structures does not fall because there is nothing to measure.
    wrong = maps.error_probability(pixel_signs(probabilities, prior, dice))
    drawn = (probabilities.max(1).indices > 0).flatten(1).any(1).numpy()
    return Trust(
        torch.from_numpy(np.where(drawn, dice, 0.0)).float().clamp(0, 1), torch.from_numpy(wrong).float()
    )


def confidence(cine: PreparedCine, frames: Sequence[int], probabilities: Tensor) -> Tensor:
    """Mean Dice to expect of each frame, (len(frames),) in 0..1: `trust`, without the pixels."""
    return trust(cine, frames, probabilities).dice


def situation(cine: PreparedCine, *, carried: bool = False) -> Situation:
    """What a prediction of this cine rests on."""
    if carried:
        return Situation.CARRIED
    return Situation.FITTED if _shown(cine) else Situation.DRAFT


def frame_signs(
    cine: PreparedCine, frames: Sequence[int], probabilities: Tensor, prior: Tensor
) -> NDArray[np.float64]:
    """Signs of trust in frames, (B, 5); more is better.

    "soft" and "weakest": nines of the Dice that the softmax means, mean and least of the drawn structures.
    "returned": nines of `motion_confidence`. "agreed": nines of the soft Dice between drawn and carried
    labels. "near": minus the logarithm of 1 and the frames to the nearest outlined one. The last three are 0
    in a cine without labels.

    Parameters
    ----------
    probabilities, prior : (B, K, grid, grid) float
        The head's answer, and the carried labels.
    """
    soft = soft_dice(probabilities)
    drawn = ~soft.isnan()
    mean, least = soft.nanmean(1).nan_to_num(0.0), torch.where(drawn, soft, torch.inf).amin(1)
    signs = np.zeros((len(frames), 5))
    signs[:, 0] = nines(mean.numpy(), DICE_FLOOR)
    signs[:, 1] = nines(torch.where(drawn.any(1), least, 0.0).numpy(), DICE_FLOOR)
    shown = _shown(cine)
    if shown:
        signs[:, 2] = nines(motion_confidence(cine, frames).numpy(), DICE_FLOOR)
        signs[:, 3] = nines(_agreement(probabilities, prior).numpy(), DICE_FLOOR)
        signs[:, 4] = [-np.log1p(min(abs(source - frame) for source in shown)) for frame in frames]
    return signs


def pixel_signs(probabilities: Tensor, prior: Tensor, dice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signs of trust in pixels, (B, grid, grid, 3), see `calibration.PIXEL_SIGNS`; more is better.

    Parameters
    ----------
    probabilities, prior : (B, K, grid, grid) float
    dice : (B,) float
        To expect of the frames.
    """
    best, label = probabilities.float().max(1)
    carried = prior.gather(1, label[:, None])[:, 0]
    signs = np.empty((*best.shape, 3))
    signs[..., 0] = nines(best.numpy(), SOFTMAX_FLOOR)
    signs[..., 1] = carried.numpy()
    signs[..., 2] = nines(dice, DICE_FLOOR)[:, None, None]
    return signs


def soft_dice(probabilities: Tensor) -> Tensor:
    """Dice of each class that the softmax means, (B, K - 1); NaN where the class is not drawn.

    If every pixel is right with the probability that the head gives it, a mask m drawn from probabilities p
    has the expected overlap sum(p m) with the truth, so its Dice is about 2 sum(p m) / (sum p + sum m).
    """
    p = probabilities.float()
    # `max` finds places many times faster than `argmax` along an axis that is not the last.
    mask = torch.zeros_like(p).scatter_(1, p.max(1, keepdim=True).indices, 1.0)[:, 1:]
    p = p[:, 1:]
    size = mask.sum((2, 3))
    dice = 2 * (p * mask).sum((2, 3)) / (p.sum((2, 3)) + size).clamp_min(1e-6)
    return dice.clamp(0.0, 1.0).masked_fill(size == 0, torch.nan)


def frame_confidence(probabilities: Tensor) -> Tensor:
    """Mean of `soft_dice` over the drawn classes, (B,) in 0..1; 0 where none is drawn. Not calibrated.

    Parameters
    ----------
    probabilities : (B, K, h, w) float
        Background and classes; sums to one over K.
    """
    return soft_dice(probabilities).nanmean(1).nan_to_num(0.0)


def motion_confidence(cine: PreparedCine, frames: Sequence[int]) -> Tensor:
    """How well the nearest label survives the way to a frame and back: its soft Dice with itself.

    2 sum(min(a, b)) / (sum a + sum b) over all structures, on the head's grid. Where tissue cannot be
    followed, the label does not come back to where it was.

    Parameters
    ----------
    cine : PreparedCine
        With at least one frame on which a structure is outlined.
    frames : sequence of int

    Returns
    -------
    (len(frames),) float
        In 0..1; 1 on annotated frames. Not calibrated.
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


def _agreement(probabilities: Tensor, prior: Tensor) -> Tensor:
    """Soft Dice of the head's structures with the carried ones, (B,); 1 where neither has any."""
    p, q = probabilities[:, 1:].float(), prior[:, 1:]
    both, total = torch.minimum(p, q).sum((1, 2, 3)), p.sum((1, 2, 3)) + q.sum((1, 2, 3))
    return torch.where(total > 1e-3, 2 * both / total.clamp_min(1e-3), 1.0)


def _known_dice(cine: PreparedCine, frame: int, probabilities: Tensor) -> float | None:
    """Dice with what a human outlined on this very frame; None where that leaves something open.

    It does where not every structure is outlined on it, or where it is scribbled on.
    """
    label = cine.labels.get(frame)
    shown = _shown(cine)
    if label is None or not shown:
        return None
    everything = cine.outlined_classes.numpy()
    known = label.weight > 0.5
    predicted = np.bincount(probabilities.argmax(0).ravel().numpy(), minlength=len(everything)) > 0
    if ((everything | predicted) & ~label.stated).any() or known.mean() < KNOWN_SHARE:
        return None
    drawn, truth = probabilities.argmax(0).numpy(), label.target.argmax(-1)
    each = []
    for k in np.flatnonzero(label.stated[1:]) + 1:
        ours, theirs = (drawn == k) & known, (truth == k) & known
        total = int(ours.sum() + theirs.sum())
        if total:
            each.append(2 * int((ours & theirs).sum()) / total)
    return float(np.mean(each)) if each else None


def _shown(cine: PreparedCine) -> list[int]:
    return [frame for frame, label in cine.labels.items() if label.outlined[1:].any()]
