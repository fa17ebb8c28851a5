"""A labelled picture with drawing tools: gestures, and the strokes that result from them."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

from app.domain.cine import Frame
from app.domain.edits import apply_shape
from app.domain.labels import LabelSet
from app.domain.shown_mask import FrameMasks
from app.ui.labelled_picture import LabelledPicture
from app.ui.overlay import ToolMarks
from app.workspace.gestures import (
    BRUSH,
    ERASER,
    OUTLINE,
    PAN,
    TOOLS,
    BrushGesture,
    FinishedStroke,
    Gesture,
    OutlineGesture,
    StrokeSettings,
)
from app.workspace.painting import MIN_RADIUS, Point
from vjepa_core.label_image import structures_in

SNAP_DISTANCE = 9.0
"""Distance in screen pixels below which two points count as the same."""
MAX_RADIUS = 150.0
WHITE = (255, 255, 255)


class DrawingCanvas(LabelledPicture):
    """Displays a frame with its masks, and the stroke in progress with the active tool.

    The canvas keeps no history and stores nothing: its owner commits each `FinishedStroke`. A brush stroke
    ends when the frame or the tool changes. An outline stays unfinished on its frame until it is closed or
    discarded.

    Attributes
    ----------
    marks : ToolMarks
        Circle of the brush, and the unfinished outline.
    """

    stroke_finished = Signal(object)  # FinishedStroke, once per stroke, at its end
    stroke_in_progress = Signal(bool)
    frame_shown = Signal(object)  # key of the frame, or None
    brush_radius_changed = Signal(float)
    drew_nothing_behind = Signal()  # drawing behind had no effect: other structures cover the area

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.marks = ToolMarks(self._view)
        self._key: object = None
        self._group: object = None
        self._masks = FrameMasks((0, 0))
        self._is_outdated = False
        self._starts_from_prediction = True
        self._scribbles = False
        self._tool = PAN
        self._active_structure = 1
        self._behind = False
        self._radius = 8.0
        self._gesture: Gesture | None = None
        self._gesture_key: object = None  # frame that the stroke belongs to
        self._gesture_group: object = None
        self._dragging = False  # the left button is down in a stroke
        self._pointer: Point | None = None
        self._label_set = LabelSet("", ())

    # Contents

    def set_frame(self, image: Frame | None, key: object = None, group: object = None) -> None:
        """Display a frame; a brush stroke in progress is finished first.

        Parameters
        ----------
        image : numpy.ndarray or None
            Grey values (height, width) uint8; None if no cine is open.
        key : object
            Identifies the frame in `FinishedStroke.key`.
        group : object
            Identifies the cine; frames of one cine share coordinates.
        """
        self.finish_stroke()
        self._key, self._group = key, group
        self._show_picture(image)
        self.set_masks(FrameMasks((0, 0) if image is None else (image.shape[0], image.shape[1])))
        self.set_doubt(None)
        self._update_marks()
        self.frame_shown.emit(key)

    def set_masks(self, masks: FrameMasks, *, outdated: bool = False) -> None:
        """Display the masks of the visible frame; a stroke in progress is not affected.

        Parameters
        ----------
        masks : FrameMasks
            Annotation and prediction; call this after every `set_frame`.
        outdated : bool
            True if the prediction is outdated.

        Raises
        ------
        ValueError
            If the masks do not have the size of the frame.
        """
        size = (0, 0) if self._frame is None else self._frame.shape
        if masks.shape != size:
            raise ValueError(f"label images of {masks.shape} on a frame of {size}")
        self._masks, self._is_outdated = masks, outdated
        if isinstance(self._gesture, BrushGesture):
            return  # a brush stroke displays its own masks, based on those visible when it began
        if self._gesture is not None and self._outline_is_on_frame:
            self._gesture.masks = self._initial_masks()
        self._show_masks()

    def _show_masks(self) -> None:
        self._show_annotation(self._masks.annotation, self._masks.states)
        self._show_prediction(self._masks.predicted, outdated=self._is_outdated)

    def _initial_masks(self) -> FrameMasks:
        """Return the masks that a stroke starts from."""
        return self._masks if self._starts_from_prediction else replace(self._masks, prediction=None)

    def set_label_set(self, labels: LabelSet) -> None:
        """Set the structures and their colours."""
        super().set_label_set(labels)
        self._label_set = labels
        self.set_active_structure(self._active_structure)

    # Tool settings

    def set_tool(self, name: str) -> None:
        """Activate 'brush', 'eraser', 'polygon' or 'pan'; a brush stroke in progress is finished first.

        Raises
        ------
        ValueError
            For any other name.
        """
        if name not in TOOLS:
            raise ValueError(f"unknown tool {name!r}")
        self.finish_stroke()
        self._tool = name
        self._show_cursor()
        self._update_marks()

    def tool(self) -> str:
        """Return the name of the active tool."""
        return self._tool

    def set_active_structure(self, value: int) -> None:
        """Set the structure to draw; an unfinished outline keeps its structure."""
        self._active_structure = value
        self._update_mark_colour()
        self._update_marks()

    def _update_mark_colour(self) -> None:
        outline = self._gesture if isinstance(self._gesture, OutlineGesture) else None
        value = self._active_structure if outline is None else outline.settings.active
        colour = {c.value: c.colour for c in self._label_set.structures}.get(value, WHITE)
        self.marks.set_colour(QColor(*colour))

    def set_brush_radius(self, radius: float) -> None:
        """Set the radius of brush and eraser in image columns, clamped to the supported range."""
        radius = min(max(radius, MIN_RADIUS), MAX_RADIUS)
        if radius != self._radius:
            self._radius = radius
            self._update_marks()
            self.brush_radius_changed.emit(radius)

    def brush_radius(self) -> float:
        """Return the radius of brush and eraser in image columns."""
        return self._radius

    def step_brush_radius(self, steps: int) -> None:
        """Enlarge (positive) or shrink the brush in steps of a fifth, at least half a pixel each."""
        radius = self._radius
        for _ in range(abs(steps)):
            change = max(0.5, radius * 0.2)
            radius += change if steps > 0 else -change
        self.set_brush_radius(round(radius * 2) / 2)

    def set_behind(self, behind: bool) -> None:
        """Protect other structures: draw only on pixels without one, erase only the active one."""
        self._behind = behind
        if isinstance(self._gesture, OutlineGesture):
            self._gesture.settings.behind = behind

    def set_corrections(self, on: bool) -> None:
        """Start strokes from the prediction of their structure (True) or from the annotation alone."""
        self._starts_from_prediction = on

    def set_scribbles(self, on: bool) -> None:
        """Leave the rest of a frame unlabelled when its first stroke is drawn."""
        self._scribbles = on

    # Strokes

    def finish_stroke(self) -> None:
        """Finish the brush stroke in progress, if any, and emit it."""
        if isinstance(self._gesture, BrushGesture):
            self._gesture.finish()
            self._end_gesture()

    def finish_outline(self) -> None:
        """Close the unfinished outline, if any, and emit its stroke, even if another frame is visible."""
        if isinstance(self._gesture, OutlineGesture):
            self._gesture.finish()
            self._end_gesture()

    def step_outline_back(self) -> bool:
        """Remove the last point of the outline on this frame; False if there is no outline."""
        gesture = self._gesture
        if not isinstance(gesture, OutlineGesture) or not self._outline_is_on_frame:
            return False
        gesture.undo_step()
        if not gesture.vertices:
            self.cancel_stroke()
        self._update_marks()
        return True

    def cancel_stroke(self) -> None:
        """Discard the stroke in progress or the unfinished outline, if any."""
        if self._gesture is not None:
            self._drop_gesture()
            self._show_masks()

    def unfinished_outline(self) -> object | None:
        """Return the key of the frame with an unfinished outline, or None."""
        return self._gesture_key if isinstance(self._gesture, OutlineGesture) else None

    @property
    def _outline_is_on_frame(self) -> bool:
        return self._gesture_key == self._key

    def _snap_distance(self) -> float:
        """Return the distance in image columns below which two points count as the same."""
        return SNAP_DISTANCE / self._scale

    def _begin_gesture(self) -> None:
        if self._frame is None:
            return
        settings = StrokeSettings(self._active_structure, self._behind, erase=self._tool == ERASER)
        if self._tool == OUTLINE:
            self._gesture = OutlineGesture(self._initial_masks(), settings)
        else:
            self._gesture = BrushGesture(
                self._initial_masks(), settings, self._radius, self._aspect, scribbles=self._scribbles
            )
        self._gesture_key, self._gesture_group = self._key, self._group
        self.stroke_in_progress.emit(True)

    def _drop_gesture(self) -> None:
        self._gesture, self._dragging = None, False
        self._update_mark_colour()
        self._update_marks()
        self.stroke_in_progress.emit(False)

    def _end_gesture(self) -> None:
        gesture, key = self._gesture, self._gesture_key
        if gesture is None:
            return
        before, shape = gesture.masks, gesture.shape()
        result = apply_shape(before, shape, self._label_set, scribbles=self._scribbles)
        is_on_frame = self._outline_is_on_frame
        self._drop_gesture()
        if result is before:
            self._show_masks()
            if shape.behind and shape.value and (shape.mask & (before.shown != shape.value)).any():
                self.drew_nothing_behind.emit()
            return
        if is_on_frame:
            self._masks = replace(self._masks, annotation=result.annotation, states=result.states)
            self._show_masks()
        changed = _changed_structures(before.shown, result.shown)
        self.stroke_finished.emit(FinishedStroke(before.annotation, result, gesture.kind, key, changed))

    def _after_gesture_input(self) -> None:
        gesture = self._gesture
        if gesture is None:
            return
        if gesture.finished:
            self._end_gesture()
            return
        if isinstance(gesture, BrushGesture):
            self._show_annotation(gesture.preview(), gesture.states)
            self._show_prediction(gesture.remaining_prediction(), outdated=self._is_outdated)
        self._update_marks()

    def _release_gesture(self) -> None:
        self._dragging = False
        if self._gesture is not None:
            self._gesture.release(self._snap_distance())
            self._after_gesture_input()

    # Marks of the tool

    def _is_drawing_possible(self) -> bool:
        return self._frame is not None

    def _update_marks(self) -> None:
        show_brush = self._is_drawing_possible() and self._tool in (BRUSH, ERASER)
        self.marks.show_brush(self._pointer if show_brush else None, self._radius, self._aspect)
        gesture = self._gesture
        if not isinstance(gesture, OutlineGesture):
            self.marks.show_line((), None, False)
        elif not self._outline_is_on_frame:
            points = gesture.polyline() if self._gesture_group is self._group else ()
            self.marks.show_line(points, None, False, faint=True)
        else:
            pointer = self._pointer if self._tool == OUTLINE else None
            closing = (
                pointer is not None
                and gesture.closes_at(pointer, self._snap_distance())
                and not self._dragging
            )
            self.marks.show_line(gesture.polyline(), pointer, closing)

    def _show_cursor(self) -> None:
        hand = Qt.CursorShape.OpenHandCursor
        self.viewport().setCursor(hand if self._tool == PAN else Qt.CursorShape.CrossCursor)


def _changed_structures(before: Frame, after: Frame) -> tuple[int, ...]:
    """Return the structures that differ between two label images of the same shape."""
    differs = before != after
    return tuple(sorted({*structures_in(before[differs]), *structures_in(after[differs])}))
