"""Landmarks over the picture: dragged with the tool 'Move', never in the way of drawing."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.ui.canvas import CineCanvas
from app.ui.measure.landmark_handles import AxisMarks, LandmarkHandles
from tests.ui.widgets.conftest import LEFT, NONE, MouseInput, canvas, mouse

__all__ = ["canvas", "mouse"]

MARKS = AxisMarks((60.0, 90.0), (90.0, 88.0), (70.0, 20.0))


@pytest.fixture
def handles(canvas: CineCanvas) -> LandmarkHandles:
    handles = LandmarkHandles(canvas)
    handles.show_marks(MARKS, 7)
    canvas.set_tool("pan")
    return handles


def moves(handles: LandmarkHandles) -> list[tuple[object, AxisMarks]]:
    seen: list[tuple[object, AxisMarks]] = []
    handles.moved.connect(lambda key, marks: seen.append((key, marks)))
    return seen


def test_a_landmark_follows_the_pointer_and_is_reported_once(
    handles: LandmarkHandles, mouse: MouseInput
) -> None:
    seen = moves(handles)
    mouse.drag((70.5, 20.5), (72.5, 24.5), (74.5, 28.5))
    assert len(seen) == 1
    key, marks = seen[0]
    assert key == 7
    assert marks.apex == pytest.approx((74.0, 28.0), abs=0.3)
    assert (marks.left, marks.right) == (MARKS.left, MARKS.right)
    assert marks.is_manual


def test_a_landmark_can_be_grabbed_beside_its_centre_and_does_not_jump(
    handles: LandmarkHandles, mouse: MouseInput
) -> None:
    seen = moves(handles)
    mouse.drag((72.5, 21.5), (82.5, 31.5))
    assert seen[0][1].apex == pytest.approx((80.0, 30.0), abs=0.3)


@pytest.mark.parametrize("tool", ["brush", "eraser", "polygon"])
def test_drawing_tools_draw_over_the_landmarks(
    canvas: CineCanvas, handles: LandmarkHandles, mouse: MouseInput, tool: str
) -> None:
    seen = moves(handles)
    canvas.set_tool(tool)
    mouse.drag((70.5, 20.5), (90.5, 60.5), (60.5, 60.5), (70.5, 20.5))
    assert seen == []
    assert handles.marks == MARKS


def test_the_picture_still_moves_beside_the_landmarks(
    canvas: CineCanvas, handles: LandmarkHandles, mouse: MouseInput
) -> None:
    seen = moves(handles)
    before = canvas.view_state()["centre"]
    mouse.drag((120, 50), (110, 40))
    assert canvas.view_state()["centre"] != before
    assert seen == []


def test_escape_returns_a_landmark(canvas: CineCanvas, handles: LandmarkHandles, mouse: MouseInput) -> None:
    seen = moves(handles)
    mouse.press(70.5, 20.5)
    mouse.move(80, 40)
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    mouse.release(80, 40)
    assert seen == []
    assert handles.marks == MARKS


def test_a_double_click_asks_for_a_reset(handles: LandmarkHandles, mouse: MouseInput) -> None:
    seen: list[object] = []
    handles.reset_wanted.connect(seen.append)
    QTest.mouseDClick(mouse.viewport, LEFT, NONE, mouse.at(60.5, 90.5))
    assert seen == [7]


def test_a_landmark_stays_on_the_picture_and_hinge_points_stay_in_order(
    handles: LandmarkHandles, mouse: MouseInput
) -> None:
    seen = moves(handles)
    mouse.drag((60.5, 90.5), (100.5, 300))
    marks = seen[0][1]
    assert marks.left == MARKS.right
    assert marks.right == pytest.approx((100.0, 119.0), abs=0.5)


def test_new_masks_do_not_move_a_landmark_out_of_the_hand(
    handles: LandmarkHandles, mouse: MouseInput
) -> None:
    seen = moves(handles)
    mouse.press(70.5, 20.5)
    mouse.move(74.5, 28.5)
    handles.show_marks(AxisMarks((61.0, 90.0), (91.0, 88.0), (71.0, 21.0)), 7)
    mouse.release(74.5, 28.5)
    assert seen[0][1].apex == pytest.approx((74.0, 28.0), abs=0.3)


def test_nothing_can_be_grabbed_without_landmarks(handles: LandmarkHandles, mouse: MouseInput) -> None:
    seen = moves(handles)
    handles.show_marks(None, 8)
    mouse.drag((70.5, 20.5), (74.5, 28.5))
    assert seen == []
