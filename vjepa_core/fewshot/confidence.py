"""Trust in a prediction: the expected Dice of a frame, and the probability that a label is wrong.

The softmax of the head, the carried labels and their agreement are the inputs of a calibration. None of them
needs another run of the head.
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
"""Smallest distance of Dice and softmax from 1 in `nines`."""

MIN_LABELLED_SHARE = 0.98
"""Smallest share of labelled pixels from which the Dice of an annotated frame is measured."""


@dataclass(frozen=True, eq=False)
class Trust:
    """Trust in predictions of some frames.

    Attributes
    ----------
    dice : (B,) float
        Expected mean Dice of the predicted structures of each frame; 0 if there are none.
    wrong : (B, grid, grid) float
        Probability that the predicted label of a pixel is wrong.
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
    """Return the trust in a prediction.

    Parameters
    ----------
    cine : PreparedCine
    frames : sequence of int
    probabilities : (len(frames), K, grid, grid) float
        Prediction of these frames; background and classes.
    carried : bool
        True if it is not of a head, but the labels of this cine carried along the motion.
    calibration : Calibration, optional
        By default the bundled one for this situation.

    Returns
    -------
    Trust
    """
    maps = calibration or shipped_calibration()[situation(cine, carried=carried)]
    prior = cine.prior(frames, probabilities.shape[1])
    dice = maps.expected_dice(frame_signs(cine, frames, probabilities, prior))
    for row, frame in enumerate(frames):
        measured = _measured_dice(cine, frame, probabilities[row])
        dice[row] = dice[row] if measured is None else measured
    # The pixels of a frame without structures are judged with its Dice before that is set to 0.
    wrong = maps.error_probability(pixel_signs(probabilities, prior, dice))
    drawn = (probabilities.max(1).indices > 0).flatten(1).any(1).numpy()
    return Trust(
        torch.from_numpy(np.where(drawn, dice, 0.0)).float().clamp(0, 1), torch.from_numpy(wrong).float()
    )


def confidence(cine: PreparedCine, frames: Sequence[int], probabilities: Tensor) -> Tensor:
    """Return the expected mean Dice of each frame, (len(frames),) in 0..1, see `trust`."""
    return trust(cine, frames, probabilities).dice


def situation(cine: PreparedCine, *, carried: bool = False) -> Situation:
    """Return the situation in which this cine is predicted."""
    if carried:
        return Situation.CARRIED
    return Situation.FITTED if _outlined_frames(cine) else Situation.DRAFT


def frame_signs(
    cine: PreparedCine, frames: Sequence[int], probabilities: Tensor, prior: Tensor
) -> NDArray[np.float64]:
    """Return the inputs of the calibration for frames, (B, 5); more is better.

    The columns are: nines of the Dice expected from the softmax, mean and least of the predicted structures;
    nines of `motion_confidence`; nines of the soft Dice between predicted and carried labels; minus the
    logarithm of 1 plus the number of frames to the nearest outlined one. The last three are 0 in a cine
    without labels.

    Parameters
    ----------
    probabilities, prior : (B, K, grid, grid) float
        Prediction, and carried labels.
    """
    soft = soft_dice(probabilities)
    drawn = ~soft.isnan()
    mean, least = soft.nanmean(1).nan_to_num(0.0), torch.where(drawn, soft, torch.inf).amin(1)
    signs = np.zeros((len(frames), 5))
    signs[:, 0] = nines(mean.numpy(), DICE_FLOOR)
    signs[:, 1] = nines(torch.where(drawn.any(1), least, 0.0).numpy(), DICE_FLOOR)
    outlined = _outlined_frames(cine)
    if outlined:
        signs[:, 2] = nines(motion_confidence(cine, frames).numpy(), DICE_FLOOR)
        signs[:, 3] = nines(_agreement(probabilities, prior).numpy(), DICE_FLOOR)
        signs[:, 4] = [-np.log1p(min(abs(source - frame) for source in outlined)) for frame in frames]
    return signs


def pixel_signs(probabilities: Tensor, prior: Tensor, dice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inputs of the calibration for pixels, (B, grid, grid, 3), see `calibration.PIXEL_SIGNS`.

    Parameters
    ----------
    probabilities, prior : (B, K, grid, grid) float
    dice : (B,) float
        Expected Dice of the frames.
    """
    best, label = probabilities.float().max(1)
    carried = prior.gather(1, label[:, None])[:, 0]
    signs = np.empty((*best.shape, 3))
    signs[..., 0] = nines(best.numpy(), SOFTMAX_FLOOR)
    signs[..., 1] = carried.numpy()
    signs[..., 2] = nines(dice, DICE_FLOOR)[:, None, None]
    return signs


def soft_dice(probabilities: Tensor) -> Tensor:
    """Return the Dice of each class expected from the softmax, (B, K - 1); NaN for classes without a pixel.

    If every pixel is right with its predicted probability, a mask m from probabilities p has the expected
    overlap sum(p m) with the truth, so its Dice is about 2 sum(p m) / (sum p + sum m).
    """
    p = probabilities.float()
    # `max` is many times faster than `argmax` along an axis that is not the last.
    mask = torch.zeros_like(p).scatter_(1, p.max(1, keepdim=True).indices, 1.0)[:, 1:]
    p = p[:, 1:]
    size = mask.sum((2, 3))
    dice = 2 * (p * mask).sum((2, 3)) / (p.sum((2, 3)) + size).clamp_min(1e-6)
    return dice.clamp(0.0, 1.0).masked_fill(size == 0, torch.nan)


def frame_confidence(probabilities: Tensor) -> Tensor:
    """Return the mean of `soft_dice` over the predicted classes, (B,) in 0..1; 0 if there are none.

    It is not calibrated.

    Parameters
    ----------
    probabilities : (B, K, h, w) float
        Background and classes; the sum over K is 1.
    """
    return soft_dice(probabilities).nanmean(1).nan_to_num(0.0)


def motion_confidence(cine: PreparedCine, frames: Sequence[int]) -> Tensor:
    """Return the soft Dice of the nearest label with itself, carried to a frame and back.

    2 sum(min(a, b)) / (sum a + sum b) over all structures, on the head's grid. If the tissue cannot be
    tracked, the label does not return to its position.

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
    outlined = _outlined_frames(cine)
    out = torch.ones(len(frames))
    for i, frame in enumerate(frames):
        source = min(outlined, key=lambda s: abs(s - frame))
        if source != frame:
            label = cine.labels[source].target[..., 1:]
            back = cine.motion.there_and_back(label, source, frame)
            total = float(label.sum() + back.sum())
            out[i] = 2.0 * float(np.minimum(label, back).sum()) / max(total, 1e-6)
    return out.clamp(0.0, 1.0)


def _agreement(probabilities: Tensor, prior: Tensor) -> Tensor:
    """Soft Dice of the predicted structures with the carried ones, (B,); 1 if neither has any."""
    p, q = probabilities[:, 1:].float(), prior[:, 1:]
    both, total = torch.minimum(p, q).sum((1, 2, 3)), p.sum((1, 2, 3)) + q.sum((1, 2, 3))
    return torch.where(total > 1e-3, 2 * both / total.clamp_min(1e-3), 1.0)


def _measured_dice(cine: PreparedCine, frame: int, probabilities: Tensor) -> float | None:
    """Dice with the outlines of this frame; None if not every structure is outlined, or it is scribbled."""
    label = cine.labels.get(frame)
    outlined = _outlined_frames(cine)
    if label is None or not outlined:
        return None
    classes = cine.outlined_classes.numpy()
    known = label.weight > 0.5
    predicted = np.bincount(probabilities.argmax(0).ravel().numpy(), minlength=len(classes)) > 0
    if ((classes | predicted) & ~label.stated).any() or known.mean() < MIN_LABELLED_SHARE:
        return None
    predicted_label, truth = probabilities.argmax(0).numpy(), label.target.argmax(-1)
    each = []
    for k in np.flatnonzero(label.stated[1:]) + 1:
        a, b = (predicted_label == k) & known, (truth == k) & known
        total = int(a.sum() + b.sum())
        if total:
            each.append(2 * int((a & b).sum()) / total)
    return float(np.mean(each)) if each else None


def _outlined_frames(cine: PreparedCine) -> list[int]:
    return [frame for frame, label in cine.labels.items() if label.outlined[1:].any()]
