"""The outline tool of the canvas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.ui.canvas import CineCanvas
from tests.ui.widgets.conftest import (
    HEIGHT,
    LEFT,
    NONE,
    WIDTH,
    MouseInput,
)


def test_an_outline_closes_near_its_start_and_is_filled(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("polygon")
    for point in ((40, 30), (100, 30), (100, 90), (40, 90)):
        mouse.click(*point)
        assert mouse.edits == []
    mouse.click(40.5, 30.5)
    (edit,) = mouse.edits
    assert edit.kind == "polygon"
    assert edit.after.sum() == pytest.approx(60 * 60, rel=0.03)
    assert canvas.unfinished_outline() is None


@pytest.mark.parametrize("how", ["enter", "double click", "finish_outline"])
def test_an_outline_is_filled_however_it_is_finished(canvas: CineCanvas, mouse: MouseInput, how: str) -> None:
    canvas.set_tool("polygon")
    for point in ((40, 30), (100, 30), (100, 90)):
        mouse.click(*point)
    if how == "enter":
        QTest.keyClick(canvas, Qt.Key.Key_Return)
    elif how == "double click":
        mouse.click(40, 90)
        QTest.mouseDClick(mouse.viewport, LEFT, NONE, mouse.at(40, 90))
    else:
        canvas.finish_outline()
    (edit,) = mouse.edits
    assert edit.key == 7
    assert edit.after[40, 90] == 1


def begin_outline(canvas: CineCanvas, mouse: MouseInput) -> None:
    """Place three corners of an outline without closing it."""
    canvas.set_tool("polygon")
    for point in ((40, 30), (100, 30), (100, 90)):
        mouse.click(*point)


@pytest.mark.parametrize("what", ["finish_stroke", "other tool", "other frame", "other structure", "wheel"])
def test_an_unfinished_outline_is_kept(canvas: CineCanvas, mouse: MouseInput, what: str) -> None:
    begin_outline(canvas, mouse)
    if what == "finish_stroke":
        canvas.finish_stroke()
    elif what == "other tool":
        canvas.set_tool("brush")
    elif what == "other frame":
        canvas.set_frame(np.zeros((HEIGHT, WIDTH), np.uint8), 8)
    elif what == "other structure":
        canvas.set_active_structure(2)
    else:
        mouse.wheel(1)
    assert mouse.edits == []
    assert canvas.unfinished_outline() == 7
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    (edit,) = mouse.edits
    assert edit.key == 7
    assert edit.after[40, 90] == 1  # even if another structure was selected meanwhile


def test_an_outline_of_two_corners_is_discarded_by_another_tool(
    canvas: CineCanvas, mouse: MouseInput
) -> None:
    canvas.set_tool("polygon")
    mouse.click(40, 30)
    mouse.click(100, 30)
    canvas.set_tool("brush")
    mouse.click(20, 100)
    (edit,) = mouse.edits
    assert edit.kind == "brush"
    assert canvas.unfinished_outline() is None


def test_enter_on_another_cine_does_not_fill_an_outline(canvas: CineCanvas, mouse: MouseInput) -> None:
    blocking: list[object] = []
    canvas.blocked_by_outline.connect(blocking.append)
    begin_outline(canvas, mouse)
    canvas.set_frame(np.zeros((HEIGHT, WIDTH), np.uint8), 3, group="another cine")
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert mouse.edits == []
    assert blocking == [7]


def test_an_unfinished_outline_is_opaque_on_its_frame_and_faint_on_others(
    canvas: CineCanvas, mouse: MouseInput
) -> None:
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    canvas.set_frame(frame, 7, group="a")
    begin_outline(canvas, mouse)
    line = canvas.marks.line
    assert (line.isVisible(), line.opacity()) == (True, 1.0)
    canvas.set_frame(frame, 8, group="a")
    assert line.isVisible()
    assert line.opacity() < 0.6
    canvas.set_frame(frame, 1, group="another cine")
    assert not line.isVisible()
    canvas.set_frame(frame, 7, group="a")
    assert (line.isVisible(), line.opacity()) == (True, 1.0)
    mouse.click(40, 90)
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert mouse.edits[0].after.sum() == pytest.approx(60 * 60, rel=0.05)


@pytest.mark.parametrize("where", ["other frame", "other tool"])
def test_nothing_else_is_drawn_while_an_outline_is_unfinished(
    canvas: CineCanvas, mouse: MouseInput, where: str
) -> None:
    blocking: list[object] = []
    canvas.blocked_by_outline.connect(blocking.append)
    begin_outline(canvas, mouse)
    if where == "other frame":
        canvas.set_frame(np.zeros((HEIGHT, WIDTH), np.uint8), 8)
    else:
        canvas.set_tool("brush")
    mouse.drag((20, 100), (60, 100))
    assert mouse.edits == []
    assert blocking == [7]
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    mouse.click(20, 100)
    assert canvas.unfinished_outline() in (None, 8)


def test_a_long_freehand_outline_closes_by_itself(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("polygon")
    ring = [(80 + 30 * math.cos(t), 60 + 30 * math.sin(t)) for t in np.linspace(0, 5.8, 40)]
    mouse.drag(*ring)
    (edit,) = mouse.edits
    assert edit.after.sum() == pytest.approx(math.pi * 900, rel=0.05)


def test_backspace_removes_the_last_corner(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("polygon")
    for point in ((40, 30), (100, 30), (100, 90), (150, 110)):
        mouse.click(*point)
    QTest.keyClick(canvas, Qt.Key.Key_Backspace)
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert mouse.edits[0].after.sum() == pytest.approx(60 * 60 / 2, rel=0.05)
    mouse.click(20, 20)
    QTest.keyClick(canvas, Qt.Key.Key_Backspace)
    assert canvas.unfinished_outline() is None
    assert len(mouse.edits) == 1


@pytest.mark.parametrize("tool", ["brush", "polygon"])
def test_escape_discards_an_unfinished_stroke(canvas: CineCanvas, mouse: MouseInput, tool: str) -> None:
    canvas.set_tool(tool)
    if tool == "brush":
        mouse.press(40, 30)
        mouse.move(90, 80)
    else:
        for point in ((40, 30), (100, 30), (100, 90)):
            mouse.click(*point)
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    mouse.move(95, 80)
    mouse.release(95, 80)
    canvas.finish_stroke()
    assert mouse.edits == []
    mouse.click(20, 20)
    canvas.cancel_stroke()
    assert all(e.after[55, 65] == 0 for e in mouse.edits)


def test_two_corners_are_not_an_outline(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("polygon")
    mouse.click(40, 30)
    mouse.click(100, 30)
    canvas.finish_outline()
    assert mouse.edits == []
    assert canvas.unfinished_outline() is None
