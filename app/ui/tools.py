"""Drawing tools as gestures: what one edit looks like from the first press to its end.

A gesture knows nothing of Qt: it is fed points in image pixels and answers with a label image. The
canvas owns at most one at a time, shows what it says, and emits one `Edit` when it ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.domain.cine import Frame
from app.domain.labels import UNLABELLED
from app.ui.painting import Point, paint, path_length, polygon_mask, stamp_segment

BRUSH, ERASER, POLYGON, PAN = "brush", "eraser", "polygon", "pan"
TOOLS = (BRUSH, ERASER, POLYGON, PAN)


@dataclass(frozen=True, eq=False)
class Edit:
    """One finished stroke: the label image of one frame before and after it.

    `before` is None where the frame had no annotation yet; a stroke that started from the prediction and
    agrees with it has changed no pixel. `kind` is the tool's name; `key` is what the
    owner gave to `CineCanvas.set_frame` for the frame that the stroke was drawn on.
    """

    before: Frame | None
    after: Frame
    kind: str
    key: object = None


@dataclass
class Ink:
    """What a gesture draws: the active class, and whether other classes are left alone."""

    active: int
    behind: bool = False
    erase: bool = False

    @property
    def value(self) -> int:
        return 0 if self.erase else self.active

    @property
    def only_over(self) -> tuple[int, ...] | None:
        """Values that may be overwritten, None for all."""
        if not self.behind:
            return None
        return (self.active,) if self.erase else (0, UNLABELLED, self.active)


class Gesture:
    """One edit in the making on a base label image (height, width), uint8, which it never changes."""

    kind = ""

    def __init__(self, base: Frame, ink: Ink) -> None:
        self.base = base
        self.ink = ink
        self.finished = False

    def press(self, point: Point, reach: float) -> None:
        """Button down; `reach` is the distance in image pixels that counts as 'on the same spot'."""

    def drag(self, point: Point, reach: float) -> None:
        """Pointer moved with the button down."""

    def release(self, reach: float) -> None:
        """Button up."""

    def confirm(self) -> None:
        """Finish now, with what there is (Enter, double click, focus lost, frame changed)."""
        self.finished = True

    def back(self) -> None:
        """Take the last step back (Backspace), where the tool has steps."""

    def line(self) -> list[Point]:
        """Polyline to show while the gesture is in the air; empty where the labels show it all."""
        return []

    def labels(self) -> Frame:
        """The label image as it would be if the gesture ended now."""
        raise NotImplementedError

    def agrees(self) -> bool:
        """True where it was led over pixels that are already what it draws."""
        return False


class BrushGesture(Gesture):
    """A round brush or eraser, continuous along the pointer's path."""

    LEAST_DRAG = 3.0  # in reaches: less, or less than the radius, is a click and agrees with nothing

    def __init__(self, base: Frame, ink: Ink, radius: float, pixel_aspect: float = 1.0) -> None:
        super().__init__(base, ink)
        self.kind = ERASER if ink.erase else BRUSH
        self._radius, self._aspect = radius, pixel_aspect
        self._mask = np.zeros(base.shape, bool)
        self._labels = base.copy()
        self._first: Point | None = None
        self._last: Point | None = None
        self._dragged = False

    def press(self, point: Point, reach: float) -> None:
        self._first = point
        self._stamp(point, point)

    def drag(self, point: Point, reach: float) -> None:
        least = max(self._radius, self.LEAST_DRAG * reach)
        self._dragged = self._dragged or math.dist(self._first or point, point) > least
        self._stamp(self._last or point, point)

    def release(self, reach: float) -> None:
        self.finished = True

    def _stamp(self, start: Point, end: Point) -> None:
        box = stamp_segment(self._mask, start, end, self._radius, self._aspect)
        # Only the touched box is painted again: a long stroke stays as quick as a short one.
        self._labels[box] = paint(self.base[box], self._mask[box], self.ink.value, self.ink.only_over)
        self._last = end

    def labels(self) -> Frame:
        return self._labels

    def agrees(self) -> bool:
        drawn = self._dragged and not self.ink.erase
        return drawn and bool((self.base[self._mask] == self.ink.value).any())


class OutlineGesture(Gesture):
    """A polygon by clicks, a freehand trace by dragging, or both in turn; filled when closed."""

    kind = POLYGON
    LONG_DRAG = 6.0  # in reaches: a first drag this long is a whole freehand outline

    def __init__(self, base: Frame, ink: Ink) -> None:
        super().__init__(base, ink)
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

    def labels(self) -> Frame:
        height, width = self.base.shape
        mask = polygon_mask((height, width), self.vertices)
        return paint(self.base, mask, self.ink.value, self.ink.only_over)
