"""Calibration by hand: two points of a known distance on the picture, and a line to type the distance."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QKeyEvent, QPainterPath, QPen
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGraphicsPathItem,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from app.domain.facts import Point
from app.ui import theme
from app.ui.canvas import CineCanvas

COLOUR = QColor("#7fe0c8")
GRAB_DISTANCE = 12.0
SHORTEST_PX = 10.0
"""Points closer together than this, in image pixels, cannot be clicked precisely enough."""
INSTRUCTION = "Click two points whose distance you know, such as two marks of the depth scale."


class CalibrationLine(QWidget):
    """Instruction, distance and unit in one line above the picture."""

    accepted = Signal(float)  # distance in mm
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("calibration")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet(
            f"#calibration {{ background: {theme.RAISED}; border-bottom: 1px solid {theme.LINE}; }}"
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 10, 5)
        row.setSpacing(8)
        self.text = QLabel(INSTRUCTION)
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.distance = QDoubleSpinBox()
        self.distance.setRange(0.0, 400.0)  # 0 stands for an empty field: no distance is assumed
        self.distance.setSpecialValueText("distance")
        self.distance.setDecimals(1)
        self.distance.setAccessibleName("Distance")
        self.unit = QComboBox()
        self.unit.addItems(["cm", "mm"])
        self.unit.setAccessibleName("Unit")
        self.set = QPushButton("Set")
        self.set.setAutoDefault(False)
        self.set.clicked.connect(self._accept)
        self._has_points = False
        self.distance.valueChanged.connect(self._enable)
        self.cancel = QPushButton("Cancel")
        self.cancel.setAutoDefault(False)
        self.cancel.clicked.connect(self.cancelled)
        row.addWidget(self.text, 1)
        for widget in (self.distance, self.unit, self.set, self.cancel):
            row.addWidget(widget)
        self.distance.installEventFilter(self)
        self.unit.installEventFilter(self)
        self.hide()

    def show_length(self, pixels: float | None) -> None:
        """Show the distance of the points in image pixels; None while they are not set."""
        is_long = pixels is not None and pixels >= SHORTEST_PX
        if pixels is None:
            self.text.setText(INSTRUCTION)
        elif not is_long:
            self.text.setText("The points are too close together: choose two that are farther apart.")
        else:
            self.text.setText(f"Distance of the points ({pixels:.0f} pixels):")
        self._has_points = is_long
        self._enable()

    def _enable(self) -> None:
        self.distance.setEnabled(self._has_points)
        self.unit.setEnabled(self._has_points)
        self.set.setEnabled(self._has_points and self.distance.value() > 0.0)

    def _accept(self) -> None:
        self.distance.interpretText()
        if not self.set.isEnabled():
            return
        self.accepted.emit(self.distance.value() * (10.0 if self.unit.currentText() == "cm" else 1.0))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Accept with Enter and cancel with Esc, also where the fields would use these keys."""
        if isinstance(event, QKeyEvent) and event.key() in (
            Qt.Key.Key_Escape,
            Qt.Key.Key_Return,
            Qt.Key.Key_Enter,
        ):
            event.accept()
            if event.type() == QEvent.Type.KeyPress:
                if event.key() == Qt.Key.Key_Escape:
                    self.cancelled.emit()
                else:
                    self._accept()
            return True
        return super().eventFilter(watched, event)


class CalibrationTool(QObject):
    """While it is active, the left button sets two points on the picture, with any drawing tool.

    Attributes
    ----------
    line : CalibrationLine
        Line above the picture.
    """

    needs_move_tool = False
    finished = Signal(object, object, float)  # two points (column, row) in pixels, distance in mm

    def __init__(self, canvas: CineCanvas, line: CalibrationLine) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self.line = line
        self._active = False
        self._points: list[Point] = []
        self._dragged: int | None = None
        self._under, self._mark = QGraphicsPathItem(), QGraphicsPathItem()
        for z, (item, colour, width) in enumerate(
            ((self._under, QColor(0, 0, 0, 160), 4.0), (self._mark, COLOUR, 1.6))
        ):
            pen = QPen(colour, width)
            pen.setCosmetic(True)
            item.setPen(pen)
            item.setBrush(QBrush(Qt.BrushStyle.NoBrush))
            item.setZValue(40 + z)
            item.hide()
            canvas.add_mark(item)
        canvas.add_pointer_target(self)
        line.accepted.connect(self._accept)
        line.cancelled.connect(self.cancel)

    @property
    def is_active(self) -> bool:
        """True from `start` until the distance is set or the tool is cancelled."""
        return self._active

    @property
    def points(self) -> tuple[Point, ...]:
        """The points set so far, (column, row) in pixels."""
        return tuple(self._points)

    def start(self) -> None:
        """Wait for two points."""
        self._canvas.cancel_stroke()
        self._active, self._points, self._dragged = True, [], None
        self.line.distance.setValue(0.0)
        self.line.show()
        self._draw()
        self._canvas.setFocus()

    def cancel(self) -> bool:
        """End without calibrating; return False if the tool is not active."""
        was_active, self._active = self._active, False
        self._points, self._dragged = [], None
        if was_active:
            self.line.hide()
            self._draw()
            self._canvas.setFocus()
        return was_active

    def _accept(self, distance_mm: float) -> None:
        if len(self._points) == 2 and self._length() >= SHORTEST_PX:
            first, second = self._points
            self.cancel()
            self.finished.emit(first, second, distance_mm)

    # Mouse: see PointerTarget

    def press(self, position: QPointF) -> bool:
        """Set the next point, or grab one that is set."""
        if not self._active:
            return False
        near = self._index_at(position)
        if near is not None:
            self._dragged = near
        elif len(self._points) < 2:
            self._points.append(self._point(position))
            self._dragged = len(self._points) - 1
        else:  # start again
            self._points, self._dragged = [self._point(position)], 0
        self._draw()
        return True

    def drag(self, position: QPointF) -> None:
        """Move the grabbed point; dragging from the first point sets the second one."""
        if self._dragged is None:
            return
        if len(self._points) == 1:
            start = self._canvas.map_from_image(*self._points[0])
            if (position - start).manhattanLength() < GRAB_DISTANCE:
                return
            self._points.append(self._point(position))
            self._dragged = 1
        self._points[self._dragged] = self._point(position)
        self._draw()

    def release(self) -> None:
        """Offer to type the distance once both points are set."""
        self._dragged = None
        if len(self._points) == 2 and self._length() >= SHORTEST_PX:
            self.line.distance.setFocus()
            self.line.distance.selectAll()

    def double_click(self, position: QPointF) -> bool:
        """Leave the second press to `press`."""
        return False

    def cursor(self, position: QPointF) -> Qt.CursorShape | None:
        """Return the cursor while points are set."""
        if not self._active:
            return None
        is_point = self._index_at(position) is not None
        return Qt.CursorShape.SizeAllCursor if is_point else Qt.CursorShape.CrossCursor

    def _index_at(self, position: QPointF) -> int | None:
        for index, point in enumerate(self._points):
            if (self._canvas.map_from_image(*point) - position).manhattanLength() <= GRAB_DISTANCE:
                return index
        return None

    def _point(self, position: QPointF) -> Point:
        x, y = self._canvas.map_to_image(position)
        width, height = self._canvas.picture_size()
        return min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))

    def _length(self) -> float:
        (x0, y0), (x1, y1) = self._points
        return float(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5)

    def _draw(self) -> None:
        self.line.show_length(self._length() if len(self._points) == 2 else None)
        path = QPainterPath()
        arm = 7.0 / self._canvas.columns_scale()
        for x, y in self._points:
            path.moveTo(x - arm, y)
            path.lineTo(x + arm, y)
            path.moveTo(x, y - arm)
            path.lineTo(x, y + arm)
        if len(self._points) == 2:
            path.moveTo(*self._points[0])
            path.lineTo(*self._points[1])
        for item in (self._under, self._mark):
            item.setPath(path)
            item.setVisible(self._active and bool(self._points))
