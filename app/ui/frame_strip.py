"""Widgets that show one value per frame of a cine on a common horizontal axis."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QHelpEvent, QPainter, QPixmap, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

MARGIN = 14
"""Space in pixels at both ends of an axis of frames."""
PLAYHEAD = QColor("#ffffff")


@dataclass(frozen=True)
class FrameAxis:
    """Axis on which every frame of a cine has the same width.

    Attributes
    ----------
    n_frames : int
        Number of frames; 0 without a cine.
    width : int
        Width of the widget in pixels, margins included.
    """

    n_frames: int
    width: int

    @property
    def span(self) -> float:
        """Width of all frames together in pixels."""
        return float(max(self.width - 2 * MARGIN, 1))

    def x_of(self, frame: float) -> float:
        """Return the horizontal position in pixels of the centre of a frame."""
        return MARGIN + (frame + 0.5) * self.span / max(self.n_frames, 1)

    def frame_at(self, x: float) -> int:
        """Return the frame at a horizontal position in pixels, clamped to the cine; 0 without a cine."""
        if self.n_frames == 0:
            return 0
        return min(max(int((x - MARGIN) / self.span * self.n_frames), 0), self.n_frames - 1)


class FrameStrip(QWidget):
    """A widget of fixed height with the frames of a cine from left to right and a playhead.

    Parameters
    ----------
    name : str
        Accessible name.
    height : int
        Height of the frames in pixels, without the rows of text.
    """

    seek = Signal(int)

    def __init__(self, name: str, height: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        font = self.font()
        font.setPointSizeF(max(8.0, font.pointSizeF() * 0.85))
        self.setFont(font)
        self._frames_height = height
        self._current = 0
        self._background: QPixmap | None = None  # everything that does not follow the playhead

    @property
    def n_frames(self) -> int:
        """Number of frames; 0 without a cine."""
        raise NotImplementedError

    def describe(self, frame: int) -> str:
        """Return the tooltip of a frame."""
        raise NotImplementedError

    def paint_background(self, painter: QPainter) -> None:
        """Draw everything that does not follow the playhead."""
        raise NotImplementedError

    def set_current(self, frame: int) -> None:
        """Move the playhead."""
        if frame != self._current:
            self._current = frame
            self.update()

    def axis(self) -> FrameAxis:
        """Return the horizontal axis; strips of the same width and cine have the same one."""
        return FrameAxis(self.n_frames, self.width())

    def row_height(self) -> int:
        """Return the height of a row of text in pixels."""
        return QFontMetrics(self.font()).height()

    def sizeHint(self) -> QSize:
        """Return the preferred size."""
        return QSize(600, self._frames_height + 2 * self.row_height() + 10)

    def minimumSizeHint(self) -> QSize:
        """Return the smallest useful size."""
        return QSize(200, self.sizeHint().height())

    def event(self, event: QEvent) -> bool:
        """Show the tooltip of the frame under the pointer."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            if self.n_frames:
                text = self.describe(self.axis().frame_at(event.pos().x()))
                QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw the strip at the new size."""
        self.redraw()

    def redraw(self) -> None:
        """Draw the background again."""
        self._background = None
        self.update()

    def background(self) -> QPixmap:
        """Return the background, drawn only after a change."""
        if self._background is None:
            ratio = self.devicePixelRatioF()
            self._background = QPixmap(self.size() * ratio)
            self._background.setDevicePixelRatio(ratio)
            self._background.fill(Qt.GlobalColor.transparent)
            painter = QPainter(self._background)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setFont(self.font())
            self.paint_background(painter)
            painter.end()
        return self._background
