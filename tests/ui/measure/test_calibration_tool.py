"""Calibration by hand: two points by clicking or dragging, a distance, Esc."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.ui.canvas import CineCanvas
from app.ui.measure.calibration_tool import INSTRUCTION, CalibrationLine, CalibrationTool
from tests.ui.widgets.conftest import MouseInput, canvas, mouse

__all__ = ["canvas", "mouse"]

Finished = list[tuple[tuple[float, float], tuple[float, float], float]]


@pytest.fixture
def tool(canvas: CineCanvas, qtbot: object) -> CalibrationTool:
    line = CalibrationLine()
    qtbot.addWidget(line)  # type: ignore[attr-defined]
    tool = CalibrationTool(canvas, line)
    tool.start()
    return tool


def finished(tool: CalibrationTool) -> Finished:
    seen: Finished = []
    tool.finished.connect(lambda a, b, mm: seen.append((a, b, mm)))
    return seen


def test_two_clicks_and_a_distance_calibrate(tool: CalibrationTool, mouse: MouseInput) -> None:
    seen = finished(tool)
    assert tool.line.text.text() == INSTRUCTION
    assert not tool.line.set.isEnabled()
    mouse.click(20, 10)
    mouse.click(20, 110)
    assert "100 pixels" in tool.line.text.text()
    tool.line.distance.setValue(12.5)
    QTest.keyClick(tool.line.distance, Qt.Key.Key_Return)
    (first, second, distance_mm) = seen[0]
    assert first == pytest.approx((20, 10), abs=0.3)
    assert second == pytest.approx((20, 110), abs=0.3)
    assert distance_mm == pytest.approx(125.0)
    assert not tool.is_active
    assert not tool.line.isVisible()


def test_dragging_sets_both_points(tool: CalibrationTool, mouse: MouseInput) -> None:
    mouse.drag((20, 10), (20, 60), (20, 100))
    assert tool.points[1] == pytest.approx((20, 100), abs=0.3)


def test_no_distance_is_assumed(tool: CalibrationTool, mouse: MouseInput) -> None:
    seen = finished(tool)
    mouse.drag((20, 10), (20, 60), (20, 100))
    assert not tool.line.set.isEnabled()
    QTest.keyClick(tool.line.distance, Qt.Key.Key_Return)
    assert seen == []
    QTest.keyClicks(tool.line.distance, "5")
    QTest.keyClick(tool.line.distance, Qt.Key.Key_Return)
    assert [distance for _, _, distance in seen] == [50.0]


def test_millimetres_can_be_typed(tool: CalibrationTool, mouse: MouseInput) -> None:
    seen = finished(tool)
    mouse.drag((20, 10), (20, 100))
    tool.line.unit.setCurrentText("mm")
    tool.line.distance.setValue(50)
    tool.line.set.click()
    assert seen[0][2] == pytest.approx(50.0)


def test_a_point_can_be_corrected_before_the_distance_is_set(
    tool: CalibrationTool, mouse: MouseInput
) -> None:
    mouse.click(20, 10)
    mouse.click(20, 110)
    mouse.drag((20, 110), (22, 105), (22, 100))
    assert tool.points[1] == pytest.approx((22, 100), abs=0.3)
    assert tool.points[0] == pytest.approx((20, 10), abs=0.3)


def test_points_that_are_too_close_together_are_refused(tool: CalibrationTool, mouse: MouseInput) -> None:
    seen = finished(tool)
    mouse.click(20, 10)
    mouse.click(20, 16)
    assert "too close" in tool.line.text.text()
    QTest.keyClick(tool.line.distance, Qt.Key.Key_Return)
    assert seen == []
    assert tool.is_active


def test_escape_cancels_on_the_picture_and_in_the_field(
    canvas: CineCanvas, tool: CalibrationTool, mouse: MouseInput
) -> None:
    seen = finished(tool)
    mouse.click(20, 10)
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert not tool.is_active
    tool.start()
    assert tool.points == ()
    mouse.drag((20, 10), (20, 100))
    QTest.keyClick(tool.line.distance, Qt.Key.Key_Escape)
    assert not tool.is_active
    assert seen == []


def test_no_stroke_is_drawn_while_points_are_set(tool: CalibrationTool, mouse: MouseInput) -> None:
    mouse.drag((20, 10), (20, 60))  # the brush is the active tool
    assert mouse.edits == []
    tool.cancel()
    mouse.drag((20, 10), (20, 60))
    assert len(mouse.edits) == 1
