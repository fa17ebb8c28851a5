"""Measuring in the window: from predictions to numbers, marks, landmarks, undo, clipboard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel

from app.domain.facts import Phase
from app.domain.views import FactSource, View
from tests.hearts import ED_FRAMES, ES_FRAME, beating, calibrated_cine
from tests.ui.conftest import WindowDriver
from tests.ui.user_input import LEFT, NONE
from vjepa_core.service.messages import Progress, Stage

LINE_Y = 70
"""A row of the plot below the labels of the flags."""


@pytest.fixture
def heart_driver(empty_driver: WindowDriver, tmp_path: Path) -> WindowDriver:
    """A window with a cine of a beating heart, predicted on all frames, with the tool 'Move'."""
    empty_driver.window.results.setCurrentWidget(empty_driver.window.measure)
    empty_driver.window.resize(1100, 700)
    empty_driver.open(calibrated_cine(tmp_path / "heart.dcm"), cines=1)
    empty_driver.window.tools.choose_tool("pan")
    empty_driver.predict(beating())
    empty_driver.emit(Progress(empty_driver.opened.id, 0, Stage.DRAFT, 0, 0))
    wait_for_numbers(empty_driver)
    return empty_driver


def wait_for_numbers(driver: WindowDriver) -> None:
    panel = driver.window.measure
    driver.qtbot.waitUntil(
        lambda: panel.contents.headline is not None and not panel.contents.is_updating, timeout=20_000
    )
    driver.qtbot.wait(30)


def text(label: QLabel) -> str:
    return re.sub("<[^>]+>", "", label.text()).replace("\N{NO-BREAK SPACE}", " ")


def value_of(driver: WindowDriver, label: str) -> str:
    return next(value for name, value, _ in driver.window.measure.rows.texts() if name == label)


def marks(driver: WindowDriver) -> dict[int, Phase]:
    return {frame: mark.phase for frame, mark in driver.opened.recorder.layer.phases.items()}


def flag_frames(driver: WindowDriver) -> list[tuple[Phase, int, bool]]:
    curve = driver.window.player_bar.curve.curve
    assert curve is not None
    return [(flag.phase, flag.frame, flag.is_manual) for flag in curve.flags]


def drag_flag(driver: WindowDriver, start: int, stop: int) -> None:
    curve = driver.window.player_bar.curve
    at = [QPoint(round(curve.axis().x_of(frame)), LINE_Y) for frame in (start, (start + stop) // 2, stop)]
    QTest.mousePress(curve, LEFT, NONE, at[0])
    for point in at[1:]:
        QTest.mouseMove(curve, point)
    QTest.mouseRelease(curve, LEFT, NONE, at[-1])
    driver.qtbot.wait(50)
    wait_for_numbers(driver)


def test_without_a_cine_the_panel_says_so(empty_driver: WindowDriver) -> None:
    panel = empty_driver.window.measure
    assert "Open a cine" in text(panel.missing)
    assert not empty_driver.window.player_bar.curve.isVisible()


def test_without_masks_the_panel_says_what_is_missing(driver: WindowDriver) -> None:
    assert "No masks yet" in text(driver.window.measure.missing)
    assert not driver.window.player_bar.curve.isVisible()
    assert driver.window.measure.pictures.tiles == []


def test_predictions_give_numbers_pictures_and_a_curve(heart_driver: WindowDriver) -> None:
    window = heart_driver.window
    assert window.measure.headline_value.text().endswith("%")
    assert value_of(heart_driver, "EDV").endswith("ml")
    assert "draft" in window.measure.headline_detail.text()
    assert window.player_bar.curve.isVisible()
    assert (Phase.ES, ES_FRAME, False) in flag_frames(heart_driver)
    titles = [tile.picture.title for tile in window.measure.pictures.tiles if tile.picture is not None]
    assert any(str(ES_FRAME) in title for title in titles)
    assert "Research use only" in window.measure.notice.text()


def test_a_click_on_a_picture_goes_to_its_frame(heart_driver: WindowDriver) -> None:
    tile = heart_driver.window.measure.pictures.tiles[1]
    assert tile.picture is not None
    QTest.mouseClick(tile, Qt.MouseButton.LeftButton)
    assert heart_driver.opened.frame == tile.picture.frame == ES_FRAME


def test_dragging_a_flag_marks_the_frame_and_undo_takes_it_back(heart_driver: WindowDriver) -> None:
    before = heart_driver.window.measure.headline_value.text()
    drag_flag(heart_driver, ES_FRAME, ES_FRAME - 3)
    assert marks(heart_driver)[ES_FRAME - 3] is Phase.ES
    assert (Phase.ES, ES_FRAME - 3, True) in flag_frames(heart_driver)
    assert heart_driver.opened.frame == ES_FRAME - 3
    assert heart_driver.window.measure.headline_value.text() != before
    drag_flag(heart_driver, ES_FRAME - 3, ES_FRAME - 2)
    assert [frame for frame, phase in marks(heart_driver).items() if phase is Phase.ES] == [ES_FRAME - 2]
    heart_driver.user.keys("Ctrl+Z")
    assert [frame for frame, phase in marks(heart_driver).items() if phase is Phase.ES] == [ES_FRAME - 3]
    heart_driver.user.keys("Ctrl+Z")
    assert marks(heart_driver) == {}


def test_keys_mark_the_visible_frame(heart_driver: WindowDriver) -> None:
    heart_driver.user.go_to(12)
    heart_driver.user.keys("Shift+D")
    heart_driver.user.go_to(22)
    heart_driver.user.keys("Shift+S")
    assert marks(heart_driver) == {12: Phase.ED, 22: Phase.ES}
    heart_driver.user.keys("Shift+Del")
    assert marks(heart_driver) == {12: Phase.ED}
    heart_driver.user.keys("Ctrl+Z")
    assert marks(heart_driver) == {12: Phase.ED, 22: Phase.ES}


def test_a_landmark_is_dragged_on_the_picture_and_reset(heart_driver: WindowDriver) -> None:
    window = heart_driver.window
    heart_driver.user.go_to(ES_FRAME)
    before = window.measure.headline_value.text()
    shown = window.handles.marks
    assert shown is not None
    x, y = shown.apex
    heart_driver.user.drag([(x + 0.5, y + 0.5), (x + 2, y + 4), (x + 2, y + 10)])
    wait_for_numbers(heart_driver)
    stored = heart_driver.opened.recorder.layer.landmarks[ES_FRAME]
    assert stored.source is FactSource.MANUAL
    assert stored.apex[1] == pytest.approx(y + 9.5, abs=0.6)
    assert window.measure.headline_value.text() != before
    assert "set by hand" in text(window.measure.facts)
    window.measure.facts.linkActivated.emit("reset_landmarks")
    wait_for_numbers(heart_driver)
    assert heart_driver.opened.recorder.layer.landmarks == {}
    assert window.measure.headline_value.text() == before


def test_no_axis_is_shown_on_other_frames(heart_driver: WindowDriver) -> None:
    heart_driver.user.go_to(ES_FRAME)
    assert heart_driver.window.handles.marks is not None
    heart_driver.user.keys("Right")
    assert heart_driver.window.handles.marks is None


def test_the_view_is_set_from_the_menu_and_undone(heart_driver: WindowDriver) -> None:
    menu = heart_driver.window.measuring.view_menu
    menu.aboutToShow.emit()
    action = next(action for action in menu.actions() if action.text() == "A2C")
    action.trigger()
    view = heart_driver.opened.recorder.layer.view
    assert view is not None
    assert (view.view, view.source) == (View.A2C, FactSource.MANUAL)
    wait_for_numbers(heart_driver)
    assert "View: A2C, set by hand" in text(heart_driver.window.measure.facts)
    assert heart_driver.window.measure.headline_label.text() == "EF, A2C"
    heart_driver.user.keys("Ctrl+Z")
    assert heart_driver.opened.recorder.layer.view is None


def test_measurements_are_copied_as_text_without_the_file_name(heart_driver: WindowDriver) -> None:
    heart_driver.user.keys("Ctrl+Shift+C")
    copied = QGuiApplication.clipboard().text()
    assert "EF" in copied
    assert "90 % interval" in copied
    assert "not for diagnosis" in copied
    assert "heart.dcm" not in copied
    assert "heart_" not in copied
    assert heart_driver.window.measure.copy.text() == "Copied"


def test_calibration_by_hand_replaces_the_pixel_size(heart_driver: WindowDriver) -> None:
    before = value_of(heart_driver, "EDV")
    heart_driver.user.keys("K")
    line = heart_driver.window.calibration_line
    assert line.isVisible()
    heart_driver.user.drag([(110, 20), (110, 50), (110, 70)])
    line.distance.setValue(10.0)  # 50 pixels are 10 cm: pixels of 2 mm instead of 1 mm
    line.set.click()
    assert not line.isVisible()
    wait_for_numbers(heart_driver)
    after = value_of(heart_driver, "EDV")
    assert float(after.split()[0]) == pytest.approx(8 * float(before.split()[0]), rel=0.05)
    assert "by hand" in text(heart_driver.window.measure.facts)
    heart_driver.window.measure.facts.linkActivated.emit("remove_calibrations")
    wait_for_numbers(heart_driver)
    assert value_of(heart_driver, "EDV") == before
    heart_driver.user.keys("Ctrl+Z")
    wait_for_numbers(heart_driver)
    assert value_of(heart_driver, "EDV") == after
    heart_driver.user.keys("Ctrl+Z")
    wait_for_numbers(heart_driver)
    assert value_of(heart_driver, "EDV") == before


def test_another_beat_can_be_displayed(empty_driver: WindowDriver, tmp_path: Path) -> None:
    empty_driver.open(calibrated_cine(tmp_path / "beats.dcm", n=60), cines=1)
    empty_driver.predict(beating(60))
    empty_driver.emit(Progress(empty_driver.opened.id, 0, Stage.DRAFT, 0, 0))
    wait_for_numbers(empty_driver)
    panel = empty_driver.window.measure
    assert "Beat 1 of 2" in text(panel.facts)
    assert "2 beats: " in panel.headline_detail.text()
    panel.facts.linkActivated.emit("next_beat")
    wait_for_numbers(empty_driver)
    assert "Beat 2 of 2" in text(panel.facts)
    tile = panel.pictures.tiles[0]
    assert tile.picture is not None
    assert tile.picture.frame == 30
    panel.facts.linkActivated.emit("next_beat")
    wait_for_numbers(empty_driver)
    assert "Beat 1 of 2" in text(panel.facts)


def test_body_size_indexes_the_volumes(heart_driver: WindowDriver) -> None:
    panel = heart_driver.window.measure
    panel.facts.linkActivated.emit("body")
    panel.body.height_cm.setValue(180)
    panel.body.weight_kg.setValue(80)
    panel.body.use.click()
    wait_for_numbers(heart_driver)
    assert "EDV index" in [label for label, _, _ in panel.minor.texts()]
    assert "Body surface area 2.00" in text(panel.facts)


def test_undrawn_frames_keep_the_tools_free(heart_driver: WindowDriver) -> None:
    heart_driver.user.go_to(ES_FRAME)
    shown = heart_driver.window.handles.marks
    assert shown is not None
    heart_driver.window.tools.choose_tool("brush")
    heart_driver.user.click(shown.apex[0] + 0.5, shown.apex[1] + 0.5)
    assert heart_driver.annotated == (ES_FRAME,)
    assert heart_driver.opened.recorder.layer.landmarks == {}


def test_first_and_second_beat_have_one_time_axis(heart_driver: WindowDriver) -> None:
    curve, timeline = heart_driver.window.player_bar.curve, heart_driver.window.player_bar.timeline
    assert curve.width() == timeline.width()
    assert curve.mapTo(heart_driver.window, QPoint()).x() == timeline.mapTo(heart_driver.window, QPoint()).x()
    assert [curve.axis().x_of(f) for f in ED_FRAMES] == [timeline.x_of(f) for f in ED_FRAMES]
