"""A grey image with zoom, pan, and window and level."""

from __future__ import annotations

import math
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGraphicsItem, QGraphicsView, QLabel, QWidget

from app.domain.cine import Frame
from app.ui import theme
from app.ui.overlay import SharpImage
from app.workspace.painting import Point

MAX_SCALE = 40.0  # screen pixels per column of the image
SHARP_PIXELS_SCALE = 8.0  # scale from which pixels are not interpolated
FULL_WINDOW, FULL_LEVEL = 255.0, 127.5


class PictureView(pg.GraphicsView):
    """Displays one grey image; zoom, position and grey range survive resizing."""

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
        # The intended view, which the view box follows even when the widget is resized. The scale is that of
        # columns; the scale of rows is the scale times the aspect.
        self._fit, self._centre, self._scale = True, (0.0, 0.0), 1.0
        self._aspect = 1.0

    def close(self) -> bool:
        """Close like any widget; pyqtgraph's version deletes scene items that Python still references."""
        return bool(QGraphicsView.close(self))

    def add_mark(self, item: QGraphicsItem) -> None:
        """Add a graphics item in image coordinates, whose z value decides what it covers."""
        self._view.addItem(item, ignoreBounds=True)

    def picture_size(self) -> tuple[int, int]:
        """Return width and height of the image in pixels; (0, 0) without one."""
        return (0, 0) if self._frame is None else (self._frame.shape[1], self._frame.shape[0])

    def columns_scale(self) -> float:
        """Return the number of screen pixels per column of the image."""
        return self._scale

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
        """Set the height of an image pixel divided by its width."""
        if aspect != self._aspect:
            self._aspect = aspect
            self._view.setAspectLocked(True, 1.0 / aspect)
            self._apply_view()

    def set_empty_text(self, text: str) -> None:
        """Set the text that is displayed without an image."""
        self._empty.setText(text)

    def set_levels(self, window: float, level: float) -> None:
        """Set the displayed grey range: `window` wide, centred on `level`, in grey values."""
        window, level = min(max(window, 2.0), 1000.0), min(max(level, -255.0), 510.0)
        if (window, level) != (self._window, self._level):
            self._window, self._level = window, level
            self._picture.setLevels(self._range())
            self.levels_changed.emit(window, level)

    def levels(self) -> tuple[float, float]:
        """Return window and level in grey values."""
        return self._window, self._level

    def _range(self) -> tuple[float, float]:
        return self._level - self._window / 2, self._level + self._window / 2

    def reset_view(self) -> None:
        """Fit the whole picture and display the whole grey range."""
        self.set_levels(FULL_WINDOW, FULL_LEVEL)
        self._fit = True
        self._apply_view()

    def view_state(self) -> dict[str, Any]:
        """Return zoom, position and grey range as JSON-compatible values."""
        return {
            "fit": self._fit,
            "centre": list(self._centre),
            "scale": self._scale,
            "window": self._window,
            "level": self._level,
        }

    def restore_view(self, state: dict[str, Any]) -> None:
        """Apply a state of `view_state`; an invalid one is ignored."""
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
        """Return the image coordinates (x, y) of a position in the viewport."""
        scene = self.viewportTransform().inverted()[0].map(position)
        point = self._view.mapSceneToView(scene)
        return point.x(), point.y()

    def map_from_image(self, x: float, y: float) -> QPointF:
        """Return the viewport position of an image point: the inverse of `map_to_image`."""
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
        # The centre of the view stays on the picture, so that it cannot be moved out of sight.
        x, y = min(max(self._centre[0], 0), width), min(max(self._centre[1], 0), height)
        self._centre = x, y
        w, h = area.width() / self._scale, area.height() / (self._scale * self._aspect)
        self._view.setRange(QRectF(x - w / 2, y - h / 2, w, h), padding=0)
        self._picture.smooth = self._scale < SHARP_PIXELS_SCALE

    def _zoom(self, factor: float, position: QPointF) -> None:
        x, y = self.map_to_image(position)
        before = self._scale
        self._fit, self._scale = False, before * factor
        self._apply_view()
        ratio = before / self._scale
        self._centre = x + (self._centre[0] - x) * ratio, y + (self._centre[1] - y) * ratio
        self._apply_view()

    def _pan(self, by: QPointF) -> None:
        self._fit = False
        x, y = self._centre
        self._centre = x - by.x() / self._scale, y - by.y() / (self._scale * self._aspect)
        self._apply_view()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the image to the new size."""
        super().resizeEvent(event)
        if hasattr(self, "_empty"):  # the base class resizes once before __init__ ends
            self._empty.setGeometry(self.viewport().rect())
            self._apply_view()
