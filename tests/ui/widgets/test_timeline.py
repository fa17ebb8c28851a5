"""Timeline: clicks, tooltips and painting."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.ui.timeline import Timeline


def frame_times(n: int, step_ms: float) -> NDArray[np.float64]:
    return np.arange(n, dtype=np.float64) * step_ms


@pytest.fixture
def timeline(qtbot: QtBot) -> Timeline:
    timeline = Timeline()
    qtbot.addWidget(timeline)
    timeline.resize(800, timeline.sizeHint().height())
    timeline.show()
    return timeline


@pytest.mark.parametrize("n", [1, 2, 75, 700])
def test_a_click_on_a_frame_seeks_that_frame(timeline: Timeline, n: int) -> None:
    timeline.set_cine(n, frame_times(n, 20.0))
    seen: list[int] = []
    timeline.seek.connect(seen.append)
    wanted = sorted({0, n // 3, n - 1})
    for index in wanted:
        position = QPoint(round(timeline.x_of(index)), 30)
        QTest.mouseClick(timeline, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, position)
    assert seen == wanted


def test_dragging_seeks_continuously_and_stops_at_the_ends(timeline: Timeline) -> None:
    timeline.set_cine(50, frame_times(50, 20.0))
    seen: list[int] = []
    timeline.seek.connect(seen.append)
    timeline.seek.connect(timeline.set_current)
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mousePress(timeline, left, none, QPoint(round(timeline.x_of(10)), 30))
    QTest.mouseMove(timeline, QPoint(round(timeline.x_of(20)), 30))
    QTest.mouseMove(timeline, QPoint(5000, 30))
    QTest.mouseRelease(timeline, left, none, QPoint(799, 30))
    QTest.mouseMove(timeline, QPoint(100, 30))
    assert seen == [10, 20, 49]


def test_every_position_maps_to_a_frame_and_back(timeline: Timeline) -> None:
    timeline.set_cine(2000, frame_times(2000, 16.7))
    assert [timeline.frame_at(timeline.x_of(i)) for i in range(2000)] == list(range(2000))
    assert timeline.frame_at(-100) == 0
    assert timeline.frame_at(1e6) == 1999


def test_the_tooltip_names_frame_time_and_state(timeline: Timeline) -> None:
    timeline.set_cine(75, frame_times(75, 20.0))
    timeline.set_annotated([12])
    timeline.set_predictions({12: 0.9, 13: 0.5, 14: 0.4}, outdated=[14])
    assert timeline.describe(12).startswith("frame 12 · 0.240 s · drawn")
    assert timeline.describe(13) == "frame 13 · 0.260 s · predicted, expected Dice 0.50"
    assert "outdated prediction" in timeline.describe(14)
    assert timeline.describe(15) == "frame 15 · 0.300 s"


def colours(timeline: Timeline) -> set[int]:
    picture = timeline.grab().toImage()
    return {picture.pixel(x, y) for x in range(picture.width()) for y in range(0, picture.height(), 3)}


@pytest.mark.parametrize("n", [0, 1, 2, 30, 2000])
def test_cines_of_any_length_are_painted_with_visible_marks(timeline: Timeline, n: int) -> None:
    timeline.set_cine(n, frame_times(n, 33.3))
    bare = colours(timeline)
    if n == 0:
        return
    timeline.set_predictions({i: i / n for i in range(n)} | {0: float("nan")})
    timeline.set_annotated([n // 2])
    timeline.set_decoded(1.0)
    timeline.set_decoded(range(n))
    timeline.set_suggested(n - 1)
    timeline.set_current(n - 1)
    assert len(colours(timeline) - bare) > 0


def test_frames_with_equal_times_are_painted(timeline: Timeline) -> None:
    timeline.set_cine(3, [5.0, 5.0, 5.0])
    timeline.grab()


def test_times_must_match_the_frames(timeline: Timeline) -> None:
    with pytest.raises(ValueError, match="times"):
        timeline.set_cine(3, [0.0, 20.0])


def test_a_click_without_a_cine_seeks_nothing(timeline: Timeline) -> None:
    seen: list[int] = []
    timeline.seek.connect(seen.append)
    QTest.mouseClick(timeline, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(300, 30))
    assert seen == []
