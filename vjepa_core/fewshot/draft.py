"""The draft: predictions of the starter head without labels, and their use beside a fitted head.

A head fitted to one outlined frame is fitted to one phase of the cardiac cycle. Near the other phase it
depends on the label carried there by motion, which lags behind where optical flow fails to track the tissue.
The starter head was fitted to many hearts in both phases: its outlines resemble those of other raters, but
follow the beat. Where a prediction has changed less since the annotated frame than the draft has, the draft
replaces it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.fewshot.fit import predict
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.overlap import MIN_AGREEMENT, agreement
from vjepa_core.fewshot.prepared_cine import FrameLabel, PreparedCine

PHASE_CHANGE = (0.05, 0.15)
"""Changes of the draft since the annotated frame (1 - mean Dice) at which it starts to contribute, and at
which it contributes fully."""

MAX_LAG = 0.04
"""If a prediction changes less than the draft by this much (1 - mean Dice), the draft replaces it."""

DRAFT_JITTER = 0.05
"""Difference of the draft between neighbouring frames (1 - mean Dice) that occurs without motion."""


class Draft:
    """Predictions of the starter head on a cine without its labels; each frame is computed once.

    Parameters
    ----------
    head : Head
        The starter head, on the inference device.
    cine : PreparedCine
        Cine with features, to which the starter head applies.
    """

    def __init__(self, head: Head, cine: PreparedCine) -> None:
        self.head = head
        self._cine = cine
        self._stored: dict[int, NDArray[np.uint8]] = {}  # probability times 255; 50 kB per frame

    def __call__(self, frames: Sequence[int]) -> Tensor:
        """Return probabilities (len(frames), K, grid, grid) of background and classes."""
        missing = sorted({frame for frame in frames if frame not in self._stored})
        if missing:
            self.store(missing, predict(self.head, replace(self._cine, labels={}), missing))
        stacked = torch.from_numpy(np.stack([self._stored[frame] for frame in frames])).float()
        return stacked / stacked.sum(1, keepdim=True)

    def store(self, frames: Sequence[int], probabilities: Tensor) -> None:
        """Store probabilities that the same head predicted without labels."""
        for frame, maps in zip(frames, probabilities, strict=True):
            self._stored[frame] = (255 * maps).round().byte().numpy()

    def has(self, frames: Sequence[int]) -> bool:
        """Return True if everything that `blend_with_draft` needs for these frames is stored."""
        return self._stored.keys() >= {*frames, *_needed(self._cine)}


def predict_with_draft(head: Head, cine: PreparedCine, frames: Sequence[int], draft: Draft | None) -> Tensor:
    """Predict frames of a cine, with the draft where it follows the beat better.

    Parameters
    ----------
    head : Head
    cine : PreparedCine
    frames : sequence of int
    draft : Draft, optional
        Draft of this cine; None if the starter head does not apply or predicts other structures.

    Returns
    -------
    (len(frames), K, grid, grid) float
        Probabilities of background and classes, on the CPU.
    """
    predicted = predict(head, cine, frames)
    if draft is None:
        return predicted
    if head is draft.head:
        if not cine.labels:
            draft.store(frames, predicted)
        return predicted
    return blend_with_draft(predicted, cine, frames, draft)


def blend_with_draft(
    probabilities: Tensor, cine: PreparedCine, frames: Sequence[int], draft: Draft
) -> Tensor:
    """Mix predictions with the draft, weighted by their changes since the annotated frame.

    Parameters
    ----------
    probabilities : (len(frames), K, grid, grid) float
        Background and classes, for example of a fitted head.
    cine : PreparedCine
        Cine with labels.
    frames : sequence of int
    draft : Draft
        Draft of this cine, with the same classes.

    Returns
    -------
    (len(frames), K, grid, grid) float
    """
    if not _outlined(cine):
        return probabilities
    drafted = _without_other_classes(draft(frames), cine.outlined_classes)
    share = draft_share(probabilities, drafted, cine, frames, draft)[:, None, None, None]
    return torch.lerp(probabilities, drafted, share)


def fill_from_draft(probabilities: Tensor, drafted: Tensor, known: Tensor) -> Tensor:
    """Add the draft of the structures that a head was not fitted to, where that head predicts background.

    When one structure of a draft is outlined, the others thus stay visible. The draft is normalised to these
    structures and background, so that no gap remains where it places the border of a known structure
    elsewhere.

    Parameters
    ----------
    probabilities, drafted : (B, K, grid, grid) float
        Probabilities of a fitted head, and of the draft.
    known : (K,) bool
        Background, and the classes that the head was fitted to.

    Returns
    -------
    (B, K, grid, grid) float
    """
    others = ~known
    others[0] = True
    rest = drafted * others[None, :, None, None]
    rest = rest / rest.sum(1, keepdim=True).clamp_min(1e-6)
    fitted = probabilities * known[None, :, None, None]
    fitted[:, 0] = 0
    return fitted + (1.0 - fitted.sum(1, keepdim=True)) * rest


def draft_share(
    probabilities: Tensor, drafted: Tensor, cine: PreparedCine, frames: Sequence[int], draft: Draft
) -> Tensor:
    """Return the weight of the draft on each frame, (len(frames),) in 0..1.

    Each frame is compared with the annotated frame whose draft is most similar. The weight is 0 if the draft
    disagrees with the outlines of that frame: then it does not describe this heart.
    """
    references = [_Reference(frame, label, cine, draft) for frame, label in _outlined(cine).items()]
    shares = []
    for own, other in zip(probabilities.argmax(1).numpy(), drafted.argmax(1).numpy(), strict=True):
        nearest = min(references, key=lambda one: one.change_of_draft(other))
        expected = nearest.change_of_draft(other)
        low, high = PHASE_CHANGE
        distance = np.clip((expected - low) / (high - low), 0.0, 1.0)
        lag = np.clip((expected - nearest.change_of_prediction(own)) / MAX_LAG, 0.0, 1.0)
        shares.append(distance * lag if nearest.agrees else 0.0)
    return torch.tensor(shares, dtype=torch.float32)


class _Reference:
    """An annotated frame and its draft."""

    def __init__(self, frame: int, label: FrameLabel, cine: PreparedCine, draft: Draft) -> None:
        self._stated = label.stated
        self._label = self._stated_only(label.target.argmax(-1))
        nearby = draft([frame, *_neighbours(frame, cine)])
        here, *around = _without_other_classes(nearby, cine.outlined_classes).argmax(1).numpy()
        self._draft = self._stated_only(here)
        self.agrees = agreement(self._draft, self._label) >= MIN_AGREEMENT
        # If the draft errs on this frame only, it differs from its neighbours without any motion.
        differences = [1.0 - agreement(self._draft, self._stated_only(one)) for one in around]
        self._error = max(0.0, min(differences, default=0.0) - DRAFT_JITTER)

    def change_of_draft(self, drafted: NDArray[np.int64]) -> float:
        """Return the change of the draft from this frame to another one, 1 - mean Dice."""
        return 1.0 - agreement(self._draft, self._stated_only(drafted)) - self._error

    def change_of_prediction(self, predicted: NDArray[np.int64]) -> float:
        """Return the change from the outlines of this frame to the prediction of another, 1 - mean Dice."""
        return 1.0 - agreement(self._label, self._stated_only(predicted))

    def _stated_only(self, classes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Set classes for which this frame is not annotated to background."""
        return np.where(self._stated[classes], classes, 0).astype(np.uint8)


def _outlined(cine: PreparedCine) -> dict[int, FrameLabel]:
    return {frame: label for frame, label in cine.labels.items() if label.stated[1:].any()}


def _neighbours(frame: int, cine: PreparedCine) -> list[int]:
    return [f for f in (frame - 1, frame + 1) if 0 <= f < cine.n_frames]


def _needed(cine: PreparedCine) -> set[int]:
    """Return the frames whose draft `blend_with_draft` uses for every prediction."""
    return {near for frame in _outlined(cine) for near in (frame, *_neighbours(frame, cine))}


def _without_other_classes(probabilities: Tensor, outlined: Tensor) -> Tensor:
    """Move the probability of classes that are not outlined on the cine to background."""
    moved = probabilities * outlined[None, :, None, None]
    moved[:, 0] += 1.0 - moved.sum(1)
    return moved
