"""The whole cine as one strip: what is drawn, what is predicted and how surely, where we are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app.ui import theme

MARGIN = 14
LEAST_DICE = 0.6  # expected Dice of the shortest bar: below, everything is unsure
STRIP = 30  # height of the strip in pixels
SURE, UNSURE = QColor(theme.ACCENT), QColor(theme.WARNING)
STALE = QColor(theme.MUTED)
TROUGH, DECODED = QColor("#0d0f12"), QColor("#4a545e")
ANNOTATED, PLAYHEAD = QColor("#f2f4f6"), QColor("#ffffff")


class Timeline(QWidget):
    """Frames from left to right: full white diamonds are drawn, hollow white ones accepted, the amber one is
    worth outlining next, bars are predictions.

    A tall blue bar is a prediction whose Dice is expected to be close to 1, a short amber one whose Dice is
    expected to be 0.6 or less, a pale stub one that no longer belongs to the latest head; nothing where
    there is none.
    """

    seek = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Timeline")
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        font = self.font()
        font.setPointSizeF(max(8.0, font.pointSizeF() * 0.85))
        self.setFont(font)
        self._times: NDArray[np.float64] = np.zeros(0)
        self._current = 0
        self._annotated: dict[int, bool] = {}  # whether a human drew on the frame, or only accepted
        self._confidence: dict[int, float] = {}
        self._stale: frozenset[int] = frozenset()
        self._suggested: int | None = None
        self._decoded: frozenset[int] | float = 0.0
        self._still: QPixmap | None = None  # everything but the playhead

    # Contents

    def set_cine(self, n_frames: int, times_ms: Sequence[float] | NDArray[np.float64]) -> None:
        """Start afresh for a cine of `n_frames` (0 for none) with their times in milliseconds.

        Raises
        ------
        ValueError
            If there is not one time per frame.
        """
        if len(times_ms) != n_frames:
            raise ValueError(f"{len(times_ms)} times for {n_frames} frames")
        self._times = np.asarray(times_ms, np.float64)
        self._current, self._suggested, self._decoded = 0, None, 0.0
        self._annotated, self._confidence, self._stale = {}, {}, frozenset()
        self._redraw()

    def set_current(self, index: int) -> None:
        """Move the playhead."""
        if index != self._current:
            self._current = index
            self.update()

    def set_annotated(self, drawn: Collection[int], accepted: Collection[int] = ()) -> None:
        """Frames on which something was drawn, and those on which predictions were accepted, no more."""
        self._annotated = dict.fromkeys(accepted, False) | dict.fromkeys(drawn, True)
        self._redraw()

    def set_predictions(self, confidence: Mapping[int, float], stale: Collection[int] = ()) -> None:
        """Expected Dice 0..1 of every predicted frame; `stale` ones belong to an older head."""
        self._confidence = {i: c if math.isfinite(c) else 0.0 for i, c in confidence.items()}
        self._stale = frozenset(stale)
        self._redraw()

    def set_suggested(self, index: int | None) -> None:
        """Frame worth outlining next."""
        self._suggested = index
        self._redraw()

    def set_decoded(self, decoded: Collection[int] | float) -> None:
        """Frames that are in memory, or the fraction 0..1 of them from the start."""
        self._decoded = float(decoded) if isinstance(decoded, int | float) else frozenset(decoded)
        self._redraw()

    # Geometry

    def frame_at(self, x: float) -> int:
        """Frame under a horizontal position in pixels, clamped to the cine; 0 where there is none."""
        n = len(self._times)
        if n == 0:
            return 0
        return min(max(int((x - MARGIN) / self._span() * n), 0), n - 1)

    def x_of(self, index: float) -> float:
        """Horizontal position in pixels of the middle of a frame."""
        return MARGIN + (index + 0.5) * self._span() / max(len(self._times), 1)

    def _span(self) -> float:
        return max(self.width() - 2 * MARGIN, 1)

    def _row(self) -> int:
        return QFontMetrics(self.font()).height()

    def sizeHint(self) -> QSize:
        return QSize(600, STRIP + 2 * self._row() + 10)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, self.sizeHint().height())

    def _strip(self) -> QRectF:
        return QRectF(MARGIN, self._row() + 4, self._span(), STRIP)

    # Mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and len(self._times):
            self.seek.emit(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton and len(self._times):
            index = self.frame_at(event.position().x())
            if index != self._current:
                self.seek.emit(index)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            if len(self._times):
                QToolTip.showText(event.globalPos(), self.describe(self.frame_at(event.pos().x())), self)
            return True
        return super().event(event)

    def describe(self, index: int) -> str:
        """What the tooltip says of a frame: 'frame 12 · 0.240 s · annotated'."""
        parts = [f"frame {index}", f"{self._seconds(index):.3f} s"]
        if index in self._annotated:
            parts.append("annotated" if self._annotated[index] else "accepted")
        if index in self._stale:
            parts.append("prediction out of date")
        elif index in self._confidence:
            parts.append(f"predicted, expected Dice {self._confidence[index]:.2f}")
        if index == self._suggested:
            parts.append("worth outlining next")
        return " · ".join(parts)

    def _seconds(self, index: int) -> float:
        return float(self._times[index] - self._times[0]) / 1000.0

    # Painting

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._redraw()

    def _redraw(self) -> None:
        self._still = None
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._still is None:
            ratio = self.devicePixelRatioF()
            self._still = QPixmap(self.size() * ratio)
            self._still.setDevicePixelRatio(ratio)
            self._still.fill(Qt.GlobalColor.transparent)
            still = QPainter(self._still)
            still.setRenderHint(QPainter.RenderHint.Antialiasing)
            still.setFont(self.font())
            self._paint_still(still)
            still.end()
        painter.drawPixmap(0, 0, self._still)
        if len(self._times):
            self._paint_playhead(painter)

    def _paint_playhead(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        strip, x = self._strip(), self.x_of(self._current)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(PLAYHEAD)
        painter.drawRect(QRectF(x - 0.75, strip.top() - 2, 1.5, STRIP + 4))
        top = strip.top() - 2
        painter.drawPolygon(
            QPolygonF([QPointF(x - 5, top - 5), QPointF(x + 5, top - 5), QPointF(x, top + 2)])
        )

    def _paint_still(self, painter: QPainter) -> None:
        strip, n = self._strip(), len(self._times)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(TROUGH)
        painter.drawRoundedRect(strip, 3, 3)
        if n == 0:
            return
        self._paint_decoded(painter, strip)
        self._paint_predictions(painter, strip)
        self._paint_axis(painter, strip)
        self._paint_marks(painter, strip)

    def _paint_decoded(self, painter: QPainter, strip: QRectF) -> None:
        n = len(self._times)
        frames = range(round(self._decoded * n)) if isinstance(self._decoded, float) else self._decoded
        have = np.zeros(n + 2, bool)
        have[[i + 1 for i in frames if 0 <= i < n]] = True
        edges = np.flatnonzero(np.diff(have.astype(np.int8)))
        painter.setBrush(DECODED)
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            left, right = self.x_of(start - 0.5), self.x_of(stop - 0.5)
            painter.drawRect(QRectF(left, strip.bottom() - 2, right - left, 2))

    def _paint_predictions(self, painter: QPainter, strip: QRectF) -> None:
        # With more frames than pixels each column shows its least sure frame: doubt must not be lost.
        per_column = max(1, math.ceil(len(self._times) / strip.width()))
        columns: dict[int, float] = {}
        for index, value in self._confidence.items():
            share = (value - LEAST_DICE) / (1.0 - LEAST_DICE)
            shown = -1.0 if index in self._stale else min(max(share, 0.0), 1.0)
            column = index // per_column
            columns[column] = min(shown, columns.get(column, 1.0))
        wide = strip.width() / len(self._times) * per_column
        gap = 1.0 if wide >= 4 else 0.0
        full = STRIP - 6
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, gap > 0)
        for column, value in columns.items():
            height = 4.0 if value < 0 else 4.0 + value * (full - 4.0)
            painter.setBrush(STALE if value < 0 else _mix(UNSURE, SURE, value))
            left = strip.left() + column * wide + gap / 2
            painter.drawRect(QRectF(left, strip.bottom() - 3 - height, max(wide - gap, 1.0), height))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def _paint_marks(self, painter: QPainter, strip: QRectF) -> None:
        middle = strip.center().y()
        for index in sorted(self._annotated):
            x = self.x_of(index)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ANNOTATED)
            painter.drawRect(QRectF(x - 0.75, strip.top() + 1, 1.5, STRIP - 2))
            drawn = self._annotated[index]
            painter.setPen(QColor(theme.CANVAS) if drawn else QPen(ANNOTATED, 1.5))
            painter.setBrush(ANNOTATED if drawn else QColor(theme.CANVAS))
            painter.drawPolygon(_diamond(x, middle, 6 if drawn else 5))
        if self._suggested is not None and self._suggested not in self._annotated:
            painter.setPen(QPen(UNSURE, 2))
            painter.setBrush(QColor(theme.CANVAS))  # dark within, to stand out from bars of any colour
            painter.drawPolygon(_diamond(self.x_of(self._suggested), middle, 7))

    def _paint_axis(self, painter: QPainter, strip: QRectF) -> None:
        n, metrics = len(self._times), QFontMetrics(self.font())
        painter.setPen(QColor(theme.MUTED))
        gap = metrics.horizontalAdvance("0000000")
        for index in _ticks(0, n - 1, strip.width() / gap, whole=True):
            self._paint_label(painter, self.x_of(index), 0.0, f"{int(index)}")
        total = self._seconds(n - 1)
        if total <= 0:
            return
        seconds = (self._times - self._times[0]) / 1000.0
        ticks = _ticks(0.0, total, strip.width() / metrics.horizontalAdvance("0000000000"), whole=False)
        short = total < 1.0
        decimals = max(0, -math.floor(math.log10(ticks[1]) + 1e-9)) if len(ticks) > 1 else 1
        for time in ticks:
            x = self.x_of(float(np.interp(time, seconds, np.arange(n))))
            text = f"{time * 1000:.0f} ms" if short else f"{time:.{decimals}f} s"
            painter.drawLine(QPointF(x, strip.bottom() + 1), QPointF(x, strip.bottom() + 4))
            self._paint_label(painter, x, strip.bottom() + 5, text)

    def _paint_label(self, painter: QPainter, x: float, top: float, text: str) -> None:
        width = QFontMetrics(self.font()).horizontalAdvance(text) + 2
        left = min(max(x - width / 2, 1.0), self.width() - width - 1.0)
        painter.drawText(QRectF(left, top, width, self._row()), Qt.AlignmentFlag.AlignCenter, text)


def _ticks(start: float, stop: float, most: float, *, whole: bool) -> list[float]:
    """Round values from start to stop, at most about `most` of them, steps 1, 2 or 5 times a power of 10."""
    if stop <= start:
        return [start]
    rough = max((stop - start) / max(most, 1.0), 1.0 if whole else 1e-9)
    power = 10.0 ** math.floor(math.log10(rough) + 1e-9)
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    return [start + i * step for i in range(int((stop - start) / step + 1e-6) + 1)]


def _mix(low: QColor, high: QColor, share: float) -> QColor:
    def between(a: int, b: int) -> int:
        return round(a + (b - a) * share)

    return QColor(
        between(low.red(), high.red()),
        between(low.green(), high.green()),
        between(low.blue(), high.blue()),
    )


def _diamond(x: float, y: float, half: float) -> QPolygonF:
    return QPolygonF([QPointF(x, y - half), QPointF(x + half, y), QPointF(x, y + half), QPointF(x - half, y)])
