"""The effect of every key of the key map."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import SIGNAL, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMenu, QToolButton

from app.ui.shortcut_sheet import ShortcutSheet
from tests.ui.conftest import WindowDriver, square
from vjepa_core.service.messages import Progress, Stage


@pytest.mark.parametrize(
    ("start", "keys", "end"),
    [
        (0, ["Right"], 1),
        (5, ["Left"], 4),
        (11, ["Right"], 0),  # wraps around
        (0, ["Left"], 11),
        (0, ["Down"], 10),
        (11, ["Up"], 1),
        (5, ["Down"], 11),
        (5, ["Up"], 0),
        (3, ["End"], 11),
        (3, ["Home"], 0),
        (3, ["Right", "Right", "Left"], 4),
    ],
)
def test_navigation_keys_show_the_right_frame(
    driver: WindowDriver, start: int, keys: list[str], end: int
) -> None:
    driver.window.navigation.show_frame(start)
    driver.user.keys(*keys)
    assert driver.opened.frame == end
    assert driver.session.looks[-1] == (driver.opened.id, end)
    assert driver.window.player_bar.transport.text().startswith(f"frame {end}/11")


def test_shift_arrows_go_to_annotated_frames(driver: WindowDriver) -> None:
    for frame in (2, 7, 9):
        driver.window.navigation.show_frame(frame)
        driver.user.click(50, 50)
    driver.user.keys("Home", "Shift+Right")
    assert driver.opened.frame == 2
    driver.user.keys("Shift+Right")
    assert driver.opened.frame == 7
    driver.user.keys("End", "Shift+Left")
    assert driver.opened.frame == 9
    driver.user.keys("Shift+Right")  # there is none after it
    assert driver.opened.frame == 9


def test_space_starts_and_stops_playback_and_a_step_stops_it(driver: WindowDriver) -> None:
    player = driver.window.player_bar.player
    driver.user.keys("Space")
    assert player.is_playing()
    driver.qtbot.waitUntil(lambda: driver.opened.frame > 1)
    driver.user.keys("Space")
    assert not player.is_playing()
    driver.user.keys("C")
    assert player.is_playing()
    driver.user.keys("Right")
    assert not player.is_playing()


@pytest.mark.parametrize(("key", "tool"), [("E", "eraser"), ("P", "polygon"), ("M", "pan"), ("B", "brush")])
def test_keys_select_the_tool(driver: WindowDriver, key: str, tool: str) -> None:
    driver.user.keys("E", key)
    assert driver.window.canvas.tool() == tool
    button = driver.window.tools.findChild(QToolButton, f"tool_{tool}")
    assert button is not None
    assert button.isChecked()


def test_digits_select_the_structure(driver: WindowDriver) -> None:
    for digit, x in (("3", 40), ("2", 60), ("1", 80)):
        driver.user.keys(digit)
        driver.user.click(x, 50)
        assert driver.drawn(0)[50, x] == int(digit)
        assert driver.window.tools.active_structure() == int(digit)
    driver.user.keys("7")  # there is no structure 7
    driver.user.click(100, 50)
    assert driver.drawn(0)[50, 100] == 1


def test_brackets_change_the_brush_radius(driver: WindowDriver) -> None:
    canvas = driver.window.canvas
    driver.user.keys("]")
    assert canvas.brush_radius() > 5.0
    driver.user.keys("[", "[")
    assert canvas.brush_radius() < 5.0


def test_d_switches_drawing_behind_on_and_off(driver: WindowDriver) -> None:
    driver.user.click(50, 50)
    driver.user.keys("2", "D")
    driver.user.click(53, 50)
    assert driver.drawn(0)[50, 50] == 1
    assert driver.drawn(0)[50, 57] == 2
    driver.user.keys("D")
    driver.user.click(50, 50)
    assert driver.drawn(0)[50, 50] == 2


def test_x_toggles_the_masks_and_tab_hides_them_while_held(driver: WindowDriver) -> None:
    driver.user.click(50, 50)
    canvas = driver.window.canvas
    driver.user.keys("X")
    assert (canvas.drawn.is_visible, canvas.predicted.is_visible) == (False, False)
    driver.user.keys("X")
    assert (canvas.drawn.is_visible, canvas.predicted.is_visible) == (True, True)
    QTest.keyPress(canvas, Qt.Key.Key_Tab)
    assert (canvas.drawn.is_visible, canvas.predicted.is_visible) == (False, False)
    QTest.keyRelease(canvas, Qt.Key.Key_Tab)
    assert (canvas.drawn.is_visible, canvas.predicted.is_visible) == (True, True)


def test_hidden_masks_are_reported_and_shown_again_by_a_stroke_or_by_accepting(driver: WindowDriver) -> None:
    status = driver.window.status
    driver.user.keys("X")
    assert "Masks hidden" in status.hidden.text()
    driver.user.click(20, 20)
    assert driver.window.canvas.drawn.is_visible
    assert status.hidden.text() == ""
    driver.predict({f: square(1) for f in range(12)})
    driver.user.keys("X", "Right", "Return")
    assert driver.annotated == (0, 1)
    assert driver.window.canvas.drawn.is_visible


def test_enter_accepts_a_prediction_and_undo_reverts_it(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({f: square(1) for f in range(12)})
    driver.user.keys("Right", "Return")
    assert np.array_equal(driver.drawn(1), square(1))
    driver.user.keys("Home", "Ctrl+Z")
    assert driver.opened.frame == 1
    assert driver.annotated == (0,)
    driver.user.keys("Home", "Ctrl+Y")
    assert driver.opened.frame == 1
    assert driver.annotated == (0, 1)
    driver.user.keys("Ctrl+Z", "Ctrl+Shift+Z")
    assert driver.annotated == (0, 1)


def test_enter_without_a_prediction_does_nothing(driver: WindowDriver) -> None:
    driver.user.keys("Return", "Enter")
    assert driver.annotated == ()
    assert not driver.window.actions_by_id["accept_prediction"].isEnabled()


def test_enter_closes_an_outline_rather_than_accepting(driver: WindowDriver) -> None:
    driver.user.click(100, 80)
    driver.predict({1: square(3)})
    driver.user.keys("Right", "P", "1")
    for x, y in ((70, 30), (90, 30), (90, 50)):
        driver.user.click(x, y)
    driver.user.keys("Return")
    assert driver.drawn(1)[35, 85] == 1


def test_escape_discards_a_stroke(driver: WindowDriver) -> None:
    driver.user.press(40, 40)
    driver.user.move(60, 40)
    driver.user.keys("Esc")
    driver.user.release(60, 40)
    assert driver.annotated == ()


def test_undo_and_redo_are_enabled_only_when_they_apply(driver: WindowDriver) -> None:
    actions = driver.window.actions_by_id
    assert (actions["undo"].isEnabled(), actions["redo"].isEnabled()) == (False, False)
    driver.user.click(50, 50)
    assert (actions["undo"].isEnabled(), actions["redo"].isEnabled()) == (True, False)
    driver.user.keys("Ctrl+Z")
    assert (actions["undo"].isEnabled(), actions["redo"].isEnabled()) == (False, True)
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == ()


def test_ctrl_delete_clears_a_frame_as_one_stroke(driver: WindowDriver) -> None:
    driver.user.click(30, 30)
    driver.user.click(90, 60)
    driver.user.keys("Ctrl+Del")
    assert driver.annotated == ()
    driver.user.keys("Ctrl+Z")
    assert driver.drawn(0)[30, 30] == driver.drawn(0)[60, 90] == 1


def test_r_fits_the_frame_to_the_view(driver: WindowDriver) -> None:
    scale = driver.window.canvas.view_state()["scale"]
    driver.user.zoom(4, 60, 60)
    assert driver.window.canvas.view_state()["scale"] > scale
    driver.user.keys("R")
    assert driver.window.canvas.view_state()["scale"] == pytest.approx(scale)


def test_keys_stop_and_resume_learning(driver: WindowDriver) -> None:
    driver.emit(Progress(driver.opened.id, 0, Stage.FITTING, 3, 100))
    driver.user.keys("Ctrl+.")
    driver.user.keys("Ctrl+R")
    assert driver.session.calls == ["cancel", "resume"]


@pytest.mark.parametrize("key", ["?", "F1"])
def test_keys_show_one_shortcut_sheet_that_does_not_block_the_window(driver: WindowDriver, key: str) -> None:
    driver.user.keys(key)
    driver.user.keys("F1")  # shows the same sheet
    (sheet,) = [w for w in QApplication.topLevelWidgets() if isinstance(w, ShortcutSheet) and w.isVisible()]
    sheet.close()
    driver.user.click(50, 50)  # drawing still works
    assert driver.annotated == (0,)


def test_every_action_has_a_handler(driver: WindowDriver) -> None:
    missing = {a.id for a in driver.window.keymap} - set(driver.window.actions_by_id)
    assert missing == {"peek"}  # held, not triggered: handled by the canvas
    for name, action in driver.window.actions_by_id.items():
        menus = [place for place in action.associatedObjects() if isinstance(place, QMenu)]
        assert action.receivers(SIGNAL("triggered(bool)")) == len(menus) + 1, name


def test_actions_without_a_cine_have_no_effect(empty_driver: WindowDriver) -> None:
    dialogs = {"open_files", "open_folder", "open_project", "save_project_as", "quit", "shortcuts"}
    for name, action in empty_driver.window.actions_by_id.items():
        if name not in dialogs:
            action.trigger()
    empty_driver.user.keys("Tab")
    empty_driver.user.click(50, 50)
    assert empty_driver.window.visible_cine is None


def test_ctrl_q_closes_the_window(driver: WindowDriver) -> None:
    driver.user.keys("Ctrl+Q")
    assert not driver.window.isVisible()
