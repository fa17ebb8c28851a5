"""Non-square pixels: proportions of the frame and shape of the brush."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from PySide6.QtCore import QPoint
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QStatusBar
from pytestqt.qtbot import QtBot

from app.domain.cine import Calibration
from app.ui.canvas import CineCanvas
from app.ui.status import StatusLine
from app.workspace.painting import stamp_segment
from tests.ui.widgets.conftest import CTRL, MIDDLE, NONE, MouseInput
from tests.unit.engine.conftest import make_cine

HEIGHT, WIDTH = 120, 160


@pytest.fixture
def canvas(qtbot: QtBot) -> CineCanvas:
    canvas = CineCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(700, 500)
    canvas.show()
    qtbot.waitExposed(canvas)
    canvas.set_frame(np.zeros((HEIGHT, WIDTH), np.uint8), 7)
    return canvas


def pixel_size(canvas: CineCanvas) -> tuple[float, float]:
    """Return the width and height of an image pixel in screen pixels."""
    origin = canvas.map_from_image(0, 0)
    return (
        canvas.map_from_image(1, 0).x() - origin.x(),
        canvas.map_from_image(0, 1).y() - origin.y(),
    )


@pytest.mark.parametrize("aspect", [0.15 / 0.31, 0.23 / 0.29, 1.0, 2.0])
def test_the_frame_has_its_true_proportions(canvas: CineCanvas, aspect: float) -> None:
    canvas.set_pixel_aspect(aspect)
    column, row = pixel_size(canvas)
    assert row / column == pytest.approx(aspect, rel=1e-6)
    # It fits the view, and still does after a resize.
    for size in ((700, 500), (400, 600)):
        canvas.resize(*size)
        top, bottom = canvas.map_from_image(0, 0), canvas.map_from_image(WIDTH, HEIGHT)
        assert top.x() >= 0
        assert top.y() >= 0
        assert bottom.x() <= canvas.viewport().width()
        assert bottom.y() <= canvas.viewport().height()
        column, row = pixel_size(canvas)
        assert row / column == pytest.approx(aspect, rel=1e-6)


def test_zoom_and_pan_keep_the_place_under_the_pointer(canvas: CineCanvas) -> None:
    canvas.set_pixel_aspect(0.5)
    before = canvas.map_from_image(40, 30)
    mouse = MouseInput(canvas)
    mouse.wheel(5, CTRL, at=(40, 30))
    assert canvas.map_to_image(before) == pytest.approx((40, 30), abs=0.5)
    column, row = pixel_size(canvas)
    assert row / column == pytest.approx(0.5)
    start = mouse.at(40, 30)
    QTest.mousePress(canvas.viewport(), MIDDLE, NONE, start)
    QTest.mouseMove(canvas.viewport(), start + QPoint(30, 20))
    QTest.mouseRelease(canvas.viewport(), MIDDLE, NONE, start + QPoint(30, 20))
    assert canvas.map_from_image(40, 30).x() == pytest.approx(before.x() + 30, abs=1)
    assert canvas.map_from_image(40, 30).y() == pytest.approx(before.y() + 20, abs=1)


def test_the_brush_is_round_on_the_screen(canvas: CineCanvas) -> None:
    canvas.set_pixel_aspect(0.5)
    canvas.set_tool("brush")
    canvas.set_brush_radius(10.0)
    mouse = MouseInput(canvas)
    mouse.click(80, 60)
    (edit,) = mouse.edits
    rows, columns = np.nonzero(edit.after)
    assert np.ptp(columns) + 1 == pytest.approx(20, abs=1)
    assert np.ptp(rows) + 1 == pytest.approx(40, abs=1)
    ring = canvas.marks.ring.rect()
    column, row = pixel_size(canvas)
    assert ring.width() * column == pytest.approx(ring.height() * row)


@pytest.mark.parametrize("aspect", [0.25, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("radius", [0.5, 3.0])
def test_a_stroke_has_no_gaps_and_the_area_of_its_brush(aspect: float, radius: float) -> None:
    mask = np.zeros((200, 200), bool)
    stamp_segment(mask, (20.0, 60.1), (180.0, 60.1), radius, aspect)
    assert mask[:, 20:180].any(axis=0).all()
    mask[:] = False
    stamp_segment(mask, (60.1, 20.0), (60.1, 180.0), radius, aspect)
    assert mask[20:180].any(axis=1).all()
    mask[:] = False
    stamp_segment(mask, (100.0, 100.0), (100.0, 100.0), 20.0, aspect)
    assert mask.sum() == pytest.approx(math.pi * 400 / aspect, rel=0.03)


def test_pixels_are_square_by_default() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        start, end = rng.uniform(-5, 65, 2), rng.uniform(-5, 65, 2)
        radius = float(rng.uniform(0.1, 12))
        one, other = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
        assert stamp_segment(one, tuple(start), tuple(end), radius) == stamp_segment(
            other, tuple(start), tuple(end), radius, 1.0
        )
        assert np.array_equal(one, other)


def test_the_status_line_shows_both_pixel_spacings_if_they_differ(qtbot: QtBot) -> None:
    bar = QStatusBar()
    qtbot.addWidget(bar)
    status = StatusLine(bar)

    def texts(x: float, y: float) -> list[str]:
        status.show_cine(dataclasses.replace(make_cine(), calibration=Calibration(x, y, "test")))
        return [label.text() for label in bar.findChildren(QLabel)]

    assert "0.310 x 0.150 mm/px" in texts(0.31, 0.15)
    assert "0.308 mm/px" in texts(0.308, 0.308)
