"""Plot of the training loss."""

from __future__ import annotations

import math

import pyqtgraph as pg
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from app.ui import theme

REDRAW_MS = 100
LABEL_HEIGHT = 22


class _LogAxis(pg.AxisItem):
    """Logarithmic axis with few round labels (1, 2 or 5 times a power of ten)."""

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        low, high = math.floor(minVal), math.ceil(maxVal)
        max_labels = max(int(size / LABEL_HEIGHT), 2)
        for parts in ((1, 2, 5), (1, 3), (1,)):
            ticks = [p + math.log10(m) for p in range(low, high + 1) for m in parts]
            ticks = [t for t in ticks if minVal <= t <= maxVal]
            if len(ticks) <= max_labels:
                break
        return [(1.0, ticks[:: max(1, math.ceil(len(ticks) / max_labels))])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [f"{10**v:.2g}" for v in values]


class LossCurve(QWidget):
    """Small live plot of the loss on a logarithmic axis, redrawn at most ten times a second."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        view = pg.PlotWidget(self, background=theme.WINDOW, axisItems={"left": _LogAxis("left")})
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(view)
        self.setAccessibleName("Loss curve")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        plot = view.getPlotItem()
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(False, False)
        plot.hideButtons()
        plot.setLogMode(x=False, y=True)
        plot.showGrid(x=False, y=True, alpha=0.15)
        plot.setContentsMargins(2, 6, 8, 2)
        font = self.font()
        font.setPointSizeF(max(8.0, font.pointSizeF() * 0.85))
        for side, text in (("bottom", "step"), ("left", "loss")):
            axis = plot.getAxis(side)
            axis.setLabel(text, color=theme.MUTED)
            axis.enableAutoSIPrefix(False)
            axis.setPen(QColor(theme.LINE))
            axis.setTextPen(QColor(theme.MUTED))
            axis.setStyle(tickFont=font)
            axis.label.setFont(font)
        self._curve = plot.plot(pen=pg.mkPen(theme.ACCENT, width=1.6), antialias=True)
        self._plot = plot
        self._steps: list[float] = []
        self._losses: list[float] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self._draw)

    def add(self, step: int, loss: float) -> None:
        """Add a point; values that a logarithmic axis cannot show (not positive, not finite) are left out."""
        if math.isfinite(loss) and loss > 0:
            self._steps.append(step)
            self._losses.append(loss)
            if not self._timer.isActive():
                self._timer.start()

    def clear(self) -> None:
        """Remove all points."""
        self._steps.clear()
        self._losses.clear()
        self._draw()

    def points(self) -> list[tuple[float, float]]:
        """Return (step, loss) of all points."""
        return list(zip(self._steps, self._losses, strict=True))

    def sizeHint(self) -> QSize:
        """Return the preferred size."""
        return QSize(220, 130)

    def minimumSizeHint(self) -> QSize:
        """Return the smallest useful size."""
        return QSize(140, 90)

    def _draw(self) -> None:
        self._timer.stop()
        if self._steps:  # a single point has no range
            self._plot.setXRange(0, max(10, *self._steps), padding=0.02)
        self._curve.setData(self._steps, self._losses)
