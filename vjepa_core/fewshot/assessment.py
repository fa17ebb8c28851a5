"""Predicted masks of a cine, and their assessment: expected Dice, findings and the frame to outline next."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.fewshot.confidence import soft_dice
from vjepa_core.fewshot.findings import CineFindings, Finding, allowed_pieces, capped
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.suggest import Suggestion, frame_embeddings, next_frame, similarity
from vjepa_core.letterbox import Letterbox

USUAL_DOUBT = 0.05
"""Assumed 1 - Dice of a frame without a prediction, in a cine with labels."""


@dataclass(frozen=True, eq=False)
class PredictedFrames:
    """Prediction of some frames of a cine.

    Attributes
    ----------
    frames : list of int
        The B frame numbers.
    probabilities : Tensor
        (B, K, grid, grid) float, background and classes.
    masks : array
        (B, height, width) uint8 label images of the region.
    doubt : Tensor
        (B, grid, grid) float, probability that the predicted label of a pixel is wrong.
    expected_dice : dict
        Expected Dice by frame: of these frames, and of neighbours whose findings have changed.
    """

    frames: list[int]
    probabilities: Tensor
    masks: NDArray[np.uint8]
    doubt: Tensor
    expected_dice: dict[int, float]


class Assessment:
    """Expected Dice, findings and suggestion of one cine, updated as frames are predicted.

    Parameters
    ----------
    cine : PreparedCine
    classes : tuple of int
        Label values of the structures.
    fps : float
        Frame rate, Hz; 0 if unknown.
    left_heart : bool
        True if the classes are those of the starter head.
    damaged : collection of int
        Frames that could not be decoded.
    """

    def __init__(
        self,
        cine: PreparedCine,
        classes: tuple[int, ...],
        *,
        fps: float,
        left_heart: bool,
        damaged: Collection[int],
    ) -> None:
        self._cine, self._classes, self._left_heart, self._damaged = cine, classes, left_heart, damaged
        self._fps = fps
        self._dice: dict[int, float] = {}  # not capped by findings
        self._structure_dice: dict[int, dict[int, float]] = {}
        self._reported_dice: dict[int, float] = {}
        self._current: set[int] = set()  # frames predicted since `invalidate`
        self._cine_findings: CineFindings | None = None
        self._similarity: NDArray[np.float32] | None = None
        self._suggestion: Suggestion | None = None  # valid until labels or predictions change

    def invalidate(self) -> None:
        """Mark all predictions as outdated: their Dice is not reported until they are predicted again."""
        self._current.clear()

    def labels_changed(self) -> None:
        """Mark predictions and suggestion as outdated; without labels, clear the reported Dice."""
        self._suggestion = None
        self._current.clear()
        if not self._cine.labels:
            self._reported_dice.clear()

    def update(self, frames: list[int], probabilities: Tensor, dice: Tensor) -> dict[int, float]:
        """Update with the predictions of some frames.

        Parameters
        ----------
        frames : list of int
        probabilities : (B, K, grid, grid) float
        dice : (B,) float
            Expected Dice of the frames, without findings.

        Returns
        -------
        dict
            Expected Dice of these frames, and of neighbours whose findings have changed.
        """
        self._suggestion = None
        self._dice.update(zip(frames, dice.tolist(), strict=True))
        for frame, each in zip(frames, soft_dice(probabilities).tolist(), strict=True):
            by_value = zip(self._classes, each, strict=True)
            self._structure_dice[frame] = {v: dice for v, dice in by_value if not math.isnan(dice)}
        if self._cine_findings is None:
            self._cine_findings = CineFindings(self._cine.sector, fps=self._fps, left_heart=self._left_heart)
        labels = self._cine.labels.values()
        # Without labels, the number of pieces is known for the left heart only.
        allowed = allowed_pieces(labels, self._classes) if labels or self._left_heart else None
        values = np.array([0, *self._classes], np.uint8)
        self._current.update(frames)
        changed = self._cine_findings.update(frames, values[probabilities.max(1).indices.numpy()], allowed)
        reported = (*frames, *sorted((changed & self._current) - set(frames)))
        expected = {frame: self.expected_dice(frame) for frame in reported}
        self._reported_dice.update(expected)
        return expected

    def expected_dice(self, frame: int) -> float:
        """Return the expected Dice of a predicted frame, capped if it has findings."""
        return 0.0 if frame in self._damaged else capped(self._dice[frame], self.findings(frame))

    def structure_dice(self, frame: int) -> dict[int, float]:
        """Return the Dice of each predicted structure expected from the softmax, by label value.

        It is not calibrated; see `vjepa_core.fewshot.confidence.soft_dice`.
        """
        return {} if frame in self._damaged else self._structure_dice.get(frame, {})

    def findings(self, frame: int) -> tuple[Finding, ...]:
        """Return the reasons to distrust the prediction of a frame; none for an annotated frame."""
        if self._cine_findings is None or frame in self._cine.labels or frame in self._damaged:
            return ()
        return self._cine_findings.of(frame)

    def suggestion(self) -> Suggestion:
        """Return the frame to outline next, given the expected Dice of every frame."""
        n = self._cine.n_frames
        if self._similarity is None:
            self._similarity = similarity(frame_embeddings(self._cine.computed_features, n))
        if self._suggestion is None:
            unknown = 1.0 - USUAL_DOUBT if self._cine.labels else 0.0
            doubt = [1.0 - self._reported_dice.get(frame, unknown) for frame in range(n)]
            annotated = self._cine.labels
            self._suggestion = next_frame(self._similarity, doubt, annotated, excluded=self._damaged)
        return self._suggestion


def label_image(
    probabilities: Tensor,
    box: Letterbox,
    classes: tuple[int, ...],
    inside: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Return label values on the pixels of the region, 0 outside the ultrasound sector.

    Probabilities are interpolated before the largest is taken, so that borders are smoother than the grid.

    Parameters
    ----------
    probabilities : (K, grid, grid) float
        Background and classes.
    box : Letterbox
    classes : tuple of int
    inside : (h, w) bool, optional
        Pixels that may have labels; see `PreparedCine.inside`. Default: all.

    Returns
    -------
    (h, w) uint8
    """
    fine = box.invert(probabilities.float().numpy())
    labels = np.array([0, *classes], np.uint8)[fine.argmax(0)]
    if inside is not None:
        labels[~inside] = 0
    return labels
