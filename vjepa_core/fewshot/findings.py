"""Findings: implausible properties of a predicted label image, as reasons to check a frame.

The softmax of a head does not reflect shape: a ventricle in three pieces may have a high probability. A
finding caps the expected Dice of its frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.head import GRID_SIZE
from vjepa_core.fewshot.heart_shape import LA, LV, MYO
from vjepa_core.fewshot.prepared_cine import FrameLabel


class Finding(StrEnum):
    """A reason to distrust a predicted frame."""

    PIECES = "pieces"  # a structure is in several pieces
    HOLE = "hole"  # a structure has a hole
    JUMP = "jump"  # an area differs from that of the neighbouring frames
    UNENCLOSED = "unenclosed"  # the cavity is not enclosed by the wall
    OUTSIDE = "outside"  # a large part is outside the ultrasound sector


CAP = 0.65
"""Upper limit of the expected Dice of a frame with a finding.

Of 200 predictions on CAMUS validation images by nets fitted to phantoms only, the 42 with a finding had a
mean Dice of 0.63, the others 0.77. No outline of the training patients has a finding.
"""

MIN_PIXELS = 12
"""Minimum size of a structure, piece or hole in pixels of the head's grid."""

MIN_PIECE_SHARE = 0.04
"""Minimum size of a piece or hole as a fraction of the structure."""

MIN_ENCLOSED = 0.7
"""Minimum fraction of the cavity's rim next to wall or atrium; outlined hearts have more."""

MAX_OUTSIDE = 0.15
"""Maximum fraction of the structures outside the sector; at most 11 % for outlined hearts."""

MAX_JUMP, LOG_JUMP_PER_SECOND = 1.3, 4.0
"""Maximum ratio of an area to that of neighbouring frames, and the increase of its logarithm per second: the
area of a ventricle changes by a factor of less than e^4 per second."""

NEIGHBOURS = 2
"""Number of neighbouring frames on either side for comparison of areas."""


def findings(mask: NDArray[np.uint8], *, left_heart: bool, allowed: Mapping[int, int] | None) -> set[Finding]:
    """Return the findings of a single label image.

    Parameters
    ----------
    mask : array
        (h, w) uint8 on the head's grid.
    left_heart : bool
        True if the labels 1, 2 and 3 are cavity, wall and atrium.
    allowed : mapping or None
        Largest number of pieces of each label value on annotated frames (see `allowed_pieces`); 1 for
        missing values. If None, pieces and holes are not findings.
    """
    found: set[Finding] = set()
    if allowed is not None:
        for value in np.unique(mask[mask > 0]).tolist():
            part = (mask == value).astype(np.uint8)
            min_pixels = max(MIN_PIXELS, MIN_PIECE_SHARE * int(part.sum()))
            if pieces(part, min_pixels) > max(allowed.get(value, 1), 1):
                found.add(Finding.PIECES)
            if left_heart and value in (LV, LA) and _has_hole(part, min_pixels):
                found.add(Finding.HOLE)
    if left_heart:
        cavity, around = (mask == LV).astype(np.uint8), np.isin(mask, (MYO, LA))
        if cavity.sum() >= MIN_PIXELS and (mask == MYO).sum() >= MIN_PIXELS:
            rim = (cv2.dilate(cavity, np.ones((3, 3), np.uint8)) > 0) & (cavity == 0)
            if (rim & around).sum() < MIN_ENCLOSED * rim.sum():
                found.add(Finding.UNENCLOSED)
    return found


def allowed_pieces(labels: Iterable[FrameLabel], classes: Sequence[int]) -> dict[int, int]:
    """Return the largest number of pieces of each outlined structure, by label value.

    Parameters
    ----------
    labels : iterable of FrameLabel
    classes : sequence of int
        Label values, in the order of the classes of the labels.
    """
    max_pieces: dict[int, int] = {}
    for label in labels:
        for k, value in enumerate(classes, start=1):
            if label.stated[k]:
                count = pieces((label.target[..., k] > 0.5).astype(np.uint8))
                max_pieces[value] = max(max_pieces.get(value, 0), count)
    return max_pieces


def pieces(part: NDArray[np.uint8], min_pixels: float = MIN_PIXELS) -> int:
    """Return the number of connected pieces of a binary image (h, w) with at least `min_pixels` pixels."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    return int((stats[1:, cv2.CC_STAT_AREA] >= min_pixels).sum())


def capped(dice: float, found: Iterable[Finding]) -> float:
    """Return the expected Dice of a frame, limited to `CAP` if it has findings."""
    return min(dice, CAP) if any(True for _ in found) else dice


class CineFindings:
    """Findings of the predicted frames of one cine, updated as frames are predicted.

    Parameters
    ----------
    sector : array
        (224, 224) bool, see `PreparedCine.sector`.
    fps : float
        Frame rate, Hz; 0 if unknown.
    left_heart : bool
        True if the labels 1, 2 and 3 are cavity, wall and atrium.
    """

    def __init__(self, sector: NDArray[np.bool_], *, fps: float, left_heart: bool) -> None:
        small = cv2.resize(sector.astype(np.uint8), (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_NEAREST)
        self._sector, self._left_heart = small > 0, left_heart
        self._seconds = 1.0 / (fps if fps > 0 else 25.0)
        self._own: dict[int, set[Finding]] = {}
        self._areas: dict[int, dict[int, int]] = {}

    def update(
        self, frames: Sequence[int], masks: NDArray[np.uint8], allowed: Mapping[int, int] | None
    ) -> set[int]:
        """Update with predictions of some frames; return these and other frames whose findings have changed.

        Parameters
        ----------
        frames : sequence of int
        masks : array
            (len(frames), grid, grid) uint8.
        allowed : mapping or None
            See `findings`.

        Returns
        -------
        set of int
        """
        near = {f + k for f in frames for k in range(-NEIGHBOURS, NEIGHBOURS + 1)} & (
            self._own.keys() | set(frames)
        )
        before = {frame: self.of(frame) for frame in near}
        for frame, mask in zip(frames, masks, strict=True):
            own = findings(mask, left_heart=self._left_heart, allowed=allowed)
            structures = mask > 0
            outside = int((structures & ~self._sector).sum())
            if outside > MAX_OUTSIDE * max(int(structures.sum()), 1):
                own.add(Finding.OUTSIDE)
            self._own[frame] = own
            values, counts = np.unique(mask[structures], return_counts=True)
            self._areas[frame] = dict(zip(values.tolist(), counts.tolist(), strict=True))
        return set(frames) | {frame for frame in near if self.of(frame) != before[frame]}

    def of(self, frame: int) -> tuple[Finding, ...]:
        """Return the findings of a frame, in the order of `Finding`."""
        found = set(self._own.get(frame, ()))
        if frame in self._areas and self._jumps(frame):
            found.add(Finding.JUMP)
        return tuple(reason for reason in Finding if reason in found)

    def _jumps(self, frame: int) -> bool:
        others = [f for k in range(1, NEIGHBOURS + 1) for f in (frame - k, frame + k) if f in self._areas]
        if len(others) < 2:  # with two frames it is unknown which one is wrong
            return False
        limit = MAX_JUMP * np.exp(LOG_JUMP_PER_SECOND * self._seconds)
        values = set(self._areas[frame]).union(*(self._areas[f] for f in others))
        for value in values:
            here = self._areas[frame].get(value, 0)
            there = median(self._areas[f].get(value, 0) for f in others)
            if max(here, there) >= 4 * MIN_PIXELS and max(here, there) > limit * max(min(here, there), 1):
                return True
        return False


def _has_hole(part: NDArray[np.uint8], min_pixels: float) -> bool:
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(part), contours, -1, (1,), cv2.FILLED)
    return pieces(np.asarray(filled - part, np.uint8), min_pixels) > 0
