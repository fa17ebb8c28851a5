"""Label layers over the picture, and the marks of the active tool.

What was drawn has a solid outline, what was accepted long dashes, a prediction short dashes over a paler
fill, and an outdated prediction dots: they differ in form and not in colour alone, so that they stay apart in
a grey print as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPen, QPolygonF
from PySide6.QtWidgets import QGraphicsEllipseItem, QGraphicsPathItem, QStyleOptionGraphicsItem, QWidget

from app.domain.cine import Frame
from app.domain.labels import LabelSet
from app.workspace.painting import Point
from vjepa_core.label_image import UNLABELLED
from vjepa_core.service.messages import DOUBT_SIZE


@dataclass(frozen=True)
class LayerStyle:
    """How a layer is drawn: fill opacity (0..1), pen width (screen pixels), dashes, stacking order."""

    fill: float
    width: float
    dashes: tuple[float, ...]
    z: float


DRAWN = LayerStyle(fill=0.28, width=2.0, dashes=(), z=20)
ACCEPTED = LayerStyle(fill=0.2, width=1.8, dashes=(10.0, 2.5), z=18)
PREDICTION = LayerStyle(fill=0.13, width=1.8, dashes=(3.5, 2.5), z=10)
OUTDATED = LayerStyle(fill=0.08, width=2.2, dashes=(1.0, 1.6), z=10)

SMOOTH = 5  # points of a contour averaged together, so that an outline is a line and not a staircase
_VEIL = (0, 0, 0, 90)
RAGGED = 1500  # points of an outline from which Qt strokes it with a one-pixel line, 30 times faster
CRUMB = 9  # points of a contour between two common borders that are not worth a line
SMOOTH_FROM = 24  # shorter contours would shrink visibly


class SharpImage(pg.ImageItem):
    """Row-major image that is interpolated when it is a picture and never when it is a label image."""

    def __init__(self, *, smooth: bool) -> None:
        super().__init__(axisOrder="row-major")
        self.smooth = smooth
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self.smooth)
        super().paint(painter, option, widget)


class LabelLayer:
    """One label image on a view box: a raster fill, and one outline per class."""

    def __init__(self, view: pg.ViewBox, style: LayerStyle) -> None:
        self._view = view
        self._style = style
        self._fill = SharpImage(smooth=False)
        self._fill.setZValue(style.z)
        self._fill.hide()
        view.addItem(self._fill, ignoreBounds=True)
        self._outlines: dict[int, QGraphicsPathItem] = {}
        self._colours: dict[int, QColor] = {}
        self._labels: Frame | None = None
        self._shown = True
        self._hidden: frozenset[int] = frozenset()

    def set_style(self, style: LayerStyle) -> None:
        """Draw the layer in another style from now on."""
        if style is self._style:
            return
        self._style = style
        for value, item in self._outlines.items():
            item.setPen(self._pen(self._colours[value]))
        self._refresh_lut()

    def _pen(self, colour: QColor) -> QPen:
        pen = QPen(colour, self._style.width)
        pen.setCosmetic(True)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        if self._style.dashes:
            pen.setDashPattern(self._style.dashes)
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        return pen

    def set_label_set(self, labels: LabelSet) -> None:
        """Take colours and classes from a label set."""
        for item in self._outlines.values():
            self._view.removeItem(item)
        self._outlines.clear()
        self._colours = {c.value: QColor(*c.colour) for c in labels.classes}
        for value, colour in self._colours.items():
            item = QGraphicsPathItem()
            item.setPen(self._pen(colour))
            item.setZValue(self._style.z + 1)
            self._view.addItem(item, ignoreBounds=True)
            self._outlines[value] = item
        self._refresh_lut()
        self.set_labels(self._labels)

    def set_labels(self, labels: Frame | None) -> None:
        """Show a label image, shape (height, width), uint8; None for nothing."""
        before, self._labels = self._labels, labels
        # News of other frames come many times a second: what is shown already is not drawn again. The same
        # array may have been drawn into, so only another one is compared.
        both = labels is not None and before is not None and labels is not before
        if both and np.array_equal(labels, before):  # type: ignore[arg-type]
            return
        show = labels is not None and self._shown
        self._fill.setVisible(show)
        if labels is None or not show:
            for item in self._outlines.values():
                item.hide()
            return
        self._fill.setImage(labels, autoLevels=False, levels=(0, 255))
        present = np.bincount(labels.ravel(), minlength=256)
        drawn: list[int] = []
        for value, item in self._outlines.items():
            visible = bool(present[value]) and value not in self._hidden
            item.setVisible(visible)
            if visible:
                path = outline_path(labels, value, drawn)
                # A head at its first steps scatters specks: the window must not wait for their borders.
                pen = item.pen()
                pen.setWidthF(self._style.width if path.elementCount() < RAGGED else 1.0)
                item.setPen(pen)
                item.setPath(path)
                drawn.append(value)

    def set_visible(self, visible: bool) -> None:
        """Show or hide the whole layer."""
        if visible != self._shown:
            self._shown = visible
            self.set_labels(self._labels)

    def set_hidden_classes(self, values: Collection[int]) -> None:
        """Hide these classes, show all others."""
        self._hidden = frozenset(values)
        self._refresh_lut()
        self.set_labels(self._labels)

    def _refresh_lut(self) -> None:
        lut = np.zeros((256, 4), np.uint8)
        for value, colour in self._colours.items():
            if value not in self._hidden:
                lut[value] = (colour.red(), colour.green(), colour.blue(), round(255 * self._style.fill))
        lut[UNLABELLED] = _VEIL  # what a scribble says nothing of
        self._fill.setLookupTable(lut)


def outline_path(labels: Frame, value: int, drawn: Collection[int] = ()) -> QPainterPath:
    """Return the borders of one class as a path in image pixels, holes included.

    Where the class touches one of those already `drawn`, their border stands for both: two dashed lines
    side by side would look like a solid one.
    """
    mask = (labels == value).view(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    path = QPainterPath()
    if width == 0:
        return path
    contours, _ = cv2.findContours(
        mask[y : y + height, x : x + width], cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y)
    )
    shared = _neighbourhood(labels, drawn) if drawn else None
    for contour in contours:
        pixels = contour.reshape(-1, 2)
        points = _smooth(pixels + 0.5)
        if len(points) < 3:  # a speck of one or two pixels still deserves a mark
            path.addRect(points[0, 0] - 0.5, points[0, 1] - 0.5, 1.0, 1.0)
            continue
        closed = np.vstack((points, points[:1]))
        at = closed.astype(np.intp)
        connect: Any = "all" if shared is None else _without_crumbs(shared[at[:, 1], at[:, 0]])
        path.addPath(pg.arrayToQPath(closed[:, 0], closed[:, 1], connect=connect, finiteCheck=False))
    return path


def _neighbourhood(labels: Frame, values: Collection[int]) -> NDArray[np.uint8]:
    """1 on the pixels of these classes and next to them."""
    lut = np.zeros(256, np.uint8)
    lut[list(values)] = 1
    return cv2.dilate(lut[labels], np.ones((5, 5), np.uint8)).astype(np.uint8, copy=False)


def _without_crumbs(shared: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where a closed contour is drawn: not where it is shared, nor on a short stretch between two such.

    Crumbs of a line along a common border would make a solid outline look dashed.
    """
    if not shared.any():
        return np.ones_like(shared)
    n = len(shared)
    around = np.resize(shared, (1, 3 * n))  # thrice round: the middle turn knows what is before and after
    closed = cv2.morphologyEx(around, cv2.MORPH_CLOSE, np.ones((1, CRUMB), np.uint8))
    return (closed[0, n : 2 * n] == 0).view(np.uint8)


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average a closed contour over neighbouring points, and keep every other one."""
    if len(points) < SMOOTH_FROM:
        return points
    half = SMOOTH // 2
    around = np.concatenate(
        (np.zeros((1, 2)), np.cumsum(np.vstack((points[-half:], points, points[:half])), 0))
    )
    return ((around[SMOOTH:] - around[:-SMOOTH]) / SMOOTH)[::2]


class DoubtLayer:
    """Where the prediction may be wrong: a haze, as wide as the border may be off.

    A thin line of doubt runs along every border, so only wider places are hatched as well.
    """

    HAZE = QColor(206, 236, 84)
    FROM, FULL = 0.18, 0.5  # probability to be wrong at which the haze begins, and is at its densest
    OPACITY = 0.6
    HATCHED = 0.3  # from here on
    WIDE = 2.2  # pixels of the engine's grid: narrower places are not hatched

    def __init__(self, view: pg.ViewBox) -> None:
        self._haze = SharpImage(smooth=True)
        self._haze.setZValue(PREDICTION.z + 0.5)  # between its fill and its outline
        lut = np.zeros((256, 4), np.uint8)
        lut[:, :3] = self.HAZE.red(), self.HAZE.green(), self.HAZE.blue()
        share = (np.arange(256) / 255 - self.FROM) / (self.FULL - self.FROM)
        lut[:, 3] = np.round(255 * self.OPACITY * np.clip(share, 0, 1))
        self._haze.setLookupTable(lut)
        self._hatch = QGraphicsPathItem()
        self._hatch.setPen(QPen(Qt.PenStyle.NoPen))
        self._hatch.setBrush(QBrush(self.HAZE, Qt.BrushStyle.BDiagPattern))
        self._hatch.setZValue(PREDICTION.z + 0.6)
        for item in (self._haze, self._hatch):
            item.hide()
            view.addItem(item, ignoreBounds=True)

    def show(self, doubt: Frame | None) -> None:
        """Show probabilities to be wrong, (height, width) uint8, times 255; None for nothing."""
        for item in (self._haze, self._hatch):
            item.setVisible(doubt is not None)
        if doubt is None:
            return
        self._haze.setImage(doubt, autoLevels=False, levels=(0, 255))
        wide = max(3, round(self.WIDE * max(doubt.shape) / DOUBT_SIZE))
        shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide))
        grave = cv2.morphologyEx((doubt >= 255 * self.HATCHED).astype(np.uint8), cv2.MORPH_OPEN, shape)
        self._hatch.setPath(outline_path(grave.astype(np.uint8, copy=False), 1))


class ToolMarks:
    """The brush's circle at its true size, and an unfinished outline with its vertices."""

    DOT = 6.0  # screen pixels

    def __init__(self, view: pg.ViewBox) -> None:
        self._halo, self._ring = QGraphicsEllipseItem(), QGraphicsEllipseItem()
        self._under, self._line = QGraphicsPathItem(), QGraphicsPathItem()
        self._dots = QGraphicsPathItem()
        for z, item in enumerate((self._halo, self._ring, self._under, self._line, self._dots)):
            item.setZValue(30 + z)
            item.setBrush(QBrush(Qt.BrushStyle.NoBrush))
            item.hide()
            view.addItem(item, ignoreBounds=True)
        # A dark line under the coloured one keeps both readable on bright tissue.
        self._halo.setPen(_cosmetic(QColor(0, 0, 0, 150), 3))
        self._under.setPen(_cosmetic(QColor(0, 0, 0, 150), 3.5))

    def set_colour(self, colour: QColor) -> None:
        """Colour of the class in hand."""
        self._ring.setPen(_cosmetic(colour, 1.4))
        self._line.setPen(_cosmetic(colour, 1.8))
        self._dots.setPen(_cosmetic(colour, self.DOT, round_cap=True))

    def show_brush(self, centre: Point | None, radius: float, pixel_aspect: float = 1.0) -> None:
        """Show the brush's circle, or hide it: `radius` in columns of the image, more or fewer rows."""
        rows = radius / pixel_aspect
        for ring in (self._halo, self._ring):
            ring.setVisible(centre is not None)
            if centre is not None:
                ring.setRect(centre[0] - radius, centre[1] - rows, 2 * radius, 2 * rows)

    def show_line(
        self, points: Sequence[Point], pointer: Point | None, closing: bool, *, faint: bool = False
    ) -> None:
        """Show an unfinished outline with a rubber line to the pointer, or to its start if it closes.

        `faint` is for an outline that belongs to another frame.
        """
        visible = len(points) > 0
        for item in (self._under, self._line, self._dots):
            item.setVisible(visible)
            item.setOpacity(0.4 if faint else 1.0)
        if not visible:
            return
        corners = [QPointF(*p) for p in points]
        path = QPainterPath()
        path.addPolygon(QPolygonF(corners))
        if pointer is not None:
            path.lineTo(corners[0] if closing else QPointF(*pointer))
        self._under.setPath(path)
        self._line.setPath(path)
        dots = QPainterPath()
        # Freehand traces have too many points to mark: their ends are enough.
        for corner in corners if len(corners) <= 60 else (corners[0], corners[-1]):
            dots.moveTo(corner)
            dots.lineTo(corner + QPointF(1e-3, 0))
        self._dots.setPath(dots)
        pen = self._dots.pen()
        pen.setWidthF(self.DOT * (2 if closing else 1))
        self._dots.setPen(pen)


def _cosmetic(colour: QColor, width: float, *, round_cap: bool = False) -> QPen:
    pen = QPen(colour, width)
    pen.setCosmetic(True)
    if round_cap:
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    return pen
