"""Graphics over the picture: label layers, doubt, and the marks of the active tool.

Drawn structures have a solid outline, accepted ones long dashes, predictions short dashes and a lighter fill,
outdated predictions dots: line styles remain distinguishable without colour.
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
    """Style of a layer: fill opacity (0..1), pen width (screen pixels), dash pattern, stacking order."""

    fill: float
    width: float
    dashes: tuple[float, ...]
    z: float


DRAWN = LayerStyle(fill=0.28, width=2.0, dashes=(), z=20)
ACCEPTED = LayerStyle(fill=0.2, width=1.8, dashes=(10.0, 2.5), z=18)
PREDICTION = LayerStyle(fill=0.13, width=1.8, dashes=(3.5, 2.5), z=10)
OUTDATED = LayerStyle(fill=0.08, width=2.2, dashes=(1.0, 1.6), z=10)

SMOOTHING_POINTS = 5  # contour points averaged together, to remove the staircase of pixels
MIN_SMOOTHED_POINTS = 24  # shorter contours would shrink visibly
MAX_WIDE_PEN_POINTS = 1500  # longer outlines get a one-pixel pen, which Qt draws 30 times faster
MIN_GAP_POINTS = 9  # shorter stretches of a contour between shared borders are not drawn
UNLABELLED_RGBA = (0, 0, 0, 90)


class SharpImage(pg.ImageItem):
    """Row-major image; pictures are interpolated (`smooth`), label images are not."""

    def __init__(self, *, smooth: bool) -> None:
        super().__init__(axisOrder="row-major")
        self.smooth = smooth
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        """Draw the image, interpolated or not."""
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self.smooth)
        super().paint(painter, option, widget)


class LabelLayer:
    """One label image in a view box: a raster fill, and an outline for each structure.

    Attributes
    ----------
    style : LayerStyle
        Style of fill and outlines.
    labels : numpy.ndarray or None
        Displayed label image (height, width) uint8.
    is_visible : bool
        False while the whole layer is hidden.
    """

    def __init__(self, view: pg.ViewBox, style: LayerStyle) -> None:
        self._view = view
        self.style = style
        self._fill = SharpImage(smooth=False)
        self._fill.setZValue(style.z)
        self._fill.hide()
        view.addItem(self._fill, ignoreBounds=True)
        self._outlines: dict[int, QGraphicsPathItem] = {}
        self._colours: dict[int, QColor] = {}
        self.labels: Frame | None = None
        self.is_visible = True
        self._hidden: frozenset[int] = frozenset()

    def set_style(self, style: LayerStyle) -> None:
        """Change the style of the layer."""
        if style is self.style:
            return
        self.style = style
        for value, item in self._outlines.items():
            item.setPen(self._pen(self._colours[value]))
        self._refresh_lut()

    def _pen(self, colour: QColor) -> QPen:
        pen = QPen(colour, self.style.width)
        pen.setCosmetic(True)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        if self.style.dashes:
            pen.setDashPattern(self.style.dashes)
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        return pen

    def set_label_set(self, labels: LabelSet) -> None:
        """Set the structures and their colours."""
        for item in self._outlines.values():
            self._view.removeItem(item)
        self._outlines.clear()
        self._colours = {c.value: QColor(*c.colour) for c in labels.structures}
        for value, colour in self._colours.items():
            item = QGraphicsPathItem()
            item.setPen(self._pen(colour))
            item.setZValue(self.style.z + 1)
            self._view.addItem(item, ignoreBounds=True)
            self._outlines[value] = item
        self._refresh_lut()
        self.set_labels(self.labels)

    def set_labels(self, labels: Frame | None) -> None:
        """Display a label image (height, width) uint8, or None."""
        before, self.labels = self.labels, labels
        # Predictions of other frames arrive many times a second: skip labels that are displayed already. The
        # same array may have been modified in place, so only a different array is compared.
        both = labels is not None and before is not None and labels is not before
        if both and np.array_equal(labels, before):  # type: ignore[arg-type]
            return
        show = labels is not None and self.is_visible
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
                # Early predictions are full of small islands, whose outlines would be slow to draw.
                pen = item.pen()
                pen.setWidthF(self.style.width if path.elementCount() < MAX_WIDE_PEN_POINTS else 1.0)
                item.setPen(pen)
                item.setPath(path)
                drawn.append(value)

    def set_visible(self, visible: bool) -> None:
        """Show or hide the whole layer."""
        if visible != self.is_visible:
            self.is_visible = visible
            self.set_labels(self.labels)

    def set_hidden_structures(self, values: Collection[int]) -> None:
        """Hide these structures, show all others."""
        self._hidden = frozenset(values)
        self._refresh_lut()
        self.set_labels(self.labels)

    def _refresh_lut(self) -> None:
        lut = np.zeros((256, 4), np.uint8)
        for value, colour in self._colours.items():
            if value not in self._hidden:
                lut[value] = (colour.red(), colour.green(), colour.blue(), round(255 * self.style.fill))
        lut[UNLABELLED] = UNLABELLED_RGBA
        self._fill.setLookupTable(lut)


def outline_path(labels: Frame, value: int, drawn: Collection[int] = ()) -> QPainterPath:
    """Return the borders of one structure, including holes, as a path in image pixels.

    Parameters
    ----------
    labels : numpy.ndarray
        Label image (height, width) uint8.
    value : int
        Structure.
    drawn : collection of int
        Structures whose outlines are drawn already. Borders shared with them are left out: two dashed lines
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
        if len(points) < 3:  # one or two pixels: mark them with a square
            path.addRect(points[0, 0] - 0.5, points[0, 1] - 0.5, 1.0, 1.0)
            continue
        closed = np.vstack((points, points[:1]))
        at = closed.astype(np.intp)
        connect: Any = "all" if shared is None else _visible_points(shared[at[:, 1], at[:, 0]])
        path.addPath(pg.arrayToQPath(closed[:, 0], closed[:, 1], connect=connect, finiteCheck=False))
    return path


def _neighbourhood(labels: Frame, values: Collection[int]) -> NDArray[np.uint8]:
    """Return 1 on and near the pixels of these structures, else 0; (height, width) uint8."""
    lut = np.zeros(256, np.uint8)
    lut[list(values)] = 1
    return cv2.dilate(lut[labels], np.ones((5, 5), np.uint8)).astype(np.uint8, copy=False)


def _visible_points(shared: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 for the points of a closed contour that are drawn, else 0.

    Shared points and the short stretches between them are left out: the stretches would make a solid outline
    look dashed.
    """
    if not shared.any():
        return np.ones_like(shared)
    n = len(shared)
    repeated = np.resize(shared, (1, 3 * n))  # the middle copy has its neighbours on both sides
    closed = cv2.morphologyEx(repeated, cv2.MORPH_CLOSE, np.ones((1, MIN_GAP_POINTS), np.uint8))
    return (closed[0, n : 2 * n] == 0).view(np.uint8)


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average a closed contour over neighbouring points, and return every second one."""
    if len(points) < MIN_SMOOTHED_POINTS:
        return points
    half = SMOOTHING_POINTS // 2
    sums = np.concatenate(
        (np.zeros((1, 2)), np.cumsum(np.vstack((points[-half:], points, points[:half])), 0))
    )
    return ((sums[SMOOTHING_POINTS:] - sums[:-SMOOTHING_POINTS]) / SMOOTHING_POINTS)[::2]


class DoubtLayer:
    """Green shading of areas in which the prediction may be wrong; wide areas are also hatched.

    Every border has a thin line of doubt, so only areas of a minimum width are hatched.
    """

    COLOUR = QColor(206, 236, 84)
    MIN_PROBABILITY, MAX_PROBABILITY = 0.18, 0.5  # at which the shading begins, and at which it is strongest
    OPACITY = 0.6
    HATCHED_PROBABILITY = 0.3
    HATCHED_WIDTH = 2.2  # in pixels of the engine's grid

    def __init__(self, view: pg.ViewBox) -> None:
        self._shading = SharpImage(smooth=True)
        self._shading.setZValue(PREDICTION.z + 0.5)  # between its fill and its outline
        lut = np.zeros((256, 4), np.uint8)
        lut[:, :3] = self.COLOUR.red(), self.COLOUR.green(), self.COLOUR.blue()
        share = (np.arange(256) / 255 - self.MIN_PROBABILITY) / (self.MAX_PROBABILITY - self.MIN_PROBABILITY)
        lut[:, 3] = np.round(255 * self.OPACITY * np.clip(share, 0, 1))
        self._shading.setLookupTable(lut)
        self._hatch = QGraphicsPathItem()
        self._hatch.setPen(QPen(Qt.PenStyle.NoPen))
        self._hatch.setBrush(QBrush(self.COLOUR, Qt.BrushStyle.BDiagPattern))
        self._hatch.setZValue(PREDICTION.z + 0.6)
        for item in (self._shading, self._hatch):
            item.hide()
            view.addItem(item, ignoreBounds=True)

    @property
    def is_visible(self) -> bool:
        """True while doubt is displayed."""
        return bool(self._shading.isVisible())

    def show(self, doubt: Frame | None) -> None:
        """Display doubt, the probability of a wrong label times 255, (height, width) uint8; or None."""
        for item in (self._shading, self._hatch):
            item.setVisible(doubt is not None)
        if doubt is None:
            return
        self._shading.setImage(doubt, autoLevels=False, levels=(0, 255))
        width = max(3, round(self.HATCHED_WIDTH * max(doubt.shape) / DOUBT_SIZE))
        shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        hatched = cv2.morphologyEx(
            (doubt >= 255 * self.HATCHED_PROBABILITY).astype(np.uint8), cv2.MORPH_OPEN, shape
        )
        self._hatch.setPath(outline_path(hatched.astype(np.uint8, copy=False), 1))


class ToolMarks:
    """The circle of the brush at its true size, and an unfinished outline with its vertices.

    Attributes
    ----------
    ring : QGraphicsEllipseItem
        Circle of the brush, in image pixels.
    line : QGraphicsPathItem
        Unfinished outline.
    """

    DOT = 6.0  # screen pixels

    def __init__(self, view: pg.ViewBox) -> None:
        self._halo, self.ring = QGraphicsEllipseItem(), QGraphicsEllipseItem()
        self._under, self.line = QGraphicsPathItem(), QGraphicsPathItem()
        self._dots = QGraphicsPathItem()
        for z, item in enumerate((self._halo, self.ring, self._under, self.line, self._dots)):
            item.setZValue(30 + z)
            item.setBrush(QBrush(Qt.BrushStyle.NoBrush))
            item.hide()
            view.addItem(item, ignoreBounds=True)
        # A dark line under the coloured one keeps both readable on bright tissue.
        self._halo.setPen(_cosmetic(QColor(0, 0, 0, 150), 3))
        self._under.setPen(_cosmetic(QColor(0, 0, 0, 150), 3.5))

    def set_colour(self, colour: QColor) -> None:
        """Set the colour of the structure to draw."""
        self.ring.setPen(_cosmetic(colour, 1.4))
        self.line.setPen(_cosmetic(colour, 1.8))
        self._dots.setPen(_cosmetic(colour, self.DOT, round_cap=True))

    def show_brush(self, centre: Point | None, radius: float, pixel_aspect: float = 1.0) -> None:
        """Show the circle of the brush around `centre`, or hide it; `radius` in image columns."""
        rows = radius / pixel_aspect
        for ring in (self._halo, self.ring):
            ring.setVisible(centre is not None)
            if centre is not None:
                ring.setRect(centre[0] - radius, centre[1] - rows, 2 * radius, 2 * rows)

    def show_line(
        self, points: Sequence[Point], pointer: Point | None, closing: bool, *, faint: bool = False
    ) -> None:
        """Show an unfinished outline.

        Parameters
        ----------
        points : sequence of (float, float)
            Vertices in image pixels; empty to hide the outline.
        pointer : (float, float) or None
            End of a line from the last vertex.
        closing : bool
            True if the next click closes the outline; the line then ends at the first vertex.
        faint : bool
            True for an outline that belongs to another frame.
        """
        visible = len(points) > 0
        for item in (self._under, self.line, self._dots):
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
        self.line.setPath(path)
        dots = QPainterPath()
        # Freehand outlines have too many points: mark their ends only.
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
