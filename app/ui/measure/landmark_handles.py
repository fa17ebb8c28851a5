"""Long axis and landmarks of the left ventricle over the picture, movable with the mouse."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QPointF, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QPainterPath, QPen
from PySide6.QtWidgets import QGraphicsPathItem

from app.domain.facts import Point
from app.ui.canvas import CineCanvas

GRAB_DISTANCE = 14.0
"""Distance in screen pixels from a landmark within which it can be grabbed."""
AXIS = QColor(255, 255, 255, 200)
HANDLE = QColor("#f2c14e")
PIXEL_CENTRE = 0.5
"""Landmarks count from the centre of the top left pixel, the canvas from its corner."""


@dataclass(frozen=True)
class AxisMarks:
    """Landmarks of one frame, (column, row) in pixels.

    Attributes
    ----------
    left, right : Point
        Hinge points of the mitral valve, left and right as displayed.
    apex : Point
    is_manual : bool
        True if a human has set them.
    """

    left: Point
    right: Point
    apex: Point
    is_manual: bool = False

    @property
    def base(self) -> Point:
        """Middle between the hinge points."""
        return (self.left[0] + self.right[0]) / 2, (self.left[1] + self.right[1]) / 2


NAMES = ("left", "right", "apex")


class LandmarkHandles(QObject):
    """Displays the axis of the visible frame; its three points can be dragged with the tool 'Move'.

    A double click on a point resets the landmarks of the frame. Esc returns a dragged point to its place.
    """

    needs_move_tool = True
    moved = Signal(object, object)  # key of the frame, AxisMarks
    reset_wanted = Signal(object)  # key of the frame

    def __init__(self, canvas: CineCanvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._marks: AxisMarks | None = None
        self._key: object = None
        self._before: AxisMarks | None = None  # while a point is dragged
        self._dragged = ""
        self._grip = QPointF()  # from the pointer to the dragged point, screen pixels
        self._under, self._line = QGraphicsPathItem(), QGraphicsPathItem()
        self._rings, self._dots = QGraphicsPathItem(), QGraphicsPathItem()
        pens = (
            (self._under, QColor(0, 0, 0, 140), 3.0),
            (self._line, AXIS, 1.3),
            (self._rings, QColor(0, 0, 0, 200), 10.0),
            (self._dots, HANDLE, 7.0),
        )
        for z, (item, colour, width) in enumerate(pens):
            pen = QPen(colour, width)
            pen.setCosmetic(True)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            item.setPen(pen)
            item.setBrush(QBrush(Qt.BrushStyle.NoBrush))
            item.setZValue(26 + z * 0.1)
            item.hide()
            canvas.add_mark(item)
        canvas.add_pointer_target(self)

    def show_marks(self, marks: AxisMarks | None, key: object) -> None:
        """Display the landmarks of a frame, or nothing; a point that is being dragged stays at the pointer.

        Parameters
        ----------
        marks : AxisMarks or None
        key : object
            Identifies the frame in the signals.
        """
        if self._before is not None and key == self._key and marks is not None:
            return
        self._before = None
        if (marks, key) != (self._marks, self._key):
            self._marks, self._key = marks, key
            self._draw()

    @property
    def marks(self) -> AxisMarks | None:
        """The displayed landmarks, or None."""
        return self._marks

    def _position(self, name: str) -> QPointF:
        x, y = getattr(self._marks, name)
        return self._canvas.map_from_image(x + PIXEL_CENTRE, y + PIXEL_CENTRE)

    def _name_at(self, position: QPointF) -> str | None:
        if self._marks is None:
            return None
        distances = {name: _length(self._position(name) - position) for name in NAMES}
        nearest = min(NAMES, key=distances.__getitem__)
        return nearest if distances[nearest] <= GRAB_DISTANCE else None

    # Mouse: see PointerTarget

    def press(self, position: QPointF) -> bool:
        """Grab the point under the pointer."""
        name = self._name_at(position)
        if name is None:
            return False
        self._before, self._dragged = self._marks, name
        self._grip = self._position(name) - position
        return True

    def drag(self, position: QPointF) -> None:
        """Move the grabbed point."""
        if self._marks is None or self._before is None:
            return
        x, y = self._canvas.map_to_image(position + self._grip)
        width, height = self._canvas.picture_size()
        point = (
            min(max(x - PIXEL_CENTRE, 0.0), width - 1.0),
            min(max(y - PIXEL_CENTRE, 0.0), height - 1.0),
        )
        self._marks = replace(self._marks, is_manual=True, **{self._dragged: point})
        self._draw()

    def release(self) -> None:
        """Drop the grabbed point."""
        before, self._before = self._before, None
        if before is None or self._marks is None or self._marks == before:
            return
        if self._marks.left[0] > self._marks.right[0]:
            self._marks = replace(self._marks, left=self._marks.right, right=self._marks.left)
        self.moved.emit(self._key, self._marks)

    def double_click(self, position: QPointF) -> bool:
        """Ask for a reset if the pointer is on a point."""
        if self._name_at(position) is None:
            return False
        self.reset_wanted.emit(self._key)
        return True

    def cursor(self, position: QPointF) -> Qt.CursorShape | None:
        """Return the cursor of a movable point."""
        return None if self._name_at(position) is None else Qt.CursorShape.SizeAllCursor

    def cancel(self) -> bool:
        """Return the grabbed point to its place."""
        if self._before is None:
            return False
        self._marks, self._before = self._before, None
        self._draw()
        return True

    def _draw(self) -> None:
        marks = self._marks
        for item in (self._under, self._line, self._rings, self._dots):
            item.setVisible(marks is not None)
        if marks is None:
            return
        line = QPainterPath(_at(marks.left))
        line.lineTo(_at(marks.right))
        line.moveTo(_at(marks.base))
        line.lineTo(_at(marks.apex))
        self._under.setPath(line)
        self._line.setPath(line)
        dots = QPainterPath()
        for point in (marks.left, marks.right, marks.apex):
            dots.moveTo(_at(point))
            dots.lineTo(_at(point) + QPointF(1e-3, 0))
        self._rings.setPath(dots)
        self._dots.setPath(dots)
        pen = self._dots.pen()
        pen.setColor(HANDLE if marks.is_manual else QColor("#ffffff"))
        self._dots.setPen(pen)


def _at(point: Point) -> QPointF:
    return QPointF(point[0] + PIXEL_CENTRE, point[1] + PIXEL_CENTRE)


def _length(vector: QPointF) -> float:
    return float((vector.x() ** 2 + vector.y() ** 2) ** 0.5)
