"""A picture that can be zoomed, moved and windowed: the view under the canvas, without tools."""

from __future__ import annotations

import math
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGraphicsView, QLabel, QWidget

from app.domain.cine import Frame
from app.ui import theme
from app.ui.overlay import SharpImage
from app.workspace.painting import Point

MAX_SCALE = 40.0  # screen pixels per column of the image
PIXELS_FROM = 8.0  # magnification from which single pixels are shown sharp
FULL_WINDOW, FULL_LEVEL = 255.0, 127.5


class PictureView(pg.GraphicsView):
    """Shows one grey image; keeps zoom, place and grey range when it is resized."""

    levels_changed = Signal(float, float)  # window, level

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, useOpenGL=False, background=theme.CANVAS)
        self.setAntialiasing(True)
        self._view = pg.ViewBox(
            lockAspect=True, enableMouse=False, invertY=True, enableMenu=False, defaultPadding=0
        )
        self._view.disableAutoRange()
        self.setCentralItem(self._view)
        self._picture = SharpImage(smooth=True)
        self._picture.hide()
        self._view.addItem(self._picture, ignoreBounds=True)
        self._empty = QLabel(self.viewport())
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        self._empty.setStyleSheet(f"color: {theme.MUTED}; font-size: 11pt; padding: 40px;")
        self._empty.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

        self._frame: Frame | None = None
        self._window, self._level = FULL_WINDOW, FULL_LEVEL
        # The view as it is meant: the view box follows it, also when the widget is resized. The scale is that
        # of columns; rows have the scale times the aspect.
        self._fit, self._centre, self._scale = True, (0.0, 0.0), 1.0
        self._aspect = 1.0

    def close(self) -> bool:
        """Close as any widget does.

        pyqtgraph's own version first clears the scene, which deletes items that Python still holds.
        """
        return bool(QGraphicsView.close(self))

    def _show_picture(self, image: Frame | None) -> None:
        resized = image is not None and (self._frame is None or image.shape != self._frame.shape)
        self._frame = image
        self._picture.setVisible(image is not None)
        self._empty.setVisible(image is None)
        if image is not None:
            self._picture.setImage(image, autoLevels=False, levels=self._range())
        if resized:
            self._fit = True
            self._apply_view()

    def set_pixel_aspect(self, aspect: float) -> None:
        """Height of an image pixel divided by its width: the picture is shown in its true proportions."""
        if aspect != self._aspect:
            self._aspect = aspect
            self._view.setAspectLocked(True, 1.0 / aspect)
            self._apply_view()

    def set_empty_text(self, text: str) -> None:
        """Text in the middle while there is no cine."""
        self._empty.setText(text)

    def set_levels(self, window: float, level: float) -> None:
        """Grey range shown: `window` wide around `level`, in grey values."""
        window, level = min(max(window, 2.0), 1000.0), min(max(level, -255.0), 510.0)
        if (window, level) != (self._window, self._level):
            self._window, self._level = window, level
            self._picture.setLevels(self._range())
            self.levels_changed.emit(window, level)

    def levels(self) -> tuple[float, float]:
        """Window and level in grey values."""
        return self._window, self._level

    def _range(self) -> tuple[float, float]:
        return self._level - self._window / 2, self._level + self._window / 2

    def reset_view(self) -> None:
        """Fit the whole picture and show the whole grey range."""
        self.set_levels(FULL_WINDOW, FULL_LEVEL)
        self._fit = True
        self._apply_view()

    def view_state(self) -> dict[str, Any]:
        """Zoom, place and grey range, ready for JSON."""
        return {
            "fit": self._fit,
            "centre": list(self._centre),
            "scale": self._scale,
            "window": self._window,
            "level": self._level,
        }

    def restore_view(self, state: dict[str, Any]) -> None:
        """Take up what `view_state` gave; anything missing or malformed is left at its default."""
        try:
            x, y = (float(v) for v in state["centre"])
            scale, window, level = (float(state[k]) for k in ("scale", "window", "level"))
            if not all(map(math.isfinite, (x, y, scale, window, level))) or scale <= 0:
                return
            self._fit, self._centre, self._scale = bool(state["fit"]), (x, y), scale
        except (KeyError, TypeError, ValueError):
            return
        self.set_levels(window, level)
        self._apply_view()

    def map_to_image(self, position: QPointF) -> Point:
        """Image pixel (x, y), continuous, under a position in the viewport."""
        scene = self.viewportTransform().inverted()[0].map(position)
        point = self._view.mapSceneToView(scene)
        return point.x(), point.y()

    def map_from_image(self, x: float, y: float) -> QPointF:
        """Position in the viewport of an image point: the inverse of `map_to_image`."""
        return self.viewportTransform().map(self._view.mapViewToScene(QPointF(x, y)))

    def _apply_view(self) -> None:
        if self._frame is None:
            return
        height, width = self._frame.shape
        area = self._view.rect()
        if area.width() < 2 or area.height() < 2:
            return
        whole = min(area.width() / width, area.height() / (height * self._aspect)) * 0.98
        if self._fit:
            self._centre, self._scale = (width / 2, height / 2), whole
        self._scale = min(max(self._scale, whole / 4), MAX_SCALE)
        # The middle of the view stays on the picture: it can be pushed aside but never lost.
        x, y = min(max(self._centre[0], 0), width), min(max(self._centre[1], 0), height)
        self._centre = x, y
        w, h = area.width() / self._scale, area.height() / (self._scale * self._aspect)
        self._view.setRange(QRectF(x - w / 2, y - h / 2, w, h), padding=0)
        self._picture.smooth = self._scale < PIXELS_FROM

    def _zoom(self, factor: float, position: QPointF) -> None:
        x, y = self.map_to_image(position)
        before = self._scale
        self._fit, self._scale = False, before * factor
        self._apply_view()
        kept = before / self._scale
        self._centre = x + (self._centre[0] - x) * kept, y + (self._centre[1] - y) * kept
        self._apply_view()

    def _pan(self, by: QPointF) -> None:
        self._fit = False
        x, y = self._centre
        self._centre = x - by.x() / self._scale, y - by.y() / (self._scale * self._aspect)
        self._apply_view()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        if hasattr(self, "_empty"):  # the base class resizes once before this one is built
            self._empty.setGeometry(self.viewport().rect())
            self._apply_view()
