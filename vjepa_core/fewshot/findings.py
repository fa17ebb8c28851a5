"""What is implausible about a predicted label image: reasons to look at a frame, and to trust it less.

The head's softmax says nothing about shape: a ventricle in three pieces can have a certain border. Each
finding caps the Dice to expect of its frame.
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
    """One reason to distrust a predicted frame."""

    PIECES = "pieces"  # a structure is in several pieces
    HOLE = "hole"  # a structure has a hole
    JUMP = "jump"  # an area differs from that of the neighbouring frames
    UNENCLOSED = "unenclosed"  # the cavity is not enclosed by the wall
    OUTSIDE = "outside"  # much lies outside the ultrasound sector


CAP = 0.65
"""Most Dice to expect of a frame with a finding.

Of 200 drawings of CAMUS's validation stills by the nets that were fitted to phantoms alone, the 42 with a
finding had a mean Dice of .63, the others .77; no outline of the training patients has one.
"""

SMALLEST = 12
"""Pixels of the head's grid: less is no structure, piece or hole."""

PIECE = 0.04
"""Share of a structure from which on a second piece, or a hole, counts."""

ENCLOSED = 0.7
"""Least share of the cavity's rim that borders on wall or atrium; outlined hearts have more."""

MOST_OUTSIDE = 0.15
"""Share of what is drawn that may lie outside the sector; of outlined hearts it is 11 % at most."""

JUMP, JUMP_A_SECOND = 1.3, 4.0
"""Factor by which an area may differ from that of its neighbours, and the power of e by which a second
between frames allows more: ventricles change by less than e^4 a second."""

REACH = 2
"""Frames to either side that are neighbours."""


def findings(mask: NDArray[np.uint8], *, left_heart: bool, allowed: Mapping[int, int] | None) -> set[Finding]:
    """What is implausible about a label image by itself.

    Parameters
    ----------
    mask : array
        (h, w) uint8 on the head's grid.
    left_heart : bool
        Labels 1, 2 and 3 are cavity, wall and atrium.
    allowed : mapping or None
        Most pieces of each label value, as annotated frames show them: `pieces`. Missing values: one; None
        where nothing is known, and pieces and holes do not count.
    """
    found: set[Finding] = set()
    if allowed is not None:
        for value in np.unique(mask[mask > 0]).tolist():
            part = (mask == value).astype(np.uint8)
            least = max(SMALLEST, PIECE * int(part.sum()))
            if pieces(part, least) > max(allowed.get(value, 1), 1):
                found.add(Finding.PIECES)
            if left_heart and value in (LV, LA) and _has_hole(part, least):
                found.add(Finding.HOLE)
    if left_heart:
        cavity, around = (mask == LV).astype(np.uint8), np.isin(mask, (MYO, LA))
        if cavity.sum() >= SMALLEST and (mask == MYO).sum() >= SMALLEST:
            rim = (cv2.dilate(cavity, np.ones((3, 3), np.uint8)) > 0) & (cavity == 0)
            if (rim & around).sum() < ENCLOSED * rim.sum():
                found.add(Finding.UNENCLOSED)
    return found


def allowed_pieces(labels: Iterable[FrameLabel], classes: Sequence[int]) -> dict[int, int]:
    """In how many pieces each structure was outlined at most, by label value, without those that never were.

    Parameters
    ----------
    labels : iterable of FrameLabel
    classes : sequence of int
        Label values, in the order of the labels' classes.
    """
    most: dict[int, int] = {}
    for label in labels:
        for k, value in enumerate(classes, start=1):
            if label.stated[k]:
                count = pieces((label.target[..., k] > 0.5).astype(np.uint8))
                most[value] = max(most.get(value, 0), count)
    return most


def pieces(part: NDArray[np.uint8], least: float = SMALLEST) -> int:
    """Number of connected pieces of a binary image (h, w) that have `least` pixels or more."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    return int((stats[1:, cv2.CC_STAT_AREA] >= least).sum())


def capped(dice: float, found: Iterable[Finding]) -> float:
    """Dice to expect of a frame, given what is implausible about it."""
    return min(dice, CAP) if any(True for _ in found) else dice


class Review:
    """Findings of the predicted frames of one cine, kept up to date as frames come in.

    Parameters
    ----------
    sector : array
        (224, 224) bool: where the ultrasound picture lies, as `PreparedCine.sector` has it.
    fps : float
        Frame rate, Hz; 0 if unknown.
    left_heart : bool
        Labels 1, 2 and 3 are cavity, wall and atrium.
    """

    def __init__(self, sector: NDArray[np.bool_], *, fps: float, left_heart: bool) -> None:
        small = cv2.resize(sector.astype(np.uint8), (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_NEAREST)
        self._sector, self._left_heart = small > 0, left_heart
        self._seconds = 1.0 / (fps if fps > 0 else 25.0)
        self._own: dict[int, set[Finding]] = {}
        self._areas: dict[int, dict[int, int]] = {}

    def clear(self) -> None:
        """Forget all frames."""
        self._own.clear()
        self._areas.clear()

    def update(
        self, frames: Sequence[int], masks: NDArray[np.uint8], allowed: Mapping[int, int] | None
    ) -> set[int]:
        """Take predictions of some frames; returns these and the frames whose findings they changed.

        Parameters
        ----------
        frames : sequence of int
        masks : array
            (len(frames), grid, grid) uint8.
        allowed : mapping or None
            See `findings`.
        """
        near = {f + k for f in frames for k in range(-REACH, REACH + 1)} & (self._own.keys() | set(frames))
        before = {frame: self.of(frame) for frame in near}
        for frame, mask in zip(frames, masks, strict=True):
            own = findings(mask, left_heart=self._left_heart, allowed=allowed)
            drawn = mask > 0
            if (drawn & ~self._sector).sum() > MOST_OUTSIDE * max(int(drawn.sum()), 1):
                own.add(Finding.OUTSIDE)
            self._own[frame] = own
            values, counts = np.unique(mask[drawn], return_counts=True)
            self._areas[frame] = dict(zip(values.tolist(), counts.tolist(), strict=True))
        return set(frames) | {frame for frame in near if self.of(frame) != before[frame]}

    def of(self, frame: int) -> tuple[Finding, ...]:
        """Findings of a frame, in the order of `Finding`."""
        found = set(self._own.get(frame, ()))
        if frame in self._areas and self._jumps(frame):
            found.add(Finding.JUMP)
        return tuple(reason for reason in Finding if reason in found)

    def _jumps(self, frame: int) -> bool:
        others = [f for k in range(1, REACH + 1) for f in (frame - k, frame + k) if f in self._areas]
        if len(others) < 2:  # of two frames nobody can tell which is wrong
            return False
        limit = JUMP * np.exp(JUMP_A_SECOND * self._seconds)
        values = set(self._areas[frame]).union(*(self._areas[f] for f in others))
        for value in values:
            here = self._areas[frame].get(value, 0)
            there = median(self._areas[f].get(value, 0) for f in others)
            if max(here, there) >= 4 * SMALLEST and max(here, there) > limit * max(min(here, there), 1):
                return True
        return False


def _has_hole(part: NDArray[np.uint8], least: float) -> bool:
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(part), contours, -1, (1,), cv2.FILLED)
    return pieces(np.asarray(filled - part, np.uint8), least) > 0
