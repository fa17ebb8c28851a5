"""All frames of a cine in one strip: annotations, expected Dice of predictions, visible frame."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QWidget

from app.ui import theme
from app.ui.frame_strip import MARGIN, PLAYHEAD, FrameStrip

MIN_DICE = 0.6  # expected Dice of the shortest bar
STRIP_HEIGHT = 30
HIGH_DICE, LOW_DICE = QColor(theme.ACCENT), QColor(theme.WARNING)
OUTDATED = QColor(theme.MUTED)
BACKGROUND, DECODED = QColor("#0d0f12"), QColor("#4a545e")
ANNOTATED = QColor("#f2f4f6")


class Timeline(FrameStrip):
    """Frames from left to right.

    Filled white diamonds mark drawn frames, hollow ones accepted frames, the amber one the suggested frame.
    Bars are predictions: tall and blue for an expected Dice close to 1, short and amber for 0.6 or less, a
    grey stub for an outdated prediction.

    Attributes
    ----------
    annotated : dict of int to bool
        Annotated frames: True for drawn, False for accepted only.
    suggested : int or None
        Frame worth outlining next.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Timeline", STRIP_HEIGHT, parent)
        self._times: NDArray[np.float64] = np.zeros(0)
        self.annotated: dict[int, bool] = {}
        self._dice: dict[int, float] = {}
        self._outdated: frozenset[int] = frozenset()
        self.suggested: int | None = None
        self._decoded: frozenset[int] | float = 0.0

    # Contents

    def set_cine(self, n_frames: int, times_ms: Sequence[float] | NDArray[np.float64]) -> None:
        """Display a cine of `n_frames` (0 for none) with frame times in milliseconds.

        Raises
        ------
        ValueError
            If there is not one time per frame.
        """
        if len(times_ms) != n_frames:
            raise ValueError(f"{len(times_ms)} times for {n_frames} frames")
        self._times = np.asarray(times_ms, np.float64)
        self._current, self.suggested, self._decoded = 0, None, 0.0
        self.annotated, self._dice, self._outdated = {}, {}, frozenset()
        self.redraw()

    def set_annotated(self, drawn: Collection[int], accepted: Collection[int] = ()) -> None:
        """Set the frames with drawn structures, and those with accepted structures only."""
        self.annotated = dict.fromkeys(accepted, False) | dict.fromkeys(drawn, True)
        self.redraw()

    def set_predictions(self, dice: Mapping[int, float], outdated: Collection[int] = ()) -> None:
        """Set the expected Dice (0..1) of the predicted frames, and the frames with outdated predictions."""
        self._dice = {i: d if math.isfinite(d) else 0.0 for i, d in dice.items()}
        self._outdated = frozenset(outdated)
        self.redraw()

    def set_suggested(self, index: int | None) -> None:
        """Mark the frame worth outlining next."""
        self.suggested = index
        self.redraw()

    def set_decoded(self, decoded: Collection[int] | float) -> None:
        """Set the decoded frames, or the decoded fraction 0..1 from the start."""
        self._decoded = float(decoded) if isinstance(decoded, int | float) else frozenset(decoded)
        self.redraw()

    # Geometry

    @property
    def n_frames(self) -> int:
        """Number of frames; 0 without a cine."""
        return len(self._times)

    def frame_at(self, x: float) -> int:
        """Return the frame at a horizontal position in pixels, clamped to the cine; 0 without a cine."""
        return self.axis().frame_at(x)

    def x_of(self, index: float) -> float:
        """Return the horizontal position in pixels of the centre of a frame."""
        return self.axis().x_of(index)

    def _strip(self) -> QRectF:
        return QRectF(MARGIN, self.row_height() + 4, self.axis().span, STRIP_HEIGHT)

    # Mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the frame under the pointer."""
        if event.button() == Qt.MouseButton.LeftButton and len(self._times):
            self.seek.emit(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go to the frame under the pointer while the button is pressed."""
        if event.buttons() & Qt.MouseButton.LeftButton and len(self._times):
            index = self.frame_at(event.position().x())
            if index != self._current:
                self.seek.emit(index)

    def describe(self, index: int) -> str:
        """Return the tooltip of a frame, such as 'frame 12 · 0.240 s · drawn'."""
        parts = [f"frame {index}", f"{self._seconds(index):.3f} s"]
        if index in self.annotated:
            parts.append("drawn" if self.annotated[index] else "accepted")
        if index in self._outdated:
            parts.append("outdated prediction")
        elif index in self._dice:
            parts.append(f"predicted, expected Dice {self._dice[index]:.2f}")
        if index == self.suggested:
            parts.append("worth outlining next")
        return " · ".join(parts)

    def _seconds(self, index: int) -> float:
        return float(self._times[index] - self._times[0]) / 1000.0

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the strip and the marker of the visible frame."""
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self.background())
        if len(self._times):
            self._paint_playhead(painter)

    def _paint_playhead(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        strip, x = self._strip(), self.x_of(self._current)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(PLAYHEAD)
        painter.drawRect(QRectF(x - 0.75, strip.top() - 2, 1.5, STRIP_HEIGHT + 4))
        top = strip.top() - 2
        painter.drawPolygon(
            QPolygonF([QPointF(x - 5, top - 5), QPointF(x + 5, top - 5), QPointF(x, top + 2)])
        )

    def paint_background(self, painter: QPainter) -> None:
        """Draw decoded frames, predictions, axis and marks."""
        strip, n = self._strip(), len(self._times)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(BACKGROUND)
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
        # With more frames than pixels, each column shows its lowest expected Dice.
        per_column = max(1, math.ceil(len(self._times) / strip.width()))
        columns: dict[int, float] = {}
        for index, value in self._dice.items():
            share = (value - MIN_DICE) / (1.0 - MIN_DICE)
            shown = -1.0 if index in self._outdated else min(max(share, 0.0), 1.0)
            column = index // per_column
            columns[column] = min(shown, columns.get(column, 1.0))
        width = strip.width() / len(self._times) * per_column
        gap = 1.0 if width >= 4 else 0.0
        full = STRIP_HEIGHT - 6
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, gap > 0)
        for column, value in columns.items():
            height = 4.0 if value < 0 else 4.0 + value * (full - 4.0)
            painter.setBrush(OUTDATED if value < 0 else _mix(LOW_DICE, HIGH_DICE, value))
            left = strip.left() + column * width + gap / 2
            painter.drawRect(QRectF(left, strip.bottom() - 3 - height, max(width - gap, 1.0), height))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def _paint_marks(self, painter: QPainter, strip: QRectF) -> None:
        middle = strip.center().y()
        for index in sorted(self.annotated):
            x = self.x_of(index)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ANNOTATED)
            painter.drawRect(QRectF(x - 0.75, strip.top() + 1, 1.5, STRIP_HEIGHT - 2))
            drawn = self.annotated[index]
            painter.setPen(QColor(theme.CANVAS) if drawn else QPen(ANNOTATED, 1.5))
            painter.setBrush(ANNOTATED if drawn else QColor(theme.CANVAS))
            painter.drawPolygon(_diamond(x, middle, 6 if drawn else 5))
        if self.suggested is not None and self.suggested not in self.annotated:
            painter.setPen(QPen(LOW_DICE, 2))
            painter.setBrush(QColor(theme.CANVAS))  # a dark centre stands out from bars of any colour
            painter.drawPolygon(_diamond(self.x_of(self.suggested), middle, 7))

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
        painter.drawText(QRectF(left, top, width, self.row_height()), Qt.AlignmentFlag.AlignCenter, text)


def _ticks(start: float, stop: float, max_ticks: float, *, whole: bool) -> list[float]:
    """Return about `max_ticks` round values from start to stop, in steps of 1, 2 or 5 times a power of 10."""
    if stop <= start:
        return [start]
    rough = max((stop - start) / max(max_ticks, 1.0), 1.0 if whole else 1e-9)
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
