"""Display of doubt, expected Dice and findings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.domain.cine import Frame
from app.engine.events import PredictedMasks
from tests.ui.conftest import HEIGHT, WIDTH, WindowDriver, square
from vjepa_core.service.messages import DOUBT_SIZE, Progress, Stage


def doubtful(left: int = 40) -> Frame:
    """Return a doubt of one half to the right of a column of the engine's grid."""
    grid = np.zeros((DOUBT_SIZE, DOUBT_SIZE), np.uint8)
    grid[:, left:] = 128
    return grid


def predict(driver: WindowDriver, *frames: int, doubts: bool = True) -> None:
    revision = driver.opened.revision
    masks = {frame: square(1, x0=30, size=40) for frame in frames}
    doubts_by_frame = {frame: doubtful() for frame in frames if doubts}
    expected_dice = dict.fromkeys(masks, 0.87)
    driver.emit(
        PredictedMasks(driver.opened.id, revision, masks, expected_dice, True, doubts=doubts_by_frame)
    )


def doubt_is_visible(driver: WindowDriver) -> bool:
    return driver.window.canvas.doubt.is_visible


def test_doubt_is_hidden_until_it_is_switched_on(driver: WindowDriver) -> None:
    predict(driver, 0, 1)
    assert not doubt_is_visible(driver)
    driver.user.keys("U")
    assert doubt_is_visible(driver)
    assert driver.window.learning.doubt.isChecked()
    assert driver.window.actions_by_id["toggle_uncertainty"].isChecked()
    driver.window.navigation.show_frame(1)
    assert doubt_is_visible(driver)
    driver.window.navigation.show_frame(2)  # nothing is predicted there
    assert not doubt_is_visible(driver)
    driver.window.navigation.show_frame(0)
    driver.window.learning.doubt.click()
    assert not doubt_is_visible(driver)


def test_doubt_is_hidden_with_the_masks(driver: WindowDriver) -> None:
    predict(driver, 0)
    driver.user.keys("U", "X")
    assert not doubt_is_visible(driver)
    driver.user.keys("X")
    assert doubt_is_visible(driver)
    QTest.keyPress(driver.window.canvas, Qt.Key.Key_Tab)
    assert not doubt_is_visible(driver)
    QTest.keyRelease(driver.window.canvas, Qt.Key.Key_Tab)
    assert doubt_is_visible(driver)


def test_doubt_is_placed_in_the_region_and_not_on_drawn_structures(driver: WindowDriver) -> None:
    predict(driver, 0)
    doubt = driver.opened.doubt(0)
    assert doubt is not None
    assert doubt.shape == (HEIGHT, WIDTH)
    region = driver.opened.cine.region
    inside = doubt[region.slices]
    column = round(40 / DOUBT_SIZE * inside.shape[1])
    assert inside[:, column + 4 :].min() == 128
    assert inside[:, : column - 4].max() == 0
    driver.opened.recorder.draw(0, square(2, x0=90), "brush", "somebody")
    again = driver.opened.doubt(0)
    assert again is not None
    assert not again[30:50, 90:110].any()
    assert driver.opened.doubt(5) is None


def test_scribbled_pixels_have_no_doubt_and_unlabelled_ones_do(driver: WindowDriver) -> None:
    predict(driver, 0)
    scribble = np.full((HEIGHT, WIDTH), 255, np.uint8)
    scribble[:, 90:110] = 0
    driver.opened.recorder.draw(0, scribble, "brush", "somebody")
    doubt = driver.opened.doubt(0)
    assert doubt is not None
    assert not doubt[:, 90:110].any()
    assert doubt[:, 112:].any()


def test_a_completely_drawn_frame_has_no_doubt(driver: WindowDriver) -> None:
    predict(driver, 0)
    driver.opened.recorder.draw(0, square(1), "brush", "somebody")
    assert driver.opened.doubt(0) is None


def test_the_expected_dice_is_displayed(driver: WindowDriver) -> None:
    predict(driver, 0)
    assert driver.window.learning.frame_text.text().endswith("expected Dice 0.87")
    assert driver.window.learning.frame_text.text().startswith("Draft")
    assert "expected Dice 0.87" in driver.window.player_bar.timeline.describe(0)


def test_findings_are_displayed_with_the_expected_dice(driver: WindowDriver) -> None:
    predict(driver, 0)
    driver.opened.findings[0] = ("a structure is in pieces",)
    driver.workspace.predictions_changed.emit()
    assert driver.window.learning.frame_text.text().endswith("0.87; check: a structure is in pieces")


def test_implausible_predictions_are_listed_for_review(driver: WindowDriver) -> None:
    predict(driver, 0, 3)
    review = driver.window.learning.review
    assert not review.isVisible()
    driver.opened.findings.update({3: ("a structure is in pieces",), 0: ()})
    driver.workspace.labels_changed.emit()
    assert "frame <a href='3'" in review.text()
    assert "in pieces" in review.toolTip()
    review.linkActivated.emit("3")
    assert driver.opened.frame == 3
    driver.user.keys("Return")  # a human accepts it
    assert not review.isVisible()


def test_a_frame_drawn_by_a_human_has_no_expected_dice(driver: WindowDriver) -> None:
    predict(driver, 0, 1)
    driver.opened.recorder.draw(0, square(1), "brush", "somebody")
    predict(driver, 0, 1)
    driver.workspace.labels_changed.emit()
    assert driver.window.learning.frame_text.text() == "Drawn: LV cavity."
    assert "Dice" not in driver.window.player_bar.timeline.describe(0)
    assert "Dice" in driver.window.player_bar.timeline.describe(1)


def test_predictions_of_a_cine_that_is_not_recognised_are_dropped(driver: WindowDriver) -> None:
    predict(driver, 0, 1)
    project, cine = driver.window.workspace.project, driver.opened.id
    assert project is not None
    assert driver.opened.predictions
    driver.emit(Progress(cine, driver.opened.revision, Stage.NOT_RECOGNISED))
    assert driver.opened.predictions == {}
    assert driver.opened.doubts == {}
    assert project.predictions(cine) == {}
    assert "Dice" not in driver.window.player_bar.timeline.describe(0)
    assert driver.window.learning.frame_text.text() == "No prediction on this frame yet."


def test_stored_frames_are_predicted_again_when_doubt_is_shown(driver: WindowDriver) -> None:
    predict(driver, 0, 1, doubts=False)
    driver.emit(Progress(driver.opened.id, 0, Stage.UP_TO_DATE))
    assert "predict_again" not in driver.session.calls
    driver.user.keys("U")
    assert driver.session.calls.count("predict_again") == 1
    predict(driver, 0, 1)
    driver.emit(Progress(driver.opened.id, 0, Stage.UP_TO_DATE))
    assert driver.session.calls.count("predict_again") == 1


def test_doubt_is_not_requested_while_the_engine_is_working(driver: WindowDriver) -> None:
    predict(driver, 0, doubts=False)
    driver.emit(Progress(driver.opened.id, 0, Stage.FITTING, 1, 9))
    driver.user.keys("U")
    assert "predict_again" not in driver.session.calls
    driver.emit(Progress(driver.opened.id, 0, Stage.UP_TO_DATE))
    assert "predict_again" in driver.session.calls


@pytest.mark.parametrize("on", [True, False])
def test_the_display_of_doubt_is_remembered(open_driver: Callable[[], WindowDriver], on: bool) -> None:
    driver = open_driver()
    driver.window.layers.show_doubt(on)  # also without an open cine
    driver.window.close()
    assert open_driver().window.learning.doubt.isChecked() is on
