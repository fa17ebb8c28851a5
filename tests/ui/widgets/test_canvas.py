"""The canvas with real mouse events: strokes, edits, wheel and keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QKeySequence, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.domain.cine import Frame
from app.domain.labels import LEFT_HEART
from app.domain.provenance import Provenance, derived_states
from app.domain.shown_mask import FrameMasks
from app.ui.canvas import CineCanvas
from app.workspace.gestures import FinishedStroke

LEFT, MIDDLE, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton, Qt.MouseButton.RightButton
NONE, CTRL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier
SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
HEIGHT, WIDTH = 120, 160


@pytest.fixture
def canvas(qtbot: QtBot) -> CineCanvas:
    canvas = CineCanvas()
    canvas.set_label_set(LEFT_HEART)
    qtbot.addWidget(canvas)
    canvas.resize(700, 500)
    canvas.show()
    qtbot.waitExposed(canvas)
    canvas.set_frame(np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH).astype(np.uint8), 7)
    canvas.set_brush_radius(5.0)
    canvas.set_tool("brush")
    return canvas


def show(canvas: CineCanvas, annotation: Frame | None, prediction: Frame | None = None) -> None:
    """Show masks on the current frame, as drawn by hand and as predicted."""
    states = {} if annotation is None else derived_states(None, {}, annotation, "brush")
    size = next((m.shape for m in (annotation, prediction) if m is not None), (HEIGHT, WIDTH))
    canvas.set_masks(FrameMasks((size[0], size[1]), annotation, states, prediction, LEFT_HEART.walls))


class MouseInput:
    """Moves the mouse in image pixels."""

    def __init__(self, canvas: CineCanvas) -> None:
        self.canvas, self.viewport = canvas, canvas.viewport()
        self.edits: list[FinishedStroke] = []
        canvas.edited.connect(self.edits.append)

    def at(self, x: float, y: float) -> QPoint:
        return self.canvas.map_from_image(x, y).toPoint()

    def press(self, x: float, y: float, button: Qt.MouseButton = LEFT, keys: Any = NONE) -> None:
        QTest.mousePress(self.viewport, button, keys, self.at(x, y))

    def move(self, x: float, y: float) -> None:
        QTest.mouseMove(self.viewport, self.at(x, y))
        QApplication.processEvents()

    def release(self, x: float, y: float, button: Qt.MouseButton = LEFT) -> None:
        QTest.mouseRelease(self.viewport, button, NONE, self.at(x, y))

    def click(self, x: float, y: float) -> None:
        self.press(x, y)
        self.release(x, y)

    def drag(self, *points: tuple[float, float], button: Qt.MouseButton = LEFT, keys: Any = NONE) -> None:
        self.press(*points[0], button, keys)
        for point in points[1:]:
            self.move(*point)
        self.release(*points[-1], button)

    def wheel(self, notches: float, keys: Any = NONE, at: tuple[float, float] = (80, 60)) -> None:
        position = QPointF(self.at(*at))
        event = QWheelEvent(
            position,
            self.viewport.mapToGlobal(position),
            QPoint(),
            QPoint(0, round(notches * 120)),
            Qt.MouseButton.NoButton,
            keys,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(self.viewport, event)


@pytest.fixture
def mouse(canvas: CineCanvas) -> MouseInput:
    return MouseInput(canvas)


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
    canvas.set_active_class(2)
    mouse.click(100, 80)
    first, second = mouse.edits
    assert second.before is first.after
    assert set(np.unique(second.after)) == {0, 1, 2}


def test_an_annotation_is_never_modified_in_place(canvas: CineCanvas, mouse: MouseInput) -> None:
    mine = np.zeros((HEIGHT, WIDTH), np.uint8)
    show(canvas, mine, None)
    mouse.drag((30, 30), (60, 60))
    assert not mine.any()
    assert mouse.edits[0].before is mine


def test_eraser_removes_and_a_stroke_that_changes_nothing_is_no_edit(
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


def test_drawing_behind_spares_other_classes(canvas: CineCanvas, mouse: MouseInput) -> None:
    cavity = np.zeros((HEIGHT, WIDTH), np.uint8)
    cavity[50:70, 70:90] = 1
    show(canvas, cavity, None)
    canvas.set_active_class(2)
    canvas.set_behind(True)
    canvas.set_tool("polygon")
    for point in ((60, 40), (100, 40), (100, 80)):
        mouse.click(*point)
    QTest.mouseDClick(mouse.viewport, LEFT, NONE, mouse.at(60, 80))
    (edit,) = mouse.edits
    assert ((edit.after == 1) == (cavity == 1)).all()
    assert edit.after[45, 65 + 10] == 2


def test_polygon_closes_near_its_start_and_fills(canvas: CineCanvas, mouse: MouseInput) -> None:
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
def test_polygon_is_filled_however_it_is_finished(canvas: CineCanvas, mouse: MouseInput, how: str) -> None:
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


def half_an_outline(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("polygon")
    for point in ((40, 30), (100, 30), (100, 90)):
        mouse.click(*point)


@pytest.mark.parametrize("what", ["finish_stroke", "other tool", "other frame", "other structure", "wheel"])
def test_an_unfinished_outline_waits(canvas: CineCanvas, mouse: MouseInput, what: str) -> None:
    half_an_outline(canvas, mouse)
    if what == "finish_stroke":
        canvas.finish_stroke()
    elif what == "other tool":
        canvas.set_tool("brush")
    elif what == "other frame":
        canvas.set_frame(np.zeros((HEIGHT, WIDTH), np.uint8), 8)
    elif what == "other structure":
        canvas.set_active_class(2)
    else:
        mouse.wheel(1)
    assert mouse.edits == []
    assert canvas.unfinished_outline() == 7
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    (edit,) = mouse.edits
    assert edit.key == 7
    assert edit.after[40, 90] == 1  # also where another structure was chosen meanwhile


def test_an_outline_of_two_corners_gives_way(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("polygon")
    mouse.click(40, 30)
    mouse.click(100, 30)
    canvas.set_tool("brush")
    mouse.click(20, 100)
    (edit,) = mouse.edits
    assert edit.kind == "brush"
    assert canvas.unfinished_outline() is None


def test_enter_on_another_cine_does_not_fill_an_outline(canvas: CineCanvas, mouse: MouseInput) -> None:
    told: list[object] = []
    canvas.outline_waits.connect(told.append)
    half_an_outline(canvas, mouse)
    canvas.set_frame(np.zeros((HEIGHT, WIDTH), np.uint8), 3, group="another cine")
    QTest.keyClick(canvas, Qt.Key.Key_Return)
    assert mouse.edits == []
    assert told == [7]


def test_an_unfinished_outline_is_seen_on_its_frame_and_faintly_on_others(
    canvas: CineCanvas, mouse: MouseInput
) -> None:
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    canvas.set_frame(frame, 7, group="a")
    half_an_outline(canvas, mouse)
    line = canvas._marks._line
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
def test_nothing_else_is_drawn_while_an_outline_waits(
    canvas: CineCanvas, mouse: MouseInput, where: str
) -> None:
    told: list[object] = []
    canvas.outline_waits.connect(told.append)
    half_an_outline(canvas, mouse)
    if where == "other frame":
        canvas.set_frame(np.zeros((HEIGHT, WIDTH), np.uint8), 8)
    else:
        canvas.set_tool("brush")
    mouse.drag((20, 100), (60, 100))
    assert mouse.edits == []
    assert told == [7]
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    mouse.click(20, 100)
    assert canvas.unfinished_outline() in (None, 8)


def test_a_long_freehand_trace_closes_itself(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("polygon")
    ring = [(80 + 30 * math.cos(t), 60 + 30 * math.sin(t)) for t in np.linspace(0, 5.8, 40)]
    mouse.drag(*ring)
    (edit,) = mouse.edits
    assert edit.after.sum() == pytest.approx(math.pi * 900, rel=0.05)


def test_backspace_takes_the_last_corner_back(canvas: CineCanvas, mouse: MouseInput) -> None:
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


def test_two_corners_are_no_outline(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("polygon")
    mouse.click(40, 30)
    mouse.click(100, 30)
    canvas.finish_outline()
    assert mouse.edits == []
    assert canvas.unfinished_outline() is None


def test_a_new_prediction_in_mid_stroke_does_not_disturb_it(canvas: CineCanvas, mouse: MouseInput) -> None:
    mouse.press(30, 60)
    mouse.move(60, 60)
    show(canvas, None, np.ones((HEIGHT, WIDTH), np.uint8))
    mouse.move(100, 60)
    mouse.release(100, 60)
    (edit,) = mouse.edits
    assert (edit.after[60, 31:99] == 1).all()
    assert edit.after[10, 10] == 0


def test_a_correction_starts_from_the_predicted_structure_alone(
    canvas: CineCanvas, mouse: MouseInput
) -> None:
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


def test_corrections_can_be_off(canvas: CineCanvas, mouse: MouseInput) -> None:
    predicted = np.zeros((HEIGHT, WIDTH), np.uint8)
    predicted[20:40, 20:40] = 1
    show(canvas, None, predicted)
    canvas.set_corrections(False)
    mouse.click(100, 80)
    (edit,) = mouse.edits
    assert edit.after[30, 30] == 0


def test_a_stroke_that_changes_no_pixel_is_no_edit(canvas: CineCanvas, mouse: MouseInput) -> None:
    predicted = np.zeros((HEIGHT, WIDTH), np.uint8)
    predicted[20:60, 20:60] = 1
    show(canvas, None, predicted)
    mouse.drag((34, 40), (46, 40))
    canvas.set_tool("eraser")
    mouse.click(100, 100)
    assert mouse.edits == []
    assert canvas.drawn.labels is None


def test_drawing_behind_reports_that_nothing_changed(canvas: CineCanvas, mouse: MouseInput) -> None:
    said: list[bool] = []
    canvas.nothing_behind.connect(lambda: said.append(True))
    predicted = np.zeros((HEIGHT, WIDTH), np.uint8)
    predicted[20:60, 20:60] = 3
    show(canvas, None, predicted)
    canvas.set_behind(True)
    mouse.click(40, 40)
    assert mouse.edits == []
    assert said == [True]


def test_a_stroke_from_outside_the_picture_is_clipped(canvas: CineCanvas, mouse: MouseInput) -> None:
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


def test_the_pan_tool_moves_and_draws_nothing(canvas: CineCanvas, mouse: MouseInput) -> None:
    canvas.set_tool("pan")
    start = mouse.at(80, 60)
    QTest.mousePress(mouse.viewport, LEFT, NONE, start)
    QTest.mouseMove(mouse.viewport, start + QPoint(40, 25))
    QTest.mouseRelease(mouse.viewport, LEFT, NONE, start + QPoint(40, 25))
    assert (mouse.at(80, 60) - start - QPoint(40, 25)).manhattanLength() <= 2
    assert mouse.edits == []


def test_wheel_steps_frames_and_touchpads_add_up(canvas: CineCanvas, mouse: MouseInput) -> None:
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
    mouse.wheel(-1)  # not with the brush on the picture
    mouse.release(50, 50)
    assert steps == [1, -2, 1]


def test_right_drag_changes_window_and_level_and_reset_undoes_it(
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


def test_view_comes_back_also_in_a_window_of_another_size(
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
def test_a_broken_view_state_is_ignored(canvas: CineCanvas, state: dict[str, Any]) -> None:
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


def test_human_and_prediction_differ_without_colour(canvas: CineCanvas) -> None:
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
