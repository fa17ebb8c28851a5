"""The volume curve: the same time axis as the timeline, flags that can be dragged, missing values."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.domain.facts import Phase
from app.ui.timeline import Timeline
from app.ui.volume_curve import Curve, Flag, VolumeCurve

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
ED, ES = Flag(Phase.ED, 20), Flag(Phase.ES, 34, is_manual=True)
LINE_Y = 70
"""A row of the plot, below the labels of the flags."""


def beating(n: int = 60) -> Curve:
    values = 80.0 + 30.0 * np.cos(np.linspace(0, 4 * np.pi, n))
    return Curve(values, "LV volume", "ml", beats=((20, 48),), r_waves=(20.4,), flags=(ED, ES))


@pytest.fixture
def curve(qtbot: QtBot) -> VolumeCurve:
    curve = VolumeCurve()
    qtbot.addWidget(curve)
    curve.resize(813, curve.sizeHint().height())
    curve.set_curve(beating())
    return curve


def x_of(curve: VolumeCurve, frame: float) -> int:
    return round(curve.axis().x_of(frame))


@pytest.mark.parametrize(("n", "width"), [(1, 300), (60, 813), (700, 641)])
def test_frames_lie_exactly_above_those_of_the_timeline(qtbot: QtBot, n: int, width: int) -> None:
    curve, timeline = VolumeCurve(), Timeline()
    for widget in (curve, timeline):
        qtbot.addWidget(widget)
        widget.resize(width, 100)
    curve.set_curve(Curve(np.ones(n), "LV volume", "ml"))
    timeline.set_cine(n, np.arange(n, dtype=np.float64) * 20.0)
    assert [curve.axis().x_of(i) for i in range(n)] == [timeline.x_of(i) for i in range(n)]


def test_pressing_beside_the_flags_goes_to_the_frame(curve: VolumeCurve) -> None:
    seen: list[int] = []
    curve.seek.connect(seen.append)
    QTest.mouseClick(curve, LEFT, NONE, QPoint(x_of(curve, 5), LINE_Y))
    assert seen == [5]


@pytest.mark.parametrize("y", [LINE_Y, 22])
def test_a_flag_is_dragged_by_its_label_or_its_line(curve: VolumeCurve, y: int) -> None:
    seen: list[int] = []
    moved: list[tuple[Flag, int]] = []
    curve.seek.connect(seen.append)
    curve.flag_moved.connect(lambda flag, frame: moved.append((flag, frame)))
    QTest.mousePress(curve, LEFT, NONE, QPoint(x_of(curve, 34), y))
    QTest.mouseMove(curve, QPoint(x_of(curve, 36), y))
    QTest.mouseMove(curve, QPoint(x_of(curve, 38), y))
    assert moved == []  # the mark moves once, when the button is released
    QTest.mouseRelease(curve, LEFT, NONE, QPoint(x_of(curve, 38), y))
    assert moved == [(ES, 38)]
    assert seen == [34, 36, 38]  # the picture follows


def test_escape_returns_a_dragged_flag(curve: VolumeCurve) -> None:
    moved: list[object] = []
    curve.flag_moved.connect(lambda *change: moved.append(change))
    curve.show()
    QTest.mousePress(curve, LEFT, NONE, QPoint(x_of(curve, 20), LINE_Y))
    QTest.mouseMove(curve, QPoint(x_of(curve, 30), LINE_Y))
    QTest.keyClick(curve, Qt.Key.Key_Escape)
    QTest.mouseRelease(curve, LEFT, NONE, QPoint(x_of(curve, 30), LINE_Y))
    assert moved == []


def test_a_flag_that_is_put_back_does_not_move(curve: VolumeCurve) -> None:
    moved: list[object] = []
    curve.flag_moved.connect(lambda *change: moved.append(change))
    QTest.mouseClick(curve, LEFT, NONE, QPoint(x_of(curve, 20), LINE_Y))
    assert moved == []


def test_the_curve_is_hidden_without_values(curve: VolumeCurve) -> None:
    curve.show()
    assert curve.isVisible()
    curve.set_curve(Curve(np.full(60, np.nan), "LV volume", "ml"))
    assert not curve.isVisible()
    assert curve.curve is None
    curve.set_curve(beating())
    assert curve.isVisible()
    curve.set_curve(None)
    assert not curve.isVisible()


def test_tooltips_name_value_and_origin_of_a_mark(curve: VolumeCurve) -> None:
    assert curve.describe(0) == "frame 0 · LV volume 110 ml"
    assert "ED, proposed" in curve.describe(20)
    assert "ES, marked by hand" in curve.describe(34)


def test_unknown_values_leave_a_gap(curve: VolumeCurve) -> None:
    values = beating().values.copy()
    values[10:50] = np.nan
    curve.set_curve(Curve(values, "LV area", "cm²"))
    curve.show()
    picture = curve.grab().toImage()
    blue = [
        (x, y)
        for x in range(x_of(curve, 15), x_of(curve, 45))
        for y in range(picture.height())
        if picture.pixelColor(x, y).blue() > 180 and picture.pixelColor(x, y).red() < 60
    ]
    assert blue == []
    assert curve.describe(20) == "frame 20 · not measured"


def test_the_cursor_shows_that_a_flag_can_be_dragged(curve: VolumeCurve) -> None:
    curve.show()
    QTest.mouseMove(curve, QPointF(x_of(curve, 20), LINE_Y).toPoint())
    assert curve.cursor().shape() == Qt.CursorShape.SizeHorCursor
    QTest.mouseMove(curve, QPoint(x_of(curve, 5), LINE_Y))
    assert curve.cursor().shape() == Qt.CursorShape.ArrowCursor
