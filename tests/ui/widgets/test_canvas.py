"""The canvas with real mouse events: strokes, edits, wheel and keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.domain.provenance import Provenance
from app.ui.canvas import CineCanvas
from tests.ui.widgets.conftest import (
    ALT,
    CTRL,
    HEIGHT,
    LEFT,
    MIDDLE,
    NONE,
    RIGHT,
    SHIFT,
    WIDTH,
    MouseInput,
    show,
)


def test_one_drag_is_one_edit_with_the_pixels_under_the_path(canvas: CineCanvas, mouse: MouseInput) -> None:
    states: list[bool] = []
    canvas.stroke_in_progress.connect(states.append)
    mouse.drag((30, 60), (60, 60), (100, 60))
    (edit,) = mouse.edits
    assert edit.before is None
    assert (edit.kind, edit.key) == ("brush", 7)
    assert states == [True, False]
    rows, columns = np.nonzero(edit.after == 1)
    assert abs(int(columns.min()) - 25) <= 1
    assert abs(int(columns.max()) - 104) <= 1
    assert abs(rows.mean() + 0.5 - 60) < 0.5
    assert (edit.after[60, 30:100] == 1).all()
    assert edit.after.sum() == pytest.approx(70 * 10 + math.pi * 25, rel=0.05)


def test_a_second_stroke_starts_from_the_first(canvas: CineCanvas, mouse: MouseInput) -> None:
    mouse.click(40, 40)
    canvas.set_active_structure(2)
    mouse.click(100, 80)
    first, second = mouse.edits
    assert second.before is first.after
    assert set(np.unique(second.after)) == {0, 1, 2}


def test_an_annotation_is_never_modified_in_place(canvas: CineCanvas, mouse: MouseInput) -> None:
    annotation = np.zeros((HEIGHT, WIDTH), np.uint8)
    show(canvas, annotation, None)
    mouse.drag((30, 30), (60, 60))
    assert not annotation.any()
    assert mouse.edits[0].before is annotation


def test_the_eraser_removes_pixels_and_makes_no_edit_where_there_are_none(
    canvas: CineCanvas, mouse: MouseInput
) -> None:
    canvas.set_tool("eraser")
    mouse.click(50, 50)
    assert mouse.edits == []
    show(canvas, np.ones((HEIGHT, WIDTH), np.uint8), None)
    mouse.click(50, 50)
    assert mouse.edits[0].kind == "eraser"
    assert mouse.edits[0].after[50, 50] == 0
    assert mouse.edits[0].after[10, 10] == 1


def test_drawing_behind_keeps_other_structures(canvas: CineCanvas, mouse: MouseInput) -> None:
    cavity = np.zeros((HEIGHT, WIDTH), np.uint8)
    cavity[50:70, 70:90] = 1
    show(canvas, cavity, None)
    canvas.set_active_structure(2)
    canvas.set_behind(True)
    canvas.set_tool("polygon")
    for point in ((60, 40), (100, 40), (100, 80)):
        mouse.click(*point)
    QTest.mouseDClick(mouse.viewport, LEFT, NONE, mouse.at(60, 80))
    (edit,) = mouse.edits
    assert ((edit.after == 1) == (cavity == 1)).all()
    assert edit.after[45, 65 + 10] == 2


def test_a_new_prediction_during_a_stroke_does_not_change_it(canvas: CineCanvas, mouse: MouseInput) -> None:
    mouse.press(30, 60)
    mouse.move(60, 60)
    show(canvas, None, np.ones((HEIGHT, WIDTH), np.uint8))
    mouse.move(100, 60)
    mouse.release(100, 60)
    (edit,) = mouse.edits
    assert (edit.after[60, 31:99] == 1).all()
    assert edit.after[10, 10] == 0


def test_a_correction_starts_only_from_the_predicted_structure(canvas: CineCanvas, mouse: MouseInput) -> None:
    predicted = np.zeros((HEIGHT, WIDTH), np.uint8)
    predicted[20:40, 20:40] = 1
    predicted[60:90, 20:40] = 3
    show(canvas, None, predicted)
    mouse.click(100, 80)
    (edit,) = mouse.edits
    assert edit.before is None
    assert edit.after[30, 30] == 1
    assert edit.after[80, 100] == 1
    assert not (edit.after == 3).any()
    assert dict(edit.result.states) == {1: Provenance.DRAWN}
    assert edit.result.shown[70, 30] == 3


def test_corrections_can_be_switched_off(canvas: CineCanvas, mouse: MouseInput) -> None:
    predicted = np.zeros((HEIGHT, WIDTH), np.uint8)
    predicted[20:40, 20:40] = 1
    show(canvas, None, predicted)
    canvas.set_corrections(False)
    mouse.click(100, 80)
    (edit,) = mouse.edits
    assert edit.after[30, 30] == 0


def test_a_stroke_that_changes_no_pixel_is_not_an_edit(canvas: CineCanvas, mouse: MouseInput) -> None:
    predicted = np.zeros((HEIGHT, WIDTH), np.uint8)
    predicted[20:60, 20:60] = 1
    show(canvas, None, predicted)
    mouse.drag((34, 40), (46, 40))
    canvas.set_tool("eraser")
    mouse.click(100, 100)
    assert mouse.edits == []
    assert canvas.drawn.labels is None


def test_drawing_behind_reports_that_nothing_changed(canvas: CineCanvas, mouse: MouseInput) -> None:
    reports: list[bool] = []
    canvas.drew_nothing_behind.connect(lambda: reports.append(True))
    predicted = np.zeros((HEIGHT, WIDTH), np.uint8)
    predicted[20:60, 20:60] = 3
    show(canvas, None, predicted)
    canvas.set_behind(True)
    mouse.click(40, 40)
    assert mouse.edits == []
    assert reports == [True]


def test_a_stroke_from_outside_the_frame_is_clipped(canvas: CineCanvas, mouse: MouseInput) -> None:
    mouse.drag((-10, 60), (10, 60))
    (edit,) = mouse.edits
    assert edit.after.shape == (HEIGHT, WIDTH)
    assert edit.after[60, 0] == 1
    assert (edit.after[:, 30:] == 0).all()


def test_strokes_stay_under_the_pointer_when_zoomed_panned_and_resized(
    canvas: CineCanvas, mouse: MouseInput
) -> None:
    before = mouse.at(120, 40)
    mouse.wheel(6, CTRL, at=(120, 40))
    assert (mouse.at(120, 40) - before).manhattanLength() <= 2
    mouse.drag((120, 40), (110, 50), button=MIDDLE)
    mouse.drag((110, 50), (115, 45), keys=ALT)
    canvas.resize(500, 420)
    QApplication.processEvents()
    spot = canvas.map_to_image(QPointF(200, 150))
    QTest.mouseClick(mouse.viewport, LEFT, NONE, QPoint(200, 150))
    (edit,) = mouse.edits
    rows, columns = np.nonzero(edit.after)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(spot, abs=0.6)


def test_the_pan_tool_moves_the_frame_and_draws_nothing(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("pan")
    start = mouse.at(80, 60)
    QTest.mousePress(mouse.viewport, LEFT, NONE, start)
    QTest.mouseMove(mouse.viewport, start + QPoint(40, 25))
    QTest.mouseRelease(mouse.viewport, LEFT, NONE, start + QPoint(40, 25))
    assert (mouse.at(80, 60) - start - QPoint(40, 25)).manhattanLength() <= 2
    assert mouse.edits == []


def test_the_wheel_steps_frames_and_small_touchpad_movements_add_up(
    canvas: CineCanvas, mouse: MouseInput
) -> None:
    steps: list[int] = []
    annotated: list[int] = []
    canvas.frame_step.connect(steps.append)
    canvas.annotated_step.connect(annotated.append)
    mouse.wheel(-1)
    mouse.wheel(2)
    mouse.wheel(-1, SHIFT)
    assert (steps, annotated) == ([1, -2], [1])
    for _ in range(4):
        mouse.wheel(-0.25)
    assert steps == [1, -2, 1]
    mouse.press(50, 50)
    mouse.wheel(-1)  # ignored during a stroke
    mouse.release(50, 50)
    assert steps == [1, -2, 1]


def test_a_right_drag_changes_window_and_level_and_reset_restores_them(
    canvas: CineCanvas, mouse: MouseInput
) -> None:
    seen: list[tuple[float, float]] = []
    canvas.levels_changed.connect(lambda w, c: seen.append((w, c)))
    mouse.drag((80, 60), (110, 40), button=RIGHT)
    window, level = canvas.levels()
    assert window > 255
    assert level < 127.5
    assert seen[-1] == (window, level)
    assert mouse.edits == []
    canvas.reset_view()
    assert canvas.levels() == (255.0, 127.5)


def test_the_view_is_restored_even_in_a_canvas_of_another_size(
    canvas: CineCanvas, mouse: MouseInput, qtbot: QtBot
) -> None:
    mouse.wheel(4, CTRL, at=(30, 90))
    canvas.set_levels(120.0, 90.0)
    other = CineCanvas()
    qtbot.addWidget(other)
    other.set_frame(np.zeros((HEIGHT, WIDTH), np.uint8))
    other.restore_view(canvas.view_state())
    other.resize(800, 600)
    other.show()
    qtbot.waitExposed(other)
    assert other.levels() == (120.0, 90.0)

    def middle(c: CineCanvas) -> tuple[float, float]:
        return c.map_to_image(QPointF(c.viewport().rect().center()))

    assert middle(other) == pytest.approx(middle(canvas), abs=0.5)


@pytest.mark.parametrize("state", [{}, {"scale": "big"}, {"fit": False, "centre": [1], "scale": 1}])
def test_an_invalid_view_state_is_ignored(canvas: CineCanvas, state: dict[str, Any]) -> None:
    before = canvas.view_state()
    canvas.restore_view(state)
    assert canvas.view_state() == before


def test_hover_emits_the_grey_value(canvas: CineCanvas, mouse: MouseInput) -> None:
    seen: list[object] = []
    canvas.hover.connect(seen.append)
    mouse.move(12.5, 3.5)
    assert seen[-1] == (12, 3, (3 * WIDTH + 12) % 256)
    mouse.move(-5, 3)
    assert seen[-1] is None


def test_brush_radius_steps_and_stays_in_range(canvas: CineCanvas) -> None:
    seen: list[float] = []
    canvas.brush_radius_changed.connect(seen.append)
    canvas.step_brush_radius(1)
    canvas.step_brush_radius(-1)
    assert seen[0] > 5.0
    assert seen[1] < seen[0]
    canvas.set_brush_radius(-3)
    assert canvas.brush_radius() == 0.5
    canvas.step_brush_radius(-5)
    assert canvas.brush_radius() == 0.5


def test_holding_the_peek_key_hides_the_layers(canvas: CineCanvas) -> None:
    canvas.set_peek_keys([QKeySequence("Tab")])
    show(canvas, np.ones((HEIGHT, WIDTH), np.uint8), None)

    def middle() -> tuple[int, int, int]:
        QApplication.processEvents()
        picture = canvas.grab().toImage()
        colour = picture.pixelColor(picture.width() // 2, picture.height() // 2)
        return colour.red(), colour.green(), colour.blue()

    masked = middle()
    QTest.keyPress(canvas, Qt.Key.Key_Tab)
    bare = middle()
    QTest.keyRelease(canvas, Qt.Key.Key_Tab)
    assert bare != masked
    assert len(set(bare)) == 1  # nothing but grey
    assert middle() == masked


def test_nothing_happens_without_a_cine(qtbot: QtBot) -> None:
    canvas = CineCanvas()
    qtbot.addWidget(canvas)
    canvas.set_empty_text("Open a cine")
    canvas.show()
    mouse = MouseInput(canvas)
    QTest.mouseClick(canvas.viewport(), LEFT, NONE, QPoint(50, 50))
    canvas.reset_view()
    canvas.finish_stroke()
    assert mouse.edits == []


def test_invalid_arguments_raise_errors(canvas: CineCanvas) -> None:
    with pytest.raises(ValueError, match="tool"):
        canvas.set_tool("lasso")
    with pytest.raises(ValueError, match="label image"):
        show(canvas, np.zeros((3, 3), np.uint8), None)


def test_annotations_and_predictions_differ_even_without_colour(canvas: CineCanvas) -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[30:90, 40:120] = 1
    canvas.set_frame(np.full((HEIGHT, WIDTH), 60, np.uint8))
    shots = []
    for layers in ((labels, None), (None, labels)):
        show(canvas, *layers)
        QApplication.processEvents()
        picture = canvas.grab().toImage()
        y = round(canvas.map_from_image(0, 30.5).y())
        left, right = (round(canvas.map_from_image(x, 0).x()) for x in (50, 110))
        shots.append(np.array([picture.pixelColor(x, y).lightness() for x in range(left, right)]))
    solid, dashed = shots
    assert np.ptp(solid) < 12
    assert np.ptp(dashed) > 15
