"""Pictures of end-diastole and end-systole: proportions, clicks, caching."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.domain.cine import Box
from app.domain.facts import Phase
from app.ui.measure import phase_pictures
from app.ui.measure.landmark_handles import AxisMarks
from app.ui.measure.phase_pictures import PhaseGeometry, PhasePicture, PhasePictures, render, transform

SIZE = QSize(140, 96)
SQUARE = PhaseGeometry(
    np.array([[40.0, 20.0], [60.0, 20.0], [60.0, 70.0], [40.0, 70.0]]),
    np.array([[[40.0, 45.0], [60.0, 45.0]], [[np.nan, np.nan], [np.nan, np.nan]]]),
    AxisMarks((40.0, 70.0), (60.0, 70.0), (50.0, 20.0)),
)
PICTURE = PhasePicture(
    "A4C",
    Phase.ED,
    35,
    "cine",
    np.full((100, 120), 40, np.uint8),
    Box(10, 5, 110, 95),
    1.0,
    SQUARE,
    revision=1,
)


@pytest.fixture
def pictures(qtbot: QtBot) -> PhasePictures:
    pictures = PhasePictures()
    qtbot.addWidget(pictures)
    pictures.resize(290, 210)
    return pictures


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_proportions_are_true_for_pixels_that_are_not_square(aspect: float) -> None:
    to_tile = transform(replace(PICTURE, aspect=aspect), SIZE)
    x_axis = to_tile.map(QPointF(11, 10)) - to_tile.map(QPointF(10, 10))
    y_axis = to_tile.map(QPointF(10, 11)) - to_tile.map(QPointF(10, 10))
    assert y_axis.y() / x_axis.x() == pytest.approx(aspect)
    corners = [to_tile.map(QPointF(10, 5)), to_tile.map(QPointF(110, 95))]
    assert min(c.x() for c in corners) >= -1e-9
    assert max(c.x() for c in corners) <= SIZE.width() + 1e-9
    assert max(c.y() for c in corners) <= SIZE.height() + 1e-9


def test_contour_axis_and_disks_are_drawn_where_they_were_measured() -> None:
    picture = render(PICTURE, SIZE).toImage()
    to_tile = transform(PICTURE, SIZE)
    on_contour = to_tile.map(QPointF(40.5, 60.5)).toPoint()
    assert picture.pixelColor(on_contour).blue() > 120
    inside = to_tile.map(QPointF(45.5, 60.5)).toPoint()
    assert picture.pixelColor(inside).blue() == 40
    on_axis = to_tile.map(QPointF(50.5, 60.5)).toPoint()
    assert picture.pixelColor(on_axis).red() > 90
    on_disk = to_tile.map(QPointF(45.5, 45.5)).toPoint()
    assert picture.pixelColor(on_disk).red() > 60


def test_a_frame_that_is_not_decoded_is_blank() -> None:
    picture = render(replace(PICTURE, image=None), SIZE).toImage()
    assert picture.pixelColor(70, 48) == phase_pictures.BLANK


def test_a_click_goes_to_cine_and_frame(pictures: PhasePictures) -> None:
    seen: list[PhasePicture] = []
    pictures.chosen.connect(seen.append)
    es = replace(PICTURE, phase=Phase.ES, frame=44, revision=2)
    pictures.show_pictures([PICTURE, es])
    assert pictures.isVisible()
    QTest.mouseClick(pictures.tiles[1], Qt.MouseButton.LeftButton)
    QTest.keyClick(pictures.tiles[0], Qt.Key.Key_Return)
    assert [(p.phase, p.frame, p.cine) for p in seen] == [(Phase.ES, 44, "cine"), (Phase.ED, 35, "cine")]


def test_pictures_are_drawn_again_only_after_a_change(
    pictures: PhasePictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    original = phase_pictures.render

    def counting(picture: PhasePicture, *rest: object) -> object:
        drawn.append(picture.frame)
        return original(picture, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(phase_pictures, "render", counting)
    pictures.show_pictures([PICTURE])
    pictures.grab()
    pictures.show_pictures([replace(PICTURE)])
    pictures.grab()
    assert drawn == [35]
    pictures.show_pictures([replace(PICTURE, revision=2)])
    pictures.grab()
    assert drawn == [35, 35]


def test_pictures_that_are_no_longer_needed_disappear(pictures: PhasePictures) -> None:
    pictures.show_pictures([PICTURE, PICTURE])
    pictures.show_pictures([PICTURE])
    assert [tile.isHidden() for tile in pictures.tiles] == [False, True]
    pictures.show_pictures([])
    assert pictures.isHidden()
