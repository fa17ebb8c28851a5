"""A canvas with mouse input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.domain.cine import Frame
from app.domain.labels import LEFT_HEART
from app.domain.provenance import derived_states
from app.domain.shown_mask import FrameMasks
from app.ui.canvas import CineCanvas
from app.workspace.gestures import FinishedStroke

LEFT, MIDDLE, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton, Qt.MouseButton.RightButton
NONE, CTRL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier
SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
HEIGHT, WIDTH = 120, 160


@pytest.fixture
def canvas(qtbot: QtBot) -> CineCanvas:
    canvas = CineCanvas()
    canvas.set_label_set(LEFT_HEART)
    qtbot.addWidget(canvas)
    canvas.resize(700, 500)
    canvas.show()
    qtbot.waitExposed(canvas)
    canvas.set_frame(np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH).astype(np.uint8), 7)
    canvas.set_brush_radius(5.0)
    canvas.set_tool("brush")
    return canvas


def show(canvas: CineCanvas, annotation: Frame | None, prediction: Frame | None = None) -> None:
    """Show masks on the current frame, as drawn by hand and as predicted."""
    states = {} if annotation is None else derived_states(None, {}, annotation, "brush")
    size = next((m.shape for m in (annotation, prediction) if m is not None), (HEIGHT, WIDTH))
    canvas.set_masks(FrameMasks((size[0], size[1]), annotation, states, prediction, LEFT_HEART.walls))


class MouseInput:
    """Sends mouse events at image coordinates, and records the edits."""

    def __init__(self, canvas: CineCanvas) -> None:
        self.canvas, self.viewport = canvas, canvas.viewport()
        self.edits: list[FinishedStroke] = []
        canvas.stroke_finished.connect(self.edits.append)

    def at(self, x: float, y: float) -> QPoint:
        return self.canvas.map_from_image(x, y).toPoint()

    def press(self, x: float, y: float, button: Qt.MouseButton = LEFT, keys: Any = NONE) -> None:
        QTest.mousePress(self.viewport, button, keys, self.at(x, y))

    def move(self, x: float, y: float) -> None:
        QTest.mouseMove(self.viewport, self.at(x, y))
        QApplication.processEvents()

    def release(self, x: float, y: float, button: Qt.MouseButton = LEFT) -> None:
        QTest.mouseRelease(self.viewport, button, NONE, self.at(x, y))

    def click(self, x: float, y: float) -> None:
        self.press(x, y)
        self.release(x, y)

    def drag(self, *points: tuple[float, float], button: Qt.MouseButton = LEFT, keys: Any = NONE) -> None:
        self.press(*points[0], button, keys)
        for point in points[1:]:
            self.move(*point)
        self.release(*points[-1], button)

    def wheel(self, notches: float, keys: Any = NONE, at: tuple[float, float] = (80, 60)) -> None:
        position = QPointF(self.at(*at))
        event = QWheelEvent(
            position,
            self.viewport.mapToGlobal(position),
            QPoint(),
            QPoint(0, round(notches * 120)),
            Qt.MouseButton.NoButton,
            keys,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(self.viewport, event)


@pytest.fixture
def mouse(canvas: CineCanvas) -> MouseInput:
    return MouseInput(canvas)
