"""Expected errors of predictions: the expected Dice of a frame, and the doubt of its pixels.

The softmax of the head, the carried labels and their agreement are the inputs of a calibration. None of them
requires another pass of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.fewshot.dice_calibration import Calibration, Situation, nines, shipped_calibration
from vjepa_core.fewshot.prepared_cine import PreparedCine

DICE_FLOOR, SOFTMAX_FLOOR = 0.002, 1e-4
"""Minimum distance of Dice and softmax from 1 in `nines`."""

MIN_LABELLED_SHARE = 0.98
"""Minimum fraction of labelled pixels for which the Dice of an annotated frame is measured."""


@dataclass(frozen=True, eq=False)
class ErrorEstimate:
    """Expected errors of the predictions of some frames.

    Attributes
    ----------
    dice : (B,) float
        Expected mean Dice of the predicted structures of each frame; 0 if there are none.
    doubt : (B, grid, grid) float
        Probability that the predicted label of a pixel is wrong.
    """

    dice: Tensor
    doubt: Tensor


def estimate_errors(
    cine: PreparedCine,
    frames: Sequence[int],
    probabilities: Tensor,
    *,
    carried: bool = False,
    calibration: Calibration | None = None,
) -> ErrorEstimate:
    """Estimate the errors of predictions.

    Parameters
    ----------
    cine : PreparedCine
        Cine with its labels.
    frames : sequence of int
        Frame numbers.
    probabilities : (len(frames), K, grid, grid) float
        Prediction of these frames; background and classes.
    carried : bool
        True if the prediction consists of carried labels of this cine instead of the output of a head.
    calibration : Calibration, optional
        Default: the shipped one for the situation.

    Returns
    -------
    ErrorEstimate
    """
    maps = calibration or shipped_calibration()[situation(cine, carried=carried)]
    prior = cine.prior(frames, probabilities.shape[1])
    dice = maps.expected_dice(frame_indicators(cine, frames, probabilities, prior))
    for row, frame in enumerate(frames):
        measured = _measured_dice(cine, frame, probabilities[row])
        dice[row] = dice[row] if measured is None else measured
    # On a frame without structures, the doubt is computed from its Dice before that is set to 0.
    doubt = maps.error_probability(pixel_indicators(probabilities, prior, dice))
    has_structure = (probabilities.max(1).indices > 0).flatten(1).any(1).numpy()
    return ErrorEstimate(
        torch.from_numpy(np.where(has_structure, dice, 0.0)).float().clamp(0, 1),
        torch.from_numpy(doubt).float(),
    )


def estimate_partial_draft_errors(
    cine: PreparedCine, frames: Sequence[int], probabilities: Tensor, drafted: Tensor, known: Tensor
) -> ErrorEstimate:
    """Estimate the errors of predictions of which the draft supplies some structures.

    The expected Dice is the mean over the predicted structures: those of the head have the expected Dice of
    a fitted head, those of the draft that of a draft.

    Parameters
    ----------
    cine, frames
        See `estimate_errors`.
    probabilities : (len(frames), K, grid, grid) float
        Prediction of head and draft.
    drafted : (len(frames), K, grid, grid) float
        Prediction of the draft alone.
    known : (K,) bool
        Outputs of the head; the draft supplies the others.
    """
    errors = estimate_errors(cine, frames, probabilities)
    draft_dice = estimate_errors(replace(cine, labels={}), frames, drafted).dice
    present = ~soft_dice(probabilities).isnan()
    n_fitted = (present & known[1:]).sum(1)
    n_drafted = (present & ~known[1:]).sum(1)
    total = n_fitted * errors.dice + n_drafted * draft_dice
    return replace(errors, dice=total / (n_fitted + n_drafted).clamp_min(1))


def expected_dice(cine: PreparedCine, frames: Sequence[int], probabilities: Tensor) -> Tensor:
    """Return the expected mean Dice of each frame, (len(frames),) in 0..1; see `estimate_errors`."""
    return estimate_errors(cine, frames, probabilities).dice


def situation(cine: PreparedCine, *, carried: bool = False) -> Situation:
    """Return the situation of predictions of a cine."""
    if carried:
        return Situation.CARRIED
    return Situation.FITTED if _outlined_frames(cine) else Situation.DRAFT


def frame_indicators(
    cine: PreparedCine, frames: Sequence[int], probabilities: Tensor, prior: Tensor
) -> NDArray[np.float64]:
    """Return the inputs of the calibration for frames, (B, 5); larger values are better.

    The columns are: nines of the Dice expected from the softmax, mean and minimum over the predicted
    structures; nines of `motion_confidence`; nines of the soft Dice between predicted and carried labels;
    minus the logarithm of 1 plus the number of frames to the nearest outlined one. The last three are 0 in a
    cine without labels.

    Parameters
    ----------
    probabilities, prior : (B, K, grid, grid) float
        Prediction, and carried labels.
    """
    soft = soft_dice(probabilities)
    present = ~soft.isnan()
    mean, least = soft.nanmean(1).nan_to_num(0.0), torch.where(present, soft, torch.inf).amin(1)
    indicators = np.zeros((len(frames), 5))
    indicators[:, 0] = nines(mean.numpy(), DICE_FLOOR)
    indicators[:, 1] = nines(torch.where(present.any(1), least, 0.0).numpy(), DICE_FLOOR)
    outlined = _outlined_frames(cine)
    if outlined:
        indicators[:, 2] = nines(motion_confidence(cine, frames).numpy(), DICE_FLOOR)
        indicators[:, 3] = nines(_agreement(probabilities, prior).numpy(), DICE_FLOOR)
        indicators[:, 4] = [-np.log1p(min(abs(source - frame) for source in outlined)) for frame in frames]
    return indicators


def pixel_indicators(probabilities: Tensor, prior: Tensor, dice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inputs of the calibration for pixels, `PIXEL_INDICATORS`, (B, grid, grid, 3).

    Parameters
    ----------
    probabilities, prior : (B, K, grid, grid) float
    dice : (B,) float
        Expected Dice of the frames.
    """
    best, label = probabilities.float().max(1)
    carried = prior.gather(1, label[:, None])[:, 0]
    indicators = np.empty((*best.shape, 3))
    indicators[..., 0] = nines(best.numpy(), SOFTMAX_FLOOR)
    indicators[..., 1] = carried.numpy()
    indicators[..., 2] = nines(dice, DICE_FLOOR)[:, None, None]
    return indicators


def soft_dice(probabilities: Tensor) -> Tensor:
    """Return the Dice of each class expected from the softmax, (B, K - 1); NaN for classes without pixels.

    If the probabilities are correct, a mask m from probabilities p has the expected
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

    It is 2 sum(min(a, b)) / (sum a + sum b) over all structures, on the head's grid. If the tissue cannot be
    tracked, the label does not return to its position.

    Parameters
    ----------
    cine : PreparedCine
        Cine with at least one frame on which a structure is outlined.
    frames : sequence of int
        Frame numbers.

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
    """Return the soft Dice of predicted and carried structures, (B,); 1 if neither has any."""
    p, q = probabilities[:, 1:].float(), prior[:, 1:]
    both, total = torch.minimum(p, q).sum((1, 2, 3)), p.sum((1, 2, 3)) + q.sum((1, 2, 3))
    return torch.where(total > 1e-3, 2 * both / total.clamp_min(1e-3), 1.0)


def _measured_dice(cine: PreparedCine, frame: int, probabilities: Tensor) -> float | None:
    """Return the Dice with the outlines of a frame; None if not every structure is outlined."""
    label = cine.labels.get(frame)
    if label is None or not _outlined_frames(cine):
        return None
    classes = cine.outlined_classes.numpy()
    known = label.weight > 0.5
    predicted_label = probabilities.argmax(0).numpy()
    predicted = np.bincount(predicted_label.ravel(), minlength=len(classes)) > 0
    if ((classes | predicted) & ~label.stated).any() or known.mean() < MIN_LABELLED_SHARE:
        return None
    truth = label.target.argmax(-1)
    each = []
    for k in np.flatnonzero(label.stated[1:]) + 1:
        a, b = (predicted_label == k) & known, (truth == k) & known
        total = int(a.sum() + b.sum())
        if total:
            each.append(2 * int((a & b).sum()) / total)
    return float(np.mean(each)) if each else None


def _outlined_frames(cine: PreparedCine) -> list[int]:
    return [frame for frame, label in cine.labels.items() if label.outlined[1:].any()]
