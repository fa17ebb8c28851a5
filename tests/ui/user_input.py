"""Mouse and keyboard input to a window, in image pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QKeySequence, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.domain.cine import Frame
from app.ui.main_window import MainWindow

LEFT = Qt.MouseButton.LeftButton
NONE, CTRL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier
Points = Sequence[tuple[float, float]]


class UserInput:
    """Sends mouse and key events; keys pass through the window's shortcuts."""

    def __init__(self, window: MainWindow) -> None:
        self.window, self.canvas = window, window.canvas

    def at(self, x: float, y: float) -> QPoint:
        return self.canvas.map_from_image(x, y).toPoint()

    def press(self, x: float, y: float) -> None:
        QTest.mousePress(self.canvas.viewport(), LEFT, NONE, self.at(x, y))

    def move(self, x: float, y: float) -> None:
        QTest.mouseMove(self.canvas.viewport(), self.at(x, y))
        QApplication.processEvents()

    def release(self, x: float, y: float) -> None:
        QTest.mouseRelease(self.canvas.viewport(), LEFT, NONE, self.at(x, y))

    def click(self, x: float, y: float) -> None:
        self.press(x, y)
        self.release(x, y)

    def drag(self, points: Points) -> None:
        self.press(*points[0])
        for point in points[1:]:
            self.move(*point)
        self.release(*points[-1])

    def keys(self, *names: str) -> None:
        """Type keys in Qt's portable notation, such as 'Shift+Left'."""
        for name in names:
            combination = QKeySequence(name, QKeySequence.SequenceFormat.PortableText)[0]  # type: ignore[index]
            QTest.keyClick(self.canvas, combination.key(), combination.keyboardModifiers())
            QApplication.processEvents()

    def zoom(self, notches: int, x: float, y: float) -> None:
        position = QPointF(self.at(x, y))
        event = QWheelEvent(
            position,
            self.canvas.viewport().mapToGlobal(position),
            QPoint(),
            QPoint(0, 120 * notches),
            Qt.MouseButton.NoButton,
            CTRL,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(self.canvas.viewport(), event)

    def go_to(self, frame: int) -> None:
        """Go to a frame by keys."""
        self.keys("Home")
        self.keys(*["Down"] * (frame // 10), *["Right"] * (frame % 10))


def outline(label: Frame, value: int) -> list[tuple[float, float]]:
    """Return the closed border of a structure as a list of points."""
    contours, _ = cv2.findContours(
        (label == value).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    longest = max(contours, key=len)[:, 0, :]
    points = [(float(x) + 0.5, float(y) + 0.5) for x, y in longest[::3]]
    return [*points, points[0]]


def scribble(label: Frame, value: int, step: int = 5) -> list[tuple[float, float]]:
    """Return a path that fills a structure row by row."""
    points: list[tuple[float, float]] = []
    rows = np.flatnonzero((label == value).any(axis=1))[2:-2:step]
    for turn, row in enumerate(rows):
        columns = np.flatnonzero(label[row] == value)
        ends = [(float(columns[0]) + 3, float(row)), (float(columns[-1]) - 2, float(row))]
        points.extend(ends if turn % 2 == 0 else ends[::-1])
    return points


def dice(first: Frame, second: Frame, value: int) -> float:
    """Return the Dice overlap of a structure in two label images."""
    a, b = first == value, second == value
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
