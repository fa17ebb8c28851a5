"""Gestures of the drawing tools: a stroke in progress, from the first press of the button to its end.

A gesture receives points in image pixels and returns the shape that they cover. The canvas has at most one
gesture at a time, displays it, and emits a `FinishedStroke` when it ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.domain.cine import Frame
from app.domain.edits import Shape, affected_structures, copy_structures, covered_pixels
from app.domain.provenance import Provenance
from app.domain.shown_mask import FrameMasks
from app.workspace.painting import Mask, Point, path_length, polygon_mask, stamp_segment
from vjepa_core.label_image import UNLABELLED, has_unlabelled, values_mask

BRUSH, ERASER, OUTLINE, PAN = "brush", "eraser", "polygon", "pan"
TOOLS = (BRUSH, ERASER, OUTLINE, PAN)


@dataclass(frozen=True, eq=False)
class FinishedStroke:
    """Result of a gesture.

    Attributes
    ----------
    before : ndarray of uint8, shape (height, width), or None
        Label image before the stroke; None if the frame had no annotation.
    result : FrameMasks
        Content of the frame after the stroke.
    kind : str
        Name of the tool.
    key : object
        Key of the frame, as passed to `CineCanvas.set_frame`.
    changed : tuple of int
        Structures that gained or lost visible pixels.
    """

    before: Frame | None
    result: FrameMasks
    kind: str
    key: object = None
    changed: tuple[int, ...] = ()

    @property
    def after(self) -> Frame:
        """Label image after the stroke, (height, width) uint8."""
        assert self.result.annotation is not None  # noqa: S101 - a stroke leaves an annotation
        return self.result.annotation


@dataclass
class StrokeSettings:
    """Settings of the tool that makes a stroke.

    Attributes
    ----------
    active : int
        Value of the active structure.
    behind : bool
        True to leave the pixels of other structures unchanged.
    erase : bool
        True to erase structures.
    """

    active: int
    behind: bool = False
    erase: bool = False

    @property
    def value(self) -> int:
        """Label value that is drawn."""
        return 0 if self.erase else self.active


class Gesture:
    """A stroke in progress on one frame.

    Parameters
    ----------
    masks : FrameMasks
        Content of the frame when the stroke began; not modified.
    settings : StrokeSettings
        Settings of the tool.

    Attributes
    ----------
    finished : bool
        True once the stroke is complete.
    """

    kind = ""

    def __init__(self, masks: FrameMasks, settings: StrokeSettings) -> None:
        self.masks = masks
        self.settings = settings
        self.finished = False

    def press(self, point: Point, reach: float) -> None:
        """Handle a press of the button; `reach` is the tolerance in image pixels for a point to be hit."""

    def drag(self, point: Point, reach: float) -> None:
        """Handle a movement with the button down."""

    def release(self, reach: float) -> None:
        """Handle the release of the button."""

    def finish(self) -> None:
        """Finish the stroke with the present points."""
        self.finished = True

    def undo_step(self) -> None:
        """Remove the last step, if the tool has steps."""

    def polyline(self) -> list[Point]:
        """Return the line to display during the stroke; empty for tools that display labels instead."""
        return []

    def shape(self) -> Shape:
        """Return the shape that the stroke would have if it ended now."""
        raise NotImplementedError


class BrushGesture(Gesture):
    """A round brush or eraser that follows the pointer.

    Attributes
    ----------
    states : dict of int to Provenance
        States of the structures after the stroke.
    """

    def __init__(
        self,
        masks: FrameMasks,
        settings: StrokeSettings,
        radius: float,
        pixel_aspect: float = 1.0,
        *,
        scribbles: bool = False,
    ) -> None:
        super().__init__(masks, settings)
        self.kind = ERASER if settings.erase else BRUSH
        self._radius, self._aspect = radius, pixel_aspect
        self._mask = np.zeros(masks.shape, bool)
        self._last: Point | None = None
        self._shown = masks.shown
        fill = UNLABELLED if scribbles else 0
        drawn = np.full(masks.shape, fill, np.uint8) if masks.annotation is None else masks.annotation.copy()
        self._has_unlabelled = has_unlabelled(drawn)
        self._base, self._preview, self._started = drawn, drawn.copy(), set(masks.states)
        self._remaining: Frame | None = None
        self.states: dict[int, Provenance] = dict(masks.states)

    def press(self, point: Point, reach: float) -> None:
        """Handle a press of the button."""
        self._stamp(point, point)

    def drag(self, point: Point, reach: float) -> None:
        """Handle a movement with the button down."""
        self._stamp(self._last or point, point)

    def release(self, reach: float) -> None:
        """Handle the release of the button."""
        self.finished = True

    def shape(self) -> Shape:
        """Return the shape that the stroke would have if it ended now."""
        return self._shape_of(self._mask)

    def preview(self) -> Frame:
        """Return the annotation after the stroke, (height, width) uint8; the array is reused."""
        return self._preview

    def remaining_prediction(self) -> Frame | None:
        """Return the predicted structures that the stroke did not change, (height, width) uint8, or None."""
        predicted = self.masks.predicted
        if predicted is None or not self._started:
            return predicted
        if self._remaining is None:
            keep = ~values_mask(predicted, self._started) | self._has_unlabelled
            self._remaining = np.where(keep, predicted, 0).astype(np.uint8)
        return self._remaining

    def _stamp(self, start: Point, end: Point) -> None:
        # Only the changed box is repainted, so that the cost does not grow with the length of the stroke.
        box = stamp_segment(self._mask, start, end, self._radius, self._aspect)
        self._last = end
        if not self._mask[box].any():
            return
        shown = self._shown[box]
        part = self._shape_of(self._mask[box])
        affected = affected_structures(shown, part)
        self._start_structures(set(affected) - self._started)
        if self.settings.erase:
            covered = part.mask if self._has_unlabelled else part.mask & values_mask(shown, affected)
        else:
            covered = covered_pixels(shown, part, keep_enclosed=False)
        self._preview[box] = np.where(covered, self.settings.value, self._base[box])

    def _shape_of(self, mask: Mask) -> Shape:
        settings = self.settings
        return Shape(mask, settings.value, behind=settings.behind, active=settings.active)

    def _start_structures(self, values: set[int]) -> None:
        """Copy structures from the shown mask into the annotation, when the stroke first affects them."""
        if not values:
            return
        self._started |= values
        self._remaining = None
        self.states.update(dict.fromkeys(values, Provenance.DRAWN))
        if not self._has_unlabelled:
            for drawn in (self._base, self._preview):
                copy_structures(drawn, self._shown, values)


class OutlineGesture(Gesture):
    """An outline from clicks, freehand dragging, or both in turn; filled when it is closed."""

    kind = OUTLINE
    LONG_DRAG = 6.0  # multiple of `reach`; a first drag of this length is a complete freehand outline

    def __init__(self, masks: FrameMasks, settings: StrokeSettings) -> None:
        super().__init__(masks, settings)
        self.vertices: list[Point] = []
        self._steps: list[int] = []  # index in `vertices` at which each click or freehand part starts

    def press(self, point: Point, reach: float) -> None:
        """Handle a press of the button."""
        if self.closes_at(point, reach):
            self.finished = True
            return
        self._steps.append(len(self.vertices))
        self.vertices.append(point)

    def drag(self, point: Point, reach: float) -> None:
        """Handle a movement with the button down."""
        if self.finished or not self.vertices:
            return
        if math.dist(point, self.vertices[-1]) >= max(0.5, reach / 5):
            self.vertices.append(point)

    def release(self, reach: float) -> None:
        """Handle the release of the button."""
        if self.finished or not self._steps:
            return
        start = self._steps[-1]
        length = path_length(self.vertices[start:])
        if length < reach:  # a click with a slight movement, not freehand drawing
            del self.vertices[start + 1 :]
        elif len(self.vertices) >= 3:
            is_complete = start == 0 and length >= self.LONG_DRAG * reach
            is_closed = math.dist(self.vertices[-1], self.vertices[0]) <= reach
            self.finished = is_complete or (is_closed and length >= 2 * reach)

    def undo_step(self) -> None:
        """Remove the last click or freehand part."""
        if self._steps:
            del self.vertices[self._steps.pop() :]

    def closes_at(self, point: Point, reach: float) -> bool:
        """Return True if a click at `point` would close the outline."""
        return len(self.vertices) >= 3 and math.dist(point, self.vertices[0]) <= reach

    def polyline(self) -> list[Point]:
        """Return the outline so far."""
        return self.vertices

    def shape(self) -> Shape:
        """Return the shape that the stroke would have if it ended now."""
        mask = polygon_mask(self.masks.shape, self.vertices)
        return Shape(mask, self.settings.value, outline=True, behind=self.settings.behind)
