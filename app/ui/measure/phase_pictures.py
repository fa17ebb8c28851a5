"""Small pictures of end-diastole and end-systole with contour, axis and disks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
    QTransform,
)
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from app.domain.cine import Box, Frame
from app.domain.facts import Phase
from app.ui import theme
from app.ui.measure.landmark_handles import PIXEL_CENTRE, AxisMarks

CONTOUR = QColor(0, 158, 235)
DISKS = QColor(255, 255, 255, 95)
AXIS = QColor(255, 255, 255, 220)
BASE = QColor("#f2c14e")
TILE_HEIGHT = 100
TILE_RATIO = 1.4
"""Usual width of a picture divided by its height."""
BLANK = QColor("#0d0f12")


@dataclass(frozen=True, eq=False)
class PhaseGeometry:
    """What was measured on a frame, as (column, row) in pixels.

    Attributes
    ----------
    contour : (n, 2) float
        Closed contour of the LV cavity.
    chords : (m, 2, 2) float
        Both ends of each disk.
    axis : AxisMarks
    """

    contour: NDArray[np.float64]
    chords: NDArray[np.float64]
    axis: AxisMarks


@dataclass(frozen=True, eq=False)
class PhasePicture:
    """One picture.

    Attributes
    ----------
    view : str
        Name of the view, such as 'A4C'.
    phase : Phase
    frame : int
        Zero-based frame.
    cine : object
        Cine to show at a click.
    image : (height, width) uint8 or None
        Frame; None while it is not decoded.
    region : Box
        Part of the frame to show.
    aspect : float
        Height of a pixel divided by its width.
    geometry : PhaseGeometry or None
        None if there is no left ventricle on the frame.
    revision : object
        Changes whenever image or geometry changes; pictures with an equal one are not drawn again.
    """

    view: str
    phase: Phase
    frame: int
    cine: object
    image: Frame | None
    region: Box
    aspect: float
    geometry: PhaseGeometry | None
    revision: object = None

    @property
    def title(self) -> str:
        """Caption, such as 'A4C ED 35'; an unknown view is not named."""
        return f"{self.view} {self.phase} {self.frame}".strip()


def render(picture: PhasePicture, size: QSize, ratio: float = 1.0) -> QPixmap:
    """Draw a picture in true proportions, centred in `size` logical pixels.

    Parameters
    ----------
    picture : PhasePicture
    size : QSize
    ratio : float
        Physical pixels per logical pixel.
    """
    pixmap = QPixmap(size * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(BLANK)
    if picture.image is None:
        return pixmap
    to_tile = transform(picture, size)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.save()
    painter.setTransform(to_tile, combine=True)
    region = picture.region
    part = np.ascontiguousarray(picture.image[region.slices])
    image = QImage(part.data, part.shape[1], part.shape[0], part.shape[1], QImage.Format.Format_Grayscale8)
    painter.drawImage(QPointF(region.x0, region.y0), image)
    painter.restore()
    if picture.geometry is not None:
        _paint_geometry(painter, picture.geometry, to_tile)
    painter.end()
    return pixmap


def transform(picture: PhasePicture, size: QSize) -> QTransform:
    """Return the transform from image pixels (pixel corners) to the tile, the same scale in mm both ways."""
    region = picture.region
    width, height = region.width, region.height * picture.aspect
    scale = min(size.width() / max(width, 1), size.height() / max(height, 1))
    left, top = (size.width() - width * scale) / 2, (size.height() - height * scale) / 2
    return QTransform(
        scale,
        0,
        0,
        scale * picture.aspect,
        left - region.x0 * scale,
        top - region.y0 * scale * picture.aspect,
    )


def _paint_geometry(painter: QPainter, geometry: PhaseGeometry, to_tile: QTransform) -> None:
    def at(point: Sequence[float] | NDArray[np.float64]) -> QPointF:
        return to_tile.map(QPointF(float(point[0]) + PIXEL_CENTRE, float(point[1]) + PIXEL_CENTRE))

    painter.setPen(QPen(DISKS, 0.8))
    for first, second in geometry.chords:
        if np.isfinite(first).all() and np.isfinite(second).all():
            painter.drawLine(at(first), at(second))
    painter.setPen(QPen(CONTOUR, 1.4))
    painter.drawPolygon(QPolygonF([at(point) for point in geometry.contour]))
    axis = geometry.axis
    painter.setPen(QPen(AXIS, 1.0))
    painter.drawLine(at(axis.base), at(axis.apex))
    painter.setPen(QPen(BASE, 1.4))
    painter.drawLine(at(axis.left), at(axis.right))


class PhaseTile(QWidget):
    """One picture with its caption; a click, Enter or the space bar goes to its frame."""

    clicked = Signal(object)  # PhasePicture

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(TILE_HEIGHT)
        font = self.font()
        font.setPointSizeF(max(8.0, font.pointSizeF() * 0.85))
        self.setFont(font)
        self._picture: PhasePicture | None = None
        self._pixmap: QPixmap | None = None

    def show_picture(self, picture: PhasePicture) -> None:
        """Display a picture; an unchanged one is not drawn again."""
        before, self._picture = self._picture, picture
        same = before is not None and (before.title, before.revision) == (picture.title, picture.revision)
        if not same or picture.revision is None:
            self._pixmap = None
            self.setAccessibleName(f"Go to {picture.title}")
            name = "end-diastole" if picture.phase is Phase.ED else "end-systole"
            self.setToolTip(f"{picture.view}, {name}: go to frame {picture.frame}")
            self.update()

    @property
    def picture(self) -> PhasePicture | None:
        """The displayed picture."""
        return self._picture

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Go to the frame."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.clicked.emit(self._picture)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go to the frame with Enter or the space bar."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit(self._picture)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the cached picture and the caption."""
        if self._picture is None:
            return
        if self._pixmap is None or self._pixmap.deviceIndependentSize().toSize() != self.size():
            self._pixmap = render(self._picture, self.size(), self.devicePixelRatioF())
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._pixmap)
        text, metrics = self._picture.title, QFontMetrics(self.font())
        label = QRectF(0, 0, metrics.horizontalAdvance(text) + 8, metrics.height() + 2)
        painter.fillRect(label, QColor(0, 0, 0, 170))
        painter.setFont(self.font())
        painter.setPen(QColor(theme.TEXT))
        painter.drawText(label, Qt.AlignmentFlag.AlignCenter, text)
        painter.setPen(QColor(theme.ACCENT if self.hasFocus() else theme.LINE))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))


class PhasePictures(QWidget):
    """Pictures in rows of two: end-diastole and end-systole of each view; hidden while there are none."""

    chosen = Signal(object)  # PhasePicture

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(6)
        self.tiles: list[PhaseTile] = []
        self.hide()

    def show_pictures(self, pictures: Sequence[PhasePicture]) -> None:
        """Display pictures, in the order ED and ES of each view."""
        while len(self.tiles) < len(pictures):
            tile = PhaseTile()
            tile.clicked.connect(self.chosen)
            self._grid.addWidget(tile, len(self.tiles) // 2, len(self.tiles) % 2)
            self.tiles.append(tile)
        for index, tile in enumerate(self.tiles):
            tile.setVisible(index < len(pictures))
            if index < len(pictures):
                tile.show_picture(pictures[index])
        self.setVisible(bool(pictures))
