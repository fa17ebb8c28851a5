"""The picture: one frame of a cine with its label layers, and the mouse on it."""

from __future__ import annotations

import math
import time
from dataclasses import replace

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
from app.domain.edits import apply_shape
from app.domain.labels import LEFT_HEART, LabelSet
from app.domain.shown_mask import FrameMasks
from app.ui.labelled_picture import LabelledPicture
from app.ui.overlay import ToolMarks
from app.workspace.painting import MIN_RADIUS, Point
from app.workspace.tools import (
    BRUSH,
    ERASER,
    PAN,
    POLYGON,
    TOOLS,
    BrushGesture,
    Edit,
    Gesture,
    Ink,
    OutlineGesture,
)
from vjepa_core.label_image import structures_in

Button = Qt.MouseButton
Key = Qt.Key

REACH = 9.0  # screen pixels that count as 'on the same spot'
MAX_RADIUS = 150.0
CLOSING_KEYS = (Key.Key_Return, Key.Key_Enter)
HABIT_S = 1.5
"""So long after an outline has closed itself, Enter still means to close it."""
LEAST_CORNERS = 3
GESTURE_KEYS = (Key.Key_Escape, Key.Key_Return, Key.Key_Enter, Key.Key_Backspace)


class CineCanvas(LabelledPicture):
    """Shows a frame, an annotation and a prediction; turns mouse movements into edits.

    Left = tool, wheel = frame, Shift+wheel = annotated frame, Ctrl+wheel = zoom at the pointer,
    middle-drag or Alt+left = pan, right-drag = window and level. The canvas keeps no history and writes
    nothing: the owner commits each `Edit`.

    A brush stroke ends with its frame, tool or window. An outline waits on its frame until Enter, a double
    click or Esc, whatever is looked at meanwhile. An edit carries the `key` of its own frame.
    """

    edited = Signal(object)  # Edit, once per stroke, at its end
    stroke_in_progress = Signal(bool)
    frame_step = Signal(int)
    annotated_step = Signal(int)
    hover = Signal(object)  # (x, y, grey value) or None
    brush_radius_changed = Signal(float)
    outline_waits = Signal(object)  # key of the frame whose outline must be finished before another stroke
    nothing_behind = Signal()  # drawing behind changed nothing, because other structures cover the place

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Picture")
        self._marks = ToolMarks(self._view)
        self._key: object = None
        self._group: object = None
        self._masks = FrameMasks((0, 0))
        self._outdated = False
        self._corrections = True
        self._scribbles = False
        self._tool = PAN
        self._active_class = 1
        self._behind = False
        self._radius = 8.0
        self._gesture: Gesture | None = None
        self._gesture_key: object = None  # of the frame that the stroke belongs to
        self._gesture_group: object = None
        self._closed_at = -math.inf  # when the pointer closed an outline
        self._dragging = False  # the left button is down in a gesture
        self._held: Button | None = None  # another drag under way: pan or window/level
        self._last = QPointF()
        self._pointer: Point | None = None
        self._wheel = 0
        self.set_label_set(LEFT_HEART)
        self.set_tool(PAN)

    # What is shown

    def set_frame(self, image: Frame | None, key: object = None, group: object = None) -> None:
        """Show a grey frame, shape (height, width), uint8; None for no cine.

        `key` names the frame and comes back in `Edit.key`; frames of one `group` share their coordinates. A
        brush stroke in progress is finished first.
        """
        self.finish_stroke()
        self._key, self._group = key, group
        self._show_picture(image)
        self.set_masks(FrameMasks((0, 0) if image is None else (image.shape[0], image.shape[1])))
        self.set_doubt(None)
        self._update_marks()
        self._emit_hover()

    def set_masks(self, masks: FrameMasks, *, outdated: bool = False) -> None:
        """Show what is on the current frame; call it after every `set_frame`.

        A stroke in progress is not affected. `outdated` says that the prediction is older than the newest
        annotation.

        Raises
        ------
        ValueError
            If the masks are not of the frame's size.
        """
        size = (0, 0) if self._frame is None else self._frame.shape
        if masks.shape != size:
            raise ValueError(f"label images of {masks.shape} on a frame of {size}")
        self._masks, self._outdated = masks, outdated
        if isinstance(self._gesture, BrushGesture):
            return  # the stroke shows its own masks, and goes on from what was visible when it began
        if self._gesture is not None and self._outline_is_here:
            self._gesture.masks = self._basis()
        self._show_masks()

    def _show_masks(self) -> None:
        self._show_annotation(self._masks.annotation, self._masks.states)
        self._show_prediction(self._masks.predicted, outdated=self._outdated)

    def _basis(self) -> FrameMasks:
        """What a stroke starts from."""
        return self._masks if self._corrections else replace(self._masks, prediction=None)

    def set_label_set(self, labels: LabelSet) -> None:
        """Take the classes and their colours."""
        super().set_label_set(labels)
        self._label_set = labels
        self.set_active_class(self._active_class)

    # Tool, class, brush

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
        """The active tool."""
        return self._tool

    def set_active_class(self, value: int) -> None:
        """Draw this structure from now on; an unfinished outline keeps its own."""
        self._active_class = value
        self._colour_marks()
        self._update_marks()

    def _colour_marks(self) -> None:
        outline = self._gesture if isinstance(self._gesture, OutlineGesture) else None
        value = self._active_class if outline is None else outline.ink.active
        colour = {c.value: c.colour for c in self._label_set.classes}.get(value, (255, 255, 255))
        self._marks.set_colour(QColor(*colour))

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

    def set_corrections(self, on: bool) -> None:
        """Let a stroke start from what is predicted of its structure, or from nothing."""
        self._corrections = on

    def set_scribbles(self, on: bool) -> None:
        """Let the first stroke on a frame without annotation leave all else unlabelled."""
        self._scribbles = on

    # Strokes

    def finish_stroke(self) -> None:
        """End the brush stroke in progress, if any, and emit it."""
        if isinstance(self._gesture, BrushGesture):
            self._gesture.confirm()
            self._end_gesture()

    def finish_outline(self) -> None:
        """Close the unfinished outline, if any, and emit it, whatever frame it belongs to."""
        if isinstance(self._gesture, OutlineGesture):
            self._gesture.confirm()
            self._end_gesture()

    def step_outline_back(self) -> bool:
        """Take the last point of an outline on this frame back; False where there is none."""
        gesture = self._gesture
        if not isinstance(gesture, OutlineGesture) or not self._outline_is_here:
            return False
        gesture.back()
        if not gesture.vertices:
            self.cancel_stroke()
        self._update_marks()
        return True

    def cancel_stroke(self) -> None:
        """Discard the stroke in progress or the unfinished outline, if any, with nothing changed."""
        if self._gesture is not None:
            self._drop_gesture()
            self._show_masks()

    def is_stroke_in_progress(self) -> bool:
        """True from the first press of a stroke to its end."""
        return self._gesture is not None

    def unfinished_outline(self) -> object | None:
        """Key of the frame that has an unfinished outline; None for none."""
        return self._gesture_key if isinstance(self._gesture, OutlineGesture) else None

    @property
    def _outline_is_here(self) -> bool:
        return self._gesture_key == self._key

    def _begin_gesture(self) -> None:
        if self._frame is None:
            return
        ink = Ink(self._active_class, self._behind, erase=self._tool == ERASER)
        if self._tool == POLYGON:
            self._gesture = OutlineGesture(self._basis(), ink)
        else:
            self._gesture = BrushGesture(
                self._basis(), ink, self._radius, self._aspect, scribbles=self._scribbles
            )
        self._gesture_key, self._gesture_group = self._key, self._group
        self.stroke_in_progress.emit(True)

    def _drop_gesture(self) -> None:
        self._gesture, self._dragging = None, False
        self._colour_marks()
        self._update_marks()
        self.stroke_in_progress.emit(False)

    def _end_gesture(self) -> None:
        gesture, key = self._gesture, self._gesture_key
        if gesture is None:
            return
        basis, shape = gesture.masks, gesture.shape()
        result = apply_shape(basis, shape, self._label_set, scribbles=self._scribbles)
        here = self._outline_is_here
        self._drop_gesture()
        if result is basis:
            self._show_masks()
            if shape.behind and shape.value and (shape.mask & (basis.shown != shape.value)).any():
                self.nothing_behind.emit()
            return
        if here:
            self._masks = replace(self._masks, annotation=result.annotation, states=result.states)
            self._show_masks()
        changed = _changed(basis.shown, result.shown)
        self.edited.emit(Edit(basis.annotation, result, gesture.kind, key, changed))

    def _after_gesture_input(self) -> None:
        gesture = self._gesture
        if gesture is None:
            return
        if gesture.finished:
            if isinstance(gesture, OutlineGesture):
                self._closed_at = time.monotonic()
            self._end_gesture()
            return
        if isinstance(gesture, BrushGesture):
            self._show_annotation(gesture.preview(), gesture.states)
            self._show_prediction(gesture.untouched(), outdated=self._outdated)
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
        if not self._outline_is_here:
            points = gesture.line() if self._gesture_group is self._group else ()
            self._marks.show_line(points, None, False, faint=True)
            return
        at = self._pointer if self._tool == POLYGON else None
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
            elif not self._outline_is_here or self._tool != POLYGON:
                if len(self._gesture.line()) >= LEAST_CORNERS:
                    self.outline_waits.emit(self._gesture_key)
                    return
                self._drop_gesture()  # it encloses nothing
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
        outline = isinstance(self._gesture, OutlineGesture) and self._outline_is_here
        if event.button() == Button.LeftButton and outline and self._tool == POLYGON:
            event.accept()
            self.finish_outline()
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
            and self._takes(Key(event.key()))
        ):
            event.accept()  # these keys belong to the stroke in progress, not to a menu
            return True
        return super().event(event)

    def _takes(self, key: Key) -> bool:
        """True for a key that belongs to a stroke, also to an outline that the pointer has just closed."""
        if self._gesture is not None:
            return key in GESTURE_KEYS
        return key in CLOSING_KEYS and time.monotonic() - self._closed_at < HABIT_S

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self._takes(Key(event.key())):
            event.ignore()
            return
        event.accept()
        if self._gesture is None:
            return  # Enter after an outline that has closed itself means that outline, nothing else
        if event.key() == Key.Key_Escape:
            self.cancel_stroke()
        elif event.key() == Key.Key_Backspace:
            self.step_outline_back()
        elif self._gesture_group is not self._group:
            self.outline_waits.emit(self._gesture_key)  # it is not on this cine: show it before it is filled
        elif not self._dragging:
            self.finish_outline()

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


def _changed(before: Frame, after: Frame) -> tuple[int, ...]:
    """Structures that differ between two label images of one shape."""
    differs = before != after
    return tuple(sorted({*structures_in(before[differs]), *structures_in(after[differs])}))
