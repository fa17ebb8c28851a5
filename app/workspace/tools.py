"""Drawing tools as gestures: one stroke from the first press to its end.

A gesture receives points in image pixels and returns the shape that they cover. The canvas
owns at most one at a time, shows it, and emits one `Edit` when it ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.domain.cine import Frame
from app.domain.edits import Shape, affected_structures, copy_structures, covered_pixels
from app.domain.provenance import Provenance
from app.domain.shown_mask import FrameMasks
from app.workspace.painting import Point, path_length, polygon_mask, stamp_segment
from vjepa_core.label_image import UNLABELLED, has_unlabelled, values_mask

BRUSH, ERASER, POLYGON, PAN = "brush", "eraser", "polygon", "pan"
TOOLS = (BRUSH, ERASER, POLYGON, PAN)


@dataclass(frozen=True, eq=False)
class Edit:
    """One finished stroke.

    Attributes
    ----------
    before
        Label image (height, width) uint8 that the frame had; None where it had no annotation.
    result
        What the frame holds after it.
    kind
        The tool's name.
    key
        What the owner gave to `CineCanvas.set_frame` for the frame that the stroke belongs to.
    changed
        Structures that have gained or lost pixels on the screen.
    """

    before: Frame | None
    result: FrameMasks
    kind: str
    key: object = None
    changed: tuple[int, ...] = ()

    @property
    def after(self) -> Frame:
        """Label image (height, width) uint8 after the stroke."""
        assert self.result.annotation is not None  # noqa: S101 - a stroke leaves an annotation
        return self.result.annotation


@dataclass
class Ink:
    """What a gesture draws: the active structure, and whether other structures are left alone."""

    active: int
    behind: bool = False
    erase: bool = False

    @property
    def value(self) -> int:
        return 0 if self.erase else self.active


class Gesture:
    """One stroke in progress on one frame.

    Parameters
    ----------
    masks
        What was on the frame when the stroke began; it is never changed.
    ink
        What the stroke draws.
    """

    kind = ""

    def __init__(self, masks: FrameMasks, ink: Ink) -> None:
        self.masks = masks
        self.ink = ink
        self.finished = False

    def press(self, point: Point, reach: float) -> None:
        """Button down; `reach` is the distance in image pixels that counts as 'on the same spot'."""

    def drag(self, point: Point, reach: float) -> None:
        """Pointer moved with the button down."""

    def release(self, reach: float) -> None:
        """Button up."""

    def confirm(self) -> None:
        """Finish now, with what there is."""
        self.finished = True

    def back(self) -> None:
        """Take the last step back, where the tool has steps."""

    def line(self) -> list[Point]:
        """Polyline to show while the stroke is in progress; empty where the labels show it all."""
        return []

    def shape(self) -> Shape:
        """What the stroke covers if it ends now."""
        raise NotImplementedError


class BrushGesture(Gesture):
    """A round brush or eraser, continuous along the pointer's path.

    Attributes
    ----------
    states
        States of the structures as the stroke would leave them.
    """

    def __init__(
        self,
        masks: FrameMasks,
        ink: Ink,
        radius: float,
        pixel_aspect: float = 1.0,
        *,
        scribbles: bool = False,
    ) -> None:
        super().__init__(masks, ink)
        self.kind = ERASER if ink.erase else BRUSH
        self._radius, self._aspect = radius, pixel_aspect
        self._mask = np.zeros(masks.shape, bool)
        self._last: Point | None = None
        self._shown = masks.shown
        fill = UNLABELLED if scribbles else 0
        drawn = np.full(masks.shape, fill, np.uint8) if masks.annotation is None else masks.annotation.copy()
        self._open = has_unlabelled(drawn)
        self._base, self._preview, self._taken = drawn, drawn.copy(), set(masks.states)
        self._untouched: Frame | None = None
        self.states: dict[int, Provenance] = dict(masks.states)

    def press(self, point: Point, reach: float) -> None:
        self._stamp(point, point)

    def drag(self, point: Point, reach: float) -> None:
        self._stamp(self._last or point, point)

    def release(self, reach: float) -> None:
        self.finished = True

    def shape(self) -> Shape:
        return Shape(self._mask, self.ink.value, behind=self.ink.behind, active=self.ink.active)

    def preview(self) -> Frame:
        """Annotation as the stroke would leave it, (height, width) uint8; the array is used again."""
        return self._preview

    def untouched(self) -> Frame | None:
        """The predicted structures that the stroke has not changed, (height, width) uint8; None for none."""
        predicted = self.masks.predicted
        if predicted is None or not self._taken:
            return predicted
        if self._untouched is None:
            keep = ~values_mask(predicted, self._taken) | self._open
            self._untouched = np.where(keep, predicted, 0).astype(np.uint8)
        return self._untouched

    def _stamp(self, start: Point, end: Point) -> None:
        # Only the touched box is painted again: a long stroke stays as quick as a short one.
        box = stamp_segment(self._mask, start, end, self._radius, self._aspect)
        self._last = end
        if not self._mask[box].any():
            return
        shown = self._shown[box]
        part = Shape(self._mask[box], self.ink.value, behind=self.ink.behind, active=self.ink.active)
        touched = affected_structures(shown, part)
        self._begin_with(set(touched) - self._taken)
        if self.ink.erase:
            covered = part.mask if self._open else part.mask & values_mask(shown, touched)
        else:
            covered = covered_pixels(shown, part, keep_enclosed=False)
        self._preview[box] = np.where(covered, self.ink.value, self._base[box])

    def _begin_with(self, values: set[int]) -> None:
        """Start structures from what is shown of them."""
        if not values:
            return
        self._taken |= values
        self._untouched = None
        self.states.update(dict.fromkeys(values, Provenance.DRAWN))
        if not self._open:
            for drawn in (self._base, self._preview):
                copy_structures(drawn, self._shown, values)


class OutlineGesture(Gesture):
    """A polygon by clicks, a freehand trace by dragging, or both in turn; filled when closed."""

    kind = POLYGON
    LONG_DRAG = 6.0  # in reaches: a first drag this long is a whole freehand outline

    def __init__(self, masks: FrameMasks, ink: Ink) -> None:
        super().__init__(masks, ink)
        self.vertices: list[Point] = []
        self._steps: list[int] = []  # where each click or trace begins in `vertices`

    def press(self, point: Point, reach: float) -> None:
        if self.closes_at(point, reach):
            self.finished = True
            return
        self._steps.append(len(self.vertices))
        self.vertices.append(point)

    def drag(self, point: Point, reach: float) -> None:
        if self.finished or not self.vertices:
            return
        if math.dist(point, self.vertices[-1]) >= max(0.5, reach / 5):
            self.vertices.append(point)

    def release(self, reach: float) -> None:
        if self.finished or not self._steps:
            return
        begin = self._steps[-1]
        length = path_length(self.vertices[begin:])
        if length < reach:  # a click by an unsteady hand, not a trace
            del self.vertices[begin + 1 :]
        elif len(self.vertices) >= 3:
            whole = begin == 0 and length >= self.LONG_DRAG * reach
            back_home = math.dist(self.vertices[-1], self.vertices[0]) <= reach
            self.finished = whole or (back_home and length >= 2 * reach)

    def back(self) -> None:
        if self._steps:
            del self.vertices[self._steps.pop() :]

    def closes_at(self, point: Point, reach: float) -> bool:
        """True where a click at `point` would close the outline."""
        return len(self.vertices) >= 3 and math.dist(point, self.vertices[0]) <= reach

    def line(self) -> list[Point]:
        return self.vertices

    def shape(self) -> Shape:
        mask = polygon_mask(self.masks.shape, self.vertices)
        return Shape(mask, self.ink.value, outline=True, behind=self.ink.behind)
