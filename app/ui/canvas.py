"""The picture: one frame of a cine with its label layers, and the mouse on it."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from app.domain.cine import Frame
from app.domain.labels import LEFT_HEART, UNLABELLED, LabelSet
from app.ui.labelled_picture import LabelledPicture
from app.ui.overlay import ToolMarks
from app.ui.painting import MIN_RADIUS, Point
from app.ui.tools import BRUSH, ERASER, PAN, POLYGON, TOOLS, BrushGesture, Edit, Gesture, Ink, OutlineGesture

Button = Qt.MouseButton
Key = Qt.Key

REACH = 9.0  # screen pixels that count as 'on the same spot'
MAX_RADIUS = 150.0
GESTURE_KEYS = (Key.Key_Escape, Key.Key_Return, Key.Key_Enter, Key.Key_Backspace)


class CineCanvas(LabelledPicture):
    """Shows a frame, an annotation and a prediction; turns mouse movements into edits.

    Left = tool, wheel = frame, Shift+wheel = annotated frame, Ctrl+wheel = zoom at the pointer,
    middle-drag or Alt+left = pan, right-drag = window and level. The canvas keeps no history and writes
    nothing: the owner commits each `Edit`.

    The owner calls `finish_stroke` before it changes frame or undoes; an edit carries the `key` of the
    frame that it was drawn on, so that a late one cannot land on another.
    """

    edited = Signal(object)  # Edit, once per stroke, at its end
    stroke_in_progress = Signal(bool)
    frame_step = Signal(int)
    annotated_step = Signal(int)
    hover = Signal(object)  # (x, y, grey value) or None
    brush_radius_changed = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Picture")
        self._marks = ToolMarks(self._view)
        self._key: object = None
        self._annotation: Frame | None = None
        self._prediction: Frame | None = None
        self._from_prediction = False
        self._scribbles = False
        self._tool = BRUSH
        self._active_class = 1
        self._behind = False
        self._radius = 8.0
        self._gesture: Gesture | None = None
        self._dragging = False  # the left button is down in a gesture
        self._held: Button | None = None  # another drag under way: pan or window/level
        self._last = QPointF()
        self._pointer: Point | None = None
        self._wheel = 0
        self.set_label_set(LEFT_HEART)
        self.set_tool(BRUSH)

    # What is shown

    def set_frame(self, image: Frame | None, key: object = None) -> None:
        """Show a grey frame, shape (height, width), uint8; None for no cine.

        `key` names the frame and comes back in `Edit.key`. A stroke still in the air is finished first.
        """
        self.finish_stroke()
        self._key = key
        before = self._frame
        self._show_picture(image)
        if image is None or (before is not None and image.shape != before.shape):
            self.set_labels(None, None)
        self.set_doubt(None)
        self._update_marks()
        self._emit_hover()

    def set_labels(self, annotation: Frame | None, prediction: Frame | None) -> None:
        """Show label images of the current frame, uint8; call it after every `set_frame`.

        A stroke in the air goes on undisturbed.

        Raises
        ------
        ValueError
            If a label image is not the size of the frame.
        """
        size = None if self._frame is None else self._frame.shape
        for labels in (annotation, prediction):
            if labels is not None and labels.shape != size:
                raise ValueError(f"a label image of {labels.shape} on a frame of {size}")
        self._annotation, self._prediction = annotation, prediction
        self._predicted.set_labels(prediction)
        if self._gesture is None:
            self._human.set_labels(annotation)

    def set_label_set(self, labels: LabelSet) -> None:
        """Take the classes and their colours."""
        super().set_label_set(labels)
        self._label_set = labels
        self.set_active_class(self._active_class)

    # Tool, class, brush

    def set_tool(self, name: str) -> None:
        """Take 'brush', 'eraser', 'polygon' or 'pan' in hand; a stroke in the air is finished first.

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
        """The tool in hand."""
        return self._tool

    def set_active_class(self, value: int) -> None:
        """Draw this class from now on; an outline in the air changes with it."""
        self._active_class = value
        if isinstance(self._gesture, OutlineGesture):
            self._gesture.ink.active = value
        colour = {c.value: c.colour for c in self._label_set.classes}.get(value, (255, 255, 255))
        self._marks.set_colour(QColor(*colour))
        self._update_marks()

    def set_brush_radius(self, radius: float) -> None:
        """Radius of brush and eraser in columns of the image, clamped to a sensible range."""
        radius = min(max(radius, MIN_RADIUS), MAX_RADIUS)
        if radius != self._radius:
            self._radius = radius
            self._update_marks()
            self.brush_radius_changed.emit(radius)

    def brush_radius(self) -> float:
        """Radius of brush and eraser in columns of the image."""
        return self._radius

    def step_brush_radius(self, steps: int) -> None:
        """Grow (positive) or shrink the brush by steps of a fifth, at least half a pixel each."""
        radius = self._radius
        for _ in range(abs(steps)):
            change = max(0.5, radius * 0.2)
            radius += change if steps > 0 else -change
        self.set_brush_radius(round(radius * 2) / 2)

    def set_behind(self, behind: bool) -> None:
        """Leave other classes alone: draw only where none of them is, erase only the active one."""
        self._behind = behind
        if isinstance(self._gesture, OutlineGesture):
            self._gesture.ink.behind = behind

    def set_start_from_prediction(self, on: bool) -> None:
        """Let the first stroke on a frame without annotation start from the shown prediction."""
        self._from_prediction = on

    def set_scribbles(self, on: bool) -> None:
        """Let the first stroke on a frame without annotation leave all else unlabelled."""
        self._scribbles = on

    # Strokes

    def finish_stroke(self) -> None:
        """End the stroke in the air, if any, and emit it: on its own frame, with what was drawn."""
        if self._gesture is not None:
            self._gesture.confirm()
            self._end_gesture()

    def cancel_stroke(self) -> None:
        """Drop the stroke in the air, if any, with nothing changed."""
        if self._gesture is not None:
            self._drop_gesture()
            self._human.set_labels(self._annotation)

    def is_stroke_in_progress(self) -> bool:
        """True from the first press of a stroke to its end."""
        return self._gesture is not None

    def _begin_gesture(self) -> None:
        if self._frame is None:
            return
        base = self._annotation
        if base is None and self._from_prediction and self._prediction is not None:
            base = np.where(self._prediction == UNLABELLED, 0, self._prediction).astype(np.uint8)
            if self._tool == POLYGON:
                # An outline says where the whole structure is: it replaces the predicted one.
                base[base == self._active_class] = 0
        if base is None:
            base = np.full(self._frame.shape, UNLABELLED if self._scribbles else 0, np.uint8)
        ink = Ink(self._active_class, self._behind, erase=self._tool == ERASER)
        if self._tool == POLYGON:
            self._gesture = OutlineGesture(base, ink)
        else:
            self._gesture = BrushGesture(base, ink, self._radius, self._aspect)
        self._before = self._annotation
        self.stroke_in_progress.emit(True)

    def _drop_gesture(self) -> None:
        self._gesture, self._dragging = None, False
        self._update_marks()
        self.stroke_in_progress.emit(False)

    def _end_gesture(self) -> None:
        gesture = self._gesture
        if gesture is None:
            return
        after = gesture.labels()
        changed = not np.array_equal(after, gesture.base)
        # Over what is drawn already such a stroke says nothing new, over a prediction that it is right.
        accepts = self._before is None and gesture.agrees()
        if changed or accepts:
            self._annotation = after
        self._drop_gesture()
        self._human.set_labels(self._annotation)
        if changed or accepts:
            self.edited.emit(Edit(self._before, after, gesture.kind, self._key))

    def _after_gesture_input(self) -> None:
        gesture = self._gesture
        if gesture is None:
            return
        if gesture.finished:
            self._end_gesture()
            return
        if isinstance(gesture, BrushGesture):
            self._human.set_labels(gesture.labels())
        self._update_marks()

    def _release_gesture(self) -> None:
        self._dragging = False
        if self._gesture is not None:
            self._gesture.release(REACH / self._scale)
            self._after_gesture_input()

    def _update_marks(self) -> None:
        drawing = self._frame is not None and self._held is None
        brush = self._pointer if drawing and self._tool in (BRUSH, ERASER) else None
        self._marks.show_brush(brush, self._radius, self._aspect)
        gesture = self._gesture
        if not isinstance(gesture, OutlineGesture):
            self._marks.show_line((), None, False)
            return
        at = self._pointer
        closing = at is not None and gesture.closes_at(at, REACH / self._scale) and not self._dragging
        self._marks.show_line(gesture.line(), at, closing)

    # Mouse and keys

    def mousePressEvent(self, event: QMouseEvent) -> None:
        event.accept()
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if self._frame is None or self._held is not None or self._dragging:
            return
        self._last = event.position()
        button = event.button()
        alt = bool(event.modifiers() & Qt.KeyboardModifier.AltModifier)
        if button == Button.LeftButton and not alt and self._tool != PAN:
            self._track(event.position())
            if self._gesture is None:
                self._begin_gesture()
            if self._gesture is not None and self._pointer is not None:
                self._dragging = True
                self._gesture.press(self._pointer, REACH / self._scale)
                self._after_gesture_input()
        elif button in (Button.LeftButton, Button.MiddleButton, Button.RightButton):
            self._held = button
            self.viewport().setCursor(
                Qt.CursorShape.SizeAllCursor
                if button == Button.RightButton
                else Qt.CursorShape.ClosedHandCursor
            )
            self._update_marks()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        event.accept()
        moved, self._last = event.position() - self._last, event.position()
        self._track(event.position())
        if self._held is not None:
            if not event.buttons() & self._held:
                self._let_go()
            elif self._held == Button.RightButton:
                # To the right: wider, softer; up: brighter.
                step = max(self._window, 32.0) / 400.0
                self.set_levels(self._window + moved.x() * step * 2, self._level + moved.y() * step)
            else:
                self._pan(moved)
        elif self._dragging and self._gesture is not None and self._pointer is not None:
            if event.buttons() & Button.LeftButton:
                self._gesture.drag(self._pointer, REACH / self._scale)
                self._after_gesture_input()
            else:  # the release went elsewhere
                self._release_gesture()
        self._update_marks()
        self._emit_hover()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()
        if event.button() == self._held:
            self._let_go()
        elif event.button() == Button.LeftButton and self._dragging:
            self._release_gesture()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Button.LeftButton and isinstance(self._gesture, OutlineGesture):
            event.accept()
            self.finish_stroke()
        else:  # two quick dabs of the brush are two dabs
            self.mousePressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.accept()
        if self._frame is None or self._dragging or self._held is not None:
            return
        # With Alt or Shift some systems turn the wheel's axis.
        delta = event.angleDelta().y() or event.angleDelta().x()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._zoom(1.2 ** (delta / 120), event.position())
            return
        if self._wheel * delta < 0:
            self._wheel = 0
        self._wheel += delta
        steps = int(self._wheel / 120)  # touchpads send small parts of a notch
        if steps:
            self._wheel -= steps * 120
            shift = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            (self.annotated_step if shift else self.frame_step).emit(-steps)

    def event(self, event: QEvent) -> bool:
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and self._gesture is not None
            and event.key() in GESTURE_KEYS
        ):
            event.accept()  # these keys belong to the stroke in the air, not to a menu
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        gesture = self._gesture
        if gesture is None or event.key() not in GESTURE_KEYS:
            event.ignore()
            return
        event.accept()
        if event.key() == Key.Key_Escape:
            self.cancel_stroke()
        elif event.key() == Key.Key_Backspace:
            gesture.back()
            if isinstance(gesture, OutlineGesture) and not gesture.vertices:
                self.cancel_stroke()
            self._update_marks()
        elif not self._dragging:
            self.finish_stroke()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        if self._dragging:  # the release may never arrive
            self._release_gesture()
        self._let_go()
        super().focusOutEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._pointer = None
        self._update_marks()
        self.hover.emit(None)
        super().leaveEvent(event)

    def _let_go(self) -> None:
        if self._held is not None:
            self._held = None
            self._show_cursor()
            self._update_marks()

    def _show_cursor(self) -> None:
        hand = Qt.CursorShape.OpenHandCursor
        self.viewport().setCursor(hand if self._tool == PAN else Qt.CursorShape.CrossCursor)

    def _track(self, position: QPointF) -> None:
        self._pointer = self.map_to_image(position) if self._frame is not None else None

    def _emit_hover(self) -> None:
        if self._frame is None or self._pointer is None:
            self.hover.emit(None)
            return
        x, y = math.floor(self._pointer[0]), math.floor(self._pointer[1])
        height, width = self._frame.shape
        inside = 0 <= x < width and 0 <= y < height
        self.hover.emit((x, y, int(self._frame[y, x])) if inside else None)
