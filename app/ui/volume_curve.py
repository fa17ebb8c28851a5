"""Size of the left ventricle over the frames of a cine, with beats and movable ED and ES flags."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QWidget

from app.domain.facts import Phase
from app.ui import theme
from app.ui.frame_strip import PLAYHEAD, FrameAxis, FrameStrip

CURVE = QColor(0, 158, 235)
FLAG = QColor("#f2c14e")
BEAT = QColor(255, 255, 255, 13)
OTHER_BEAT = 0.45  # opacity of the flags of beats that are not displayed
PLOT_HEIGHT = 56
FLAG_PADDING = 5
GRAB_DISTANCE = 6.0
"""Distance in pixels from the line of a flag within which it can be dragged."""


@dataclass(frozen=True)
class Flag:
    """End-diastole or end-systole of a beat.

    Attributes
    ----------
    phase : Phase
    frame : int
        Zero-based frame.
    is_manual : bool
        True if a human has marked the frame, False if the program proposes it.
    is_measured : bool
        True if the displayed numbers refer to this frame, False for another beat.
    """

    phase: Phase
    frame: int
    is_manual: bool = False
    is_measured: bool = True


@dataclass(frozen=True, eq=False)
class Curve:
    """Content of the widget.

    Attributes
    ----------
    values : (T,) float
        Size of the ventricle per frame; nan where it is unknown.
    name, unit : str
        For example 'LV volume' and 'ml'.
    beats : tuple of (int, int)
        First and last frame of each complete beat.
    r_waves : tuple of float
        Positions of R waves in frames; they may lie between two frames.
    flags : tuple of Flag
    """

    values: NDArray[np.float64]
    name: str
    unit: str
    beats: tuple[tuple[int, int], ...] = ()
    r_waves: tuple[float, ...] = ()
    flags: tuple[Flag, ...] = field(default=())


class VolumeCurve(FrameStrip):
    """Displays a curve on the time axis of the timeline below it; hidden while there is nothing to show.

    Dragging a flag moves the mark of its phase; pressing elsewhere goes to the frame under the pointer.
    """

    flag_moved = Signal(object, int)  # Flag as it was, new frame

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Size of the left ventricle over time", PLOT_HEIGHT, parent)
        self._curve: Curve | None = None
        self._dragged: Flag | None = None
        self._drag_frame = 0
        self.hide()

    # Contents

    def set_curve(self, curve: Curve | None) -> None:
        """Display a curve; None hides the widget."""
        if curve is not None and not np.isfinite(curve.values).any():
            curve = None
        if curve is None or self._curve is None or len(curve.values) != len(self._curve.values):
            self._dragged = None
        self._curve = curve
        self.redraw()
        self.setVisible(curve is not None)

    @property
    def curve(self) -> Curve | None:
        """The displayed curve; None if the widget is hidden."""
        return self._curve

    def describe(self, frame: int) -> str:
        """Return the tooltip of a frame, such as 'frame 12 · LV volume 87 ml · ED, marked by hand'."""
        if self._curve is None:
            return ""
        value = self._curve.values[frame]
        parts = [f"frame {frame}"]
        parts.append(f"{self._curve.name} {self._text(value)}" if math.isfinite(value) else "not measured")
        parts += [
            f"{flag.phase}, {'marked by hand' if flag.is_manual else 'proposed: drag to correct'}"
            for flag in self._curve.flags
            if flag.frame == frame
        ]
        return " · ".join(parts)

    def _text(self, value: float) -> str:
        unit = self._curve.unit if self._curve is not None else ""
        return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"

    # Geometry

    @property
    def n_frames(self) -> int:
        """Number of frames; 0 without a curve."""
        return 0 if self._curve is None else len(self._curve.values)

    def _plot(self) -> QRectF:
        return QRectF(0, 2 * self.row_height() + 5, self.width(), PLOT_HEIGHT)

    def _flag_box(self, flag: Flag, frame: int) -> QRectF:
        width = QFontMetrics(self.font()).horizontalAdvance(str(flag.phase)) + 2 * FLAG_PADDING
        left = min(max(self.axis().x_of(frame) - width / 2, 0.0), self.width() - width)
        return QRectF(left, self.row_height() + 3, width, self.row_height())

    def _flag_at(self, position: QPointF) -> Flag | None:
        """Return the flag at a position: by its label, else by its line."""
        flags = () if self._curve is None else self._curve.flags
        x_of = self.axis().x_of
        near = sorted(flags, key=lambda flag: abs(x_of(flag.frame) - position.x()))
        for flag in near:
            if self._flag_box(flag, flag.frame).adjusted(-3, -3, 3, 3).contains(position):
                return flag
        if position.y() < self._plot().top():
            return None
        return next((f for f in near if abs(x_of(f.frame) - position.x()) <= GRAB_DISTANCE), None)

    # Mouse and keyboard

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Start to drag a flag, or go to the frame under the pointer."""
        if event.button() != Qt.MouseButton.LeftButton or self._curve is None:
            return
        self._dragged = self._flag_at(event.position())
        if self._dragged is None:
            self.seek.emit(self.axis().frame_at(event.position().x()))
        else:
            self._drag_frame = self._dragged.frame
            self.setFocus(Qt.FocusReason.MouseFocusReason)  # for Esc
            self.seek.emit(self._drag_frame)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move the dragged flag, or go to the frame under the pointer while the button is pressed."""
        if self._curve is None:
            return
        if not event.buttons() & Qt.MouseButton.LeftButton:
            is_flag = self._flag_at(event.position()) is not None
            self.setCursor(Qt.CursorShape.SizeHorCursor if is_flag else Qt.CursorShape.ArrowCursor)
            return
        frame = self.axis().frame_at(event.position().x())
        if self._dragged is not None:
            if frame != self._drag_frame:
                self._drag_frame = frame
                self.update()
                self.seek.emit(frame)
        elif frame != self._current:
            self.seek.emit(frame)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Drop the dragged flag."""
        if event.button() != Qt.MouseButton.LeftButton or self._dragged is None:
            return
        flag, self._dragged = self._dragged, None
        self.clearFocus()
        self.update()
        if self._drag_frame != flag.frame:
            self.flag_moved.emit(flag, self._drag_frame)

    def event(self, event: QEvent) -> bool:
        """Show tooltips; Esc returns a dragged flag to its place."""
        if isinstance(event, QKeyEvent) and self._dragged is not None and event.key() == Qt.Key.Key_Escape:
            if event.type() == QEvent.Type.KeyPress:
                self.seek.emit(self._dragged.frame)
                self._dragged = None
                self.clearFocus()
                self.update()
            event.accept()
            return True
        return super().event(event)

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw curve, flags and playhead."""
        if self._curve is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self.font())
        painter.drawPixmap(0, 0, self.background())
        self._paint_title(painter, self._curve)
        x, plot = self.axis().x_of(self._current), self._plot()
        painter.fillRect(QRectF(x - 0.75, plot.top(), 1.5, plot.height() + 5), PLAYHEAD)
        for flag in self._curve.flags:
            if flag is not self._dragged:
                self._paint_flag(painter, flag, flag.frame)
        if self._dragged is not None:
            self._paint_flag(painter, self._dragged, self._drag_frame)

    def _paint_title(self, painter: QPainter, curve: Curve) -> None:
        value = curve.values[self._current] if self._current < len(curve.values) else math.nan
        text = self._text(value) if math.isfinite(value) else "not measured"
        painter.setPen(QColor(theme.MUTED))
        area = QRectF(FrameAxis(1, 0).x_of(-0.5), 2, self.width(), self.row_height())
        painter.drawText(area, Qt.AlignmentFlag.AlignLeft, f"{curve.name} on this frame: {text}")

    def paint_background(self, painter: QPainter) -> None:
        """Draw beats, R waves and the curve."""
        curve = self._curve
        if curve is None:
            return
        axis, plot = self.axis(), self._plot()
        for first, last in curve.beats:
            left, right = axis.x_of(first), axis.x_of(last)
            painter.fillRect(QRectF(left, plot.top(), right - left, plot.height() + 5), BEAT)
        painter.setPen(QPen(QColor(theme.MUTED), 1))
        for wave in curve.r_waves:
            x = axis.x_of(wave)
            painter.drawLine(QPointF(x, plot.bottom() - 3), QPointF(x, plot.bottom() + 5))
            painter.drawText(QPointF(x + 3, plot.bottom() + 5), "R")
        painter.setPen(QPen(CURVE, 2))
        for path in curve_paths(curve.values, axis, plot.adjusted(0, 3, 0, -8)):
            painter.drawPath(path)

    def _paint_flag(self, painter: QPainter, flag: Flag, frame: int) -> None:
        box, x = self._flag_box(flag, frame), self.axis().x_of(frame)
        painter.setOpacity(1.0 if flag.is_measured or flag is self._dragged else OTHER_BEAT)
        is_filled = flag.is_manual or flag is self._dragged
        painter.setPen(QPen(FLAG, 1.3))
        painter.drawLine(QPointF(x, box.bottom()), QPointF(x, self._plot().bottom() + 5))
        painter.setBrush(FLAG if is_filled else QColor(theme.WINDOW))
        painter.drawRoundedRect(box, 3, 3)
        painter.setPen(QColor("#1b1505") if is_filled else FLAG)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(flag.phase))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setOpacity(1.0)


def curve_paths(values: NDArray[np.float64], axis: FrameAxis, area: QRectF) -> list[QPainterPath]:
    """Return the curve as one path per run of known values, from the largest to the smallest value.

    A curve that changes by less than a tenth is drawn flat at the top rather than enlarged.
    """
    known = np.isfinite(values)
    if not known.any():
        return []
    high, low = float(values[known].max()), float(values[known].min())
    if high - low < 0.1 * high:
        low = 0.9 * high
    scale = area.height() / (high - low) if high > low else 0.0
    paths: list[QPainterPath] = []
    for frame, value in enumerate(values):
        if not known[frame]:
            continue
        point = QPointF(axis.x_of(frame), area.bottom() - (float(value) - low) * scale)
        if frame and known[frame - 1]:
            paths[-1].lineTo(point)
        else:
            paths.append(QPainterPath(point))
            paths[-1].lineTo(point + QPointF(0.1, 0))  # a single frame is visible as a dot
    return paths
