"""Where the prediction may be wrong: shown when wanted, where it is known, and remembered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.domain.cine import Frame
from app.engine.events import PredictedMasks
from tests.ui.conftest import HEIGHT, WIDTH, Desk, square
from vjepa_core.service.messages import DOUBT_SIZE, Progress, Stage


def doubtful(left: int = 40) -> Frame:
    """Half wrong right of a column of the engine's grid."""
    grid = np.zeros((DOUBT_SIZE, DOUBT_SIZE), np.uint8)
    grid[:, left:] = 128
    return grid


def predict(desk: Desk, *frames: int, doubts: bool = True) -> None:
    revision = desk.opened.revision
    masks = {frame: square(1, x0=30, size=40) for frame in frames}
    known = {frame: doubtful() for frame in frames if doubts}
    sure = dict.fromkeys(masks, 0.87)
    desk.tell(PredictedMasks(desk.opened.id, revision, masks, sure, True, doubts=known))


def shown(desk: Desk) -> bool:
    return desk.window.canvas.doubt.is_visible


def test_doubts_are_hidden_until_they_are_wanted(heart: Desk) -> None:
    predict(heart, 0, 1)
    assert not shown(heart)
    heart.hand.keys("U")
    assert shown(heart)
    assert heart.window.learning.uncertainty.isChecked()
    assert heart.window.actions_by_id["toggle_uncertainty"].isChecked()
    heart.window.navigation.show_frame(1)
    assert shown(heart)
    heart.window.navigation.show_frame(2)  # nothing is predicted there
    assert not shown(heart)
    heart.window.navigation.show_frame(0)
    heart.window.learning.uncertainty.click()
    assert not shown(heart)


def test_doubts_go_with_the_masks(heart: Desk) -> None:
    predict(heart, 0)
    heart.hand.keys("U", "X")
    assert not shown(heart)
    heart.hand.keys("X")
    assert shown(heart)
    QTest.keyPress(heart.window.canvas, Qt.Key.Key_Tab)
    assert not shown(heart)
    QTest.keyRelease(heart.window.canvas, Qt.Key.Key_Tab)
    assert shown(heart)


def test_doubts_lie_where_the_engine_said_and_not_on_what_was_drawn(heart: Desk) -> None:
    predict(heart, 0)
    doubt = heart.opened.doubt(0)
    assert doubt is not None
    assert doubt.shape == (HEIGHT, WIDTH)
    region = heart.opened.cine.region
    inside = doubt[region.slices]
    column = round(40 / DOUBT_SIZE * inside.shape[1])
    assert inside[:, column + 4 :].min() == 128
    assert inside[:, : column - 4].max() == 0
    heart.opened.recorder.draw(0, square(2, x0=90), "brush", "somebody")
    again = heart.opened.doubt(0)
    assert again is not None
    assert not again[30:50, 90:110].any()
    assert heart.opened.doubt(5) is None


def test_what_a_scribble_says_is_not_doubted_and_the_rest_is(heart: Desk) -> None:
    predict(heart, 0)
    scribble = np.full((HEIGHT, WIDTH), 255, np.uint8)
    scribble[:, 90:110] = 0
    heart.opened.recorder.draw(0, scribble, "brush", "somebody")
    doubt = heart.opened.doubt(0)
    assert doubt is not None
    assert not doubt[:, 90:110].any()
    assert doubt[:, 112:].any()


def test_a_frame_that_is_all_drawn_by_hand_is_not_doubted(heart: Desk) -> None:
    predict(heart, 0)
    heart.opened.recorder.draw(0, square(1), "brush", "somebody")
    assert heart.opened.doubt(0) is None


def test_the_expected_dice_is_said_in_words(heart: Desk) -> None:
    predict(heart, 0)
    assert heart.window.learning.frame_text.text().endswith("expected Dice 0.87")
    assert heart.window.learning.frame_text.text().startswith("Draft")
    assert "expected Dice 0.87" in heart.window.player_bar.timeline.describe(0)


def test_reasons_to_look_at_a_frame_are_said_with_it(heart: Desk) -> None:
    predict(heart, 0)
    heart.opened.findings[0] = ("a structure is in pieces",)
    heart.workspace.predictions_changed.emit()
    assert heart.window.learning.frame_text.text().endswith("0.87; check: a structure is in pieces")


def test_implausible_predictions_are_listed_for_review(heart: Desk) -> None:
    predict(heart, 0, 3)
    review = heart.window.learning.review
    assert not review.isVisible()
    heart.opened.findings.update({3: ("a structure is in pieces",), 0: ()})
    heart.workspace.labels_changed.emit()
    assert "frame <a href='3'" in review.text()
    assert "in pieces" in review.toolTip()
    review.linkActivated.emit("3")
    assert heart.opened.frame == 3
    heart.hand.keys("Return")  # a human takes responsibility for it
    assert not review.isVisible()


def test_a_frame_drawn_by_a_human_has_no_expected_dice(heart: Desk) -> None:
    predict(heart, 0, 1)
    heart.opened.recorder.draw(0, square(1), "brush", "somebody")
    predict(heart, 0, 1)
    heart.workspace.labels_changed.emit()
    assert heart.window.learning.frame_text.text() == "Drawn: LV cavity."
    assert "Dice" not in heart.window.player_bar.timeline.describe(0)
    assert "Dice" in heart.window.player_bar.timeline.describe(1)


def test_masks_of_a_cine_that_is_not_recognised_are_dropped(heart: Desk) -> None:
    predict(heart, 0, 1)
    project, cine = heart.window.workspace.project, heart.opened.id
    assert project is not None
    assert heart.opened.predictions
    heart.tell(Progress(cine, heart.opened.revision, Stage.NOT_RECOGNISED))
    assert heart.opened.predictions == {}
    assert heart.opened.doubts == {}
    assert project.predictions(cine) == {}
    assert "Dice" not in heart.window.player_bar.timeline.describe(0)
    assert heart.window.learning.frame_text.text() == "No prediction on this frame yet."


def test_kept_masks_are_predicted_once_more_when_doubts_are_wanted(heart: Desk) -> None:
    predict(heart, 0, 1, doubts=False)
    heart.tell(Progress(heart.opened.id, 0, Stage.UP_TO_DATE))
    assert "predict_again" not in heart.session.calls
    heart.hand.keys("U")
    assert heart.session.calls.count("predict_again") == 1
    predict(heart, 0, 1)
    heart.tell(Progress(heart.opened.id, 0, Stage.UP_TO_DATE))
    assert heart.session.calls.count("predict_again") == 1


def test_it_is_not_asked_for_while_the_engine_is_at_work(heart: Desk) -> None:
    predict(heart, 0, doubts=False)
    heart.tell(Progress(heart.opened.id, 0, Stage.FITTING, 1, 9))
    heart.hand.keys("U")
    assert "predict_again" not in heart.session.calls
    heart.tell(Progress(heart.opened.id, 0, Stage.UP_TO_DATE))
    assert "predict_again" in heart.session.calls


@pytest.mark.parametrize("on", [True, False])
def test_the_choice_is_remembered(open_desk: Callable[[], Desk], on: bool) -> None:
    desk = open_desk()
    desk.window.layers.show_doubt(on)  # with no cine open, too
    desk.window.close()
    assert open_desk().window.learning.uncertainty.isChecked() is on
