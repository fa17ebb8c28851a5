"""The canvas: mouse and keyboard input for the drawing canvas."""

from __future__ import annotations

import math
import time
from typing import Protocol

from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from app.domain.cine import Frame
from app.ui.drawing_canvas import DrawingCanvas
from app.workspace.gestures import OUTLINE, PAN, OutlineGesture

Button = Qt.MouseButton
Key = Qt.Key

MIN_VERTICES = 3
ENTER_GRACE_S = 1.5
"""Time after an outline has closed itself during which Enter still refers to that outline."""
CLOSING_KEYS = (Key.Key_Return, Key.Key_Enter)
STROKE_KEYS = (Key.Key_Escape, Key.Key_Backspace, *CLOSING_KEYS)
WHEEL_NOTCH = 120
ZOOM_PER_NOTCH = 1.2


class PointerTarget(Protocol):
    """Marks over the picture that the left button can grab before the active tool or panning sees it.

    Attributes
    ----------
    needs_move_tool : bool
        True if the marks must not disturb the drawing tools.
    """

    needs_move_tool: bool

    def press(self, position: QPointF) -> bool:
        """Return True to receive the movements until the button is released; position in the viewport."""
        ...

    def drag(self, position: QPointF) -> None:
        """Handle a movement with the button pressed."""
        ...

    def release(self) -> None:
        """Handle the release of the button."""
        ...

    def double_click(self, position: QPointF) -> bool:
        """Return True if the double click was used."""
        ...

    def cursor(self, position: QPointF) -> Qt.CursorShape | None:
        """Return the cursor at a position; None if there is nothing to grab."""
        ...

    def cancel(self) -> bool:
        """Handle Esc; return True if there was something to cancel."""
        ...


class CineCanvas(DrawingCanvas):
    """Turns mouse and keyboard input into strokes, zoom, levels and frame steps.

    Left button: active tool. Wheel: previous or next frame; with Shift, annotated frame; with Ctrl, zoom at
    the pointer. Middle button, or Alt and left button: move the picture. Right button: window and level.
    """

    frame_step = Signal(int)
    annotated_step = Signal(int)
    hover = Signal(object)  # (x, y, grey value) or None
    blocked_by_outline = Signal(
        object
    )  # key of the frame whose outline must be finished before another stroke

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Picture")
        self._closed_at = -math.inf  # time at which the pointer closed an outline
        self._held: Button | None = None  # button held for panning, or for window and level
        self._last_position = QPointF()
        self._wheel_delta = 0
        self._targets: list[PointerTarget] = []
        self._grabbed: PointerTarget | None = None  # target that receives the movements
        self._target_cursor: Qt.CursorShape | None = None
        self.set_tool(PAN)

    def add_pointer_target(self, target: PointerTarget) -> None:
        """Let marks over the picture receive the left button; the newest target is asked first."""
        self._targets.insert(0, target)

    def _active_targets(self) -> list[PointerTarget]:
        return [target for target in self._targets if self._tool == PAN or not target.needs_move_tool]

    def set_frame(self, image: Frame | None, key: object = None, group: object = None) -> None:
        """Display a frame; see `DrawingCanvas.set_frame`."""
        super().set_frame(image, key, group)
        self._emit_hover()

    def _is_drawing_possible(self) -> bool:
        return super()._is_drawing_possible() and self._held is None

    # Mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Start a stroke, panning, or a change of window and level, depending on button and tool."""
        event.accept()
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if self._frame is None or self._held is not None or self._dragging:
            return
        self._last_position = event.position()
        button = event.button()
        alt = bool(event.modifiers() & Qt.KeyboardModifier.AltModifier)
        if button == Button.LeftButton and not alt and self._grab_target(event.position()):
            return
        if button == Button.LeftButton and not alt and self._tool != PAN:
            self._track(event.position())
            self._press_tool()
        elif button in (Button.LeftButton, Button.MiddleButton, Button.RightButton):
            self._held = button
            is_levels = button == Button.RightButton
            self.viewport().setCursor(
                Qt.CursorShape.SizeAllCursor if is_levels else Qt.CursorShape.ClosedHandCursor
            )
            self._update_marks()

    def _grab_target(self, position: QPointF) -> bool:
        self._grabbed = next((t for t in self._active_targets() if t.press(position)), None)
        return self._grabbed is not None

    def _press_tool(self) -> None:
        if self._gesture is None:
            self._begin_gesture()
        elif not self._outline_is_on_frame or self._tool != OUTLINE:
            if len(self._gesture.polyline()) >= MIN_VERTICES:
                self.blocked_by_outline.emit(self._gesture_key)
                return
            self._drop_gesture()  # too few points to enclose anything
            self._begin_gesture()
        if self._gesture is not None and self._pointer is not None:
            self._dragging = True
            self._gesture.press(self._pointer, self._snap_distance())
            self._after_gesture_input()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Continue the stroke, pan, or change window and level."""
        event.accept()
        moved, self._last_position = event.position() - self._last_position, event.position()
        self._track(event.position())
        if self._grabbed is not None:
            if event.buttons() & Button.LeftButton:
                self._grabbed.drag(event.position())
            else:  # the release went to another window
                self._release_target()
        elif self._held is not None:
            if not event.buttons() & self._held:
                self._release_held()
            elif self._held == Button.RightButton:
                # To the right: wider window; up: brighter.
                step = max(self._window, 32.0) / 400.0
                self.set_levels(self._window + moved.x() * step * 2, self._level + moved.y() * step)
            else:
                self._pan(moved)
        elif self._dragging and self._gesture is not None and self._pointer is not None:
            if event.buttons() & Button.LeftButton:
                self._gesture.drag(self._pointer, self._snap_distance())
                self._after_gesture_input()
            else:  # the release went to another window
                self._release_gesture()
        elif not event.buttons():
            self._show_target_cursor(event.position())
        self._update_marks()
        self._emit_hover()

    def _show_target_cursor(self, position: QPointF) -> None:
        shapes = (target.cursor(position) for target in self._active_targets())
        shape = next((shape for shape in shapes if shape is not None), None)
        if shape != self._target_cursor:
            self._target_cursor = shape
            if shape is None:
                self._show_cursor()
            else:
                self.viewport().setCursor(shape)

    def _release_target(self) -> None:
        target, self._grabbed = self._grabbed, None
        if target is not None:
            target.release()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End the stroke or movement of the released button."""
        event.accept()
        if event.button() == Button.LeftButton and self._grabbed is not None:
            self._release_target()
        elif event.button() == self._held:
            self._release_held()
        elif event.button() == Button.LeftButton and self._dragging:
            self._release_gesture()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Close an outline; with other tools, act as a second press."""
        outline = isinstance(self._gesture, OutlineGesture) and self._outline_is_on_frame
        if event.button() == Button.LeftButton and outline and self._tool == OUTLINE:
            event.accept()
            self.finish_outline()
        elif event.button() == Button.LeftButton and any(
            target.double_click(event.position()) for target in self._active_targets()
        ):
            event.accept()
        else:  # two quick clicks of the brush are two strokes
            self.mousePressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Change the frame; with Ctrl zoom, with Shift move between annotated frames."""
        event.accept()
        if self._frame is None or self._dragging or self._held is not None or self._grabbed is not None:
            return
        # Some systems swap the axes of the wheel while Alt or Shift is held.
        delta = event.angleDelta().y() or event.angleDelta().x()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._zoom(ZOOM_PER_NOTCH ** (delta / WHEEL_NOTCH), event.position())
            return
        if self._wheel_delta * delta < 0:
            self._wheel_delta = 0
        self._wheel_delta += delta
        steps = int(self._wheel_delta / WHEEL_NOTCH)  # touchpads send fractions of a notch
        if steps:
            self._wheel_delta -= steps * WHEEL_NOTCH
            shift = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
            (self.annotated_step if shift else self.frame_step).emit(-steps)

    def leaveEvent(self, event: QEvent) -> None:
        """Hide the marks of the tool."""
        self._pointer = None
        self._update_marks()
        self.hover.emit(None)
        super().leaveEvent(event)

    def _release_held(self) -> None:
        if self._held is not None:
            self._held = None
            self._show_cursor()
            self._update_marks()

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

    # Keyboard

    def event(self, event: QEvent) -> bool:
        """Reserve the keys of a stroke in progress, so that no menu uses them."""
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and self._is_stroke_key(Key(event.key()))
        ):
            event.accept()  # the key belongs to the stroke in progress, not to a menu
            return True
        return super().event(event)

    def _after_gesture_input(self) -> None:
        if isinstance(self._gesture, OutlineGesture) and self._gesture.finished:
            self._closed_at = time.monotonic()
        super()._after_gesture_input()

    def _is_stroke_key(self, key: Key) -> bool:
        """Return True for a key of a stroke in progress, or of an outline that has just closed itself."""
        if self._gesture is not None:
            return key in STROKE_KEYS
        return key in CLOSING_KEYS and time.monotonic() - self._closed_at < ENTER_GRACE_S

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Cancel, step back or finish the stroke in progress."""
        if event.key() == Key.Key_Escape and self._gesture is None and self._cancel_target():
            event.accept()
            return
        if not self._is_stroke_key(Key(event.key())):
            event.ignore()
            return
        event.accept()
        if self._gesture is None:
            return  # Enter refers to the outline that has just closed itself
        if event.key() == Key.Key_Escape:
            self.cancel_stroke()
        elif event.key() == Key.Key_Backspace:
            self.step_outline_back()
        elif self._gesture_group is not self._group:
            self.blocked_by_outline.emit(self._gesture_key)  # the outline is on another cine: show it first
        elif not self._dragging:
            self.finish_outline()

    def _cancel_target(self) -> bool:
        self._grabbed = None
        return any(target.cancel() for target in self._targets)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """End the stroke or movement of a pressed button."""
        if self._dragging:  # the release may never arrive
            self._release_gesture()
        self._release_target()
        self._release_held()
        super().focusOutEvent(event)
