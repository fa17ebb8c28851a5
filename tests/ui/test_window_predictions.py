"""Predictions and other reports of the engine in the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton

from app.domain.errors import ProjectError
from app.engine.events import EngineDied, EngineNotStarted, Event, HeadFitted, LearningFailure
from app.workspace.notice import Level
from tests.ui.conftest import WindowDriver, square
from tests.ui.user_input import LEFT
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.service.messages import Progress, Ready, Stage


def test_every_stroke_is_sent_with_its_revision(driver: WindowDriver) -> None:
    driver.user.click(50, 50)
    driver.user.keys("Right", "Right")
    driver.user.click(60, 60)
    driver.user.keys("Ctrl+Z")
    sent = [(revision, sorted(labels)) for _, revision, labels, _ in driver.session.labels]
    assert sent == [(1, [0]), (2, [0, 2]), (3, [0])]
    assert not any(is_fitted for *_, is_fitted in driver.session.labels)


def test_a_prediction_is_shown_separately_from_annotations(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({0: square(1), 3: square(2)})
    driver.window.navigation.show_frame(3)
    canvas = driver.window.canvas
    assert canvas.drawn.labels is None
    assert canvas.predicted.labels is not None
    assert np.array_equal(canvas.predicted.labels, square(2))
    assert driver.annotated == (0,)  # a prediction never becomes an annotation by itself


def test_a_prediction_of_another_revision_or_cine_is_dropped(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.user.click(90, 20)
    driver.predict({3: square(1)}, revision=1)
    assert driver.opened.predictions == {}
    driver.predict({3: square(1)}, revision=7)
    assert driver.opened.predictions == {}
    driver.predict({3: square(1)}, cine_id=99)
    assert driver.opened.predictions == {}


def test_a_new_stroke_marks_predictions_as_outdated(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({f: square(1) for f in range(12)})
    assert driver.opened.outdated == set()
    driver.user.click(90, 20)
    assert driver.opened.outdated == set(range(12))
    driver.predict({4: square(1)})
    assert driver.opened.outdated == set(range(12)) - {4}


def test_a_drawn_structure_hides_its_prediction_on_that_frame(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    both = square(1) + square(2, x0=80)
    driver.predict({0: both, 1: both})
    shown = driver.window.canvas.predicted.labels
    assert shown is not None
    assert set(np.unique(shown)) == {0, 2}
    driver.user.keys("Right")
    shown = driver.window.canvas.predicted.labels
    assert shown is not None
    assert set(np.unique(shown)) == {0, 1, 2}


def test_accepting_keeps_the_drawn_structures_of_the_frame(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    drawn = driver.drawn(0).copy()
    driver.predict({0: square(1) + square(2, x0=80)})
    driver.user.keys("Return")
    assert np.array_equal(driver.drawn(0), drawn + square(2, x0=80))


def test_a_correction_starts_from_the_prediction_and_is_undone_in_one_step(driver: WindowDriver) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) for f in range(12)})
    driver.user.keys("Right", "E")
    driver.user.click(32, 32)
    corrected = driver.drawn(1)
    assert corrected[45, 45] == 1
    assert corrected[32, 32] == 0
    driver.user.keys("Ctrl+Z")
    assert driver.annotated == (0,)
    assert np.array_equal(driver.opened.masks(1).shown, square(1))
    driver.user.keys("Ctrl+Y")
    assert np.array_equal(driver.drawn(1), corrected)


def test_a_stroke_that_changes_no_pixel_annotates_nothing(driver: WindowDriver) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) for f in range(12)})
    driver.user.keys("Right")
    driver.user.drag([(36, 40), (44, 40)])
    assert driver.annotated == (0,)
    assert len(driver.session.labels) == 1
    assert set(driver.window.player_bar.timeline.annotated) == {0}


@pytest.mark.parametrize(
    ("tool", "points"),
    [
        ("B", [(40, 40)]),
        ("B", [(38, 40), (42, 40), (38, 40)]),  # an unsteady click: within the brush's own radius
        ("E", [(80, 80)]),
        ("E", [(70, 20), (100, 20), (100, 80)]),
    ],
)
def test_clicks_and_the_eraser_accept_nothing(
    driver: WindowDriver, tool: str, points: list[tuple[float, float]]
) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) for f in range(12)})
    driver.user.keys("Right", tool)
    driver.user.drag(points)
    assert driver.annotated == (0,)
    assert driver.window.canvas.drawn.labels is None
    assert [revision for _, revision, *_ in driver.session.labels] == [1]


def test_strokes_outside_the_frame_and_single_corners_accept_nothing(driver: WindowDriver) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) for f in range(12)})
    driver.user.keys("Right")
    driver.user.click(-20, 40)
    driver.user.keys("P")
    driver.user.click(40, 40)
    driver.user.keys("Return")
    driver.user.keys("2", "D", "B")
    driver.user.drag([(35, 40), (45, 40)])  # behind the predicted structure, where nothing can be drawn
    assert driver.annotated == (0,)


def test_an_outline_replaces_the_predicted_structure(driver: WindowDriver) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) + square(2, x0=80) for f in range(12)})
    driver.user.keys("Right", "P")
    driver.user.drag([(10, 60), (30, 60), (30, 80), (10, 80), (10, 60)])
    shown = driver.opened.masks(1).shown
    assert shown[40, 40] == 0
    assert shown[70, 20] == 1
    assert shown[40, 90] == 2
    assert not (driver.drawn(1) == 2).any()  # the wall is still predicted


def test_corrections_can_be_turned_off(driver: WindowDriver) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) for f in range(12)})
    driver.window.tools.correct.click()
    driver.user.keys("Right")
    driver.user.click(100, 20)
    assert driver.drawn(1)[40, 40] == 0


def test_a_stroke_corrects_the_shown_mask_even_if_it_is_outdated(driver: WindowDriver) -> None:
    driver.user.click(100, 80)
    driver.predict({f: square(1) for f in range(12)})
    driver.user.click(100, 60)
    driver.user.keys("Right")
    driver.user.click(100, 20)
    drawn = driver.drawn(1)
    assert drawn[40, 40] == 1
    assert drawn[20, 100] == 1


def test_a_prediction_of_another_structure_that_arrives_during_a_stroke_changes_nothing(
    driver: WindowDriver,
) -> None:
    driver.user.click(100, 80)
    driver.user.keys("Right")
    driver.user.press(40, 40)
    driver.predict({1: square(2, x0=80)})
    driver.user.move(60, 40)
    driver.user.release(60, 40)
    assert set(np.unique(driver.drawn(1))) == {0, 1}
    assert driver.drawn(1)[40, 55] == 1


def test_a_prediction_of_the_same_structure_that_arrives_during_a_stroke_changes_nothing(
    driver: WindowDriver,
) -> None:
    driver.user.click(100, 80)
    driver.predict({1: square(1)})
    driver.user.keys("Right")
    driver.user.press(60, 40)
    driver.predict({1: square(1, x0=90)})
    driver.user.release(60, 40)
    drawn = driver.drawn(1)
    assert drawn[40, 40] == 1
    assert drawn[40, 95] == 0
    driver.user.keys("Ctrl+Z")
    assert np.array_equal(driver.opened.masks(1).shown, square(1))


def test_the_accept_button_accepts_what_was_seen_when_it_was_pressed(driver: WindowDriver) -> None:
    driver.user.click(100, 80)
    driver.predict({1: square(1)})
    driver.user.keys("Right")
    button = driver.window.learning.accept
    QTest.mousePress(button, LEFT)
    driver.predict({1: square(1, x0=90)})
    QTest.mouseRelease(button, LEFT)
    assert np.array_equal(driver.drawn(1), square(1))
    driver.user.keys("Ctrl+Z")
    assert np.array_equal(driver.opened.masks(1).shown, square(1))


def test_undoing_everything_removes_the_predictions(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({f: square(1) for f in range(12)})
    driver.user.keys("Ctrl+Z")
    assert driver.opened.predictions == {}
    assert driver.window.canvas.predicted.labels is None


def test_stored_predictions_and_head_are_restored_without_a_new_fit(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.emit(HeadFitted(b"a head", "encoder", "checksum", {driver.opened.id: 1}))
    driver.predict({f: square(1) for f in range(12)})
    path, old = driver.opened.cine.path, driver.session
    assert driver.workspace.project is not None
    project = driver.workspace.project.path
    driver.workspace.close_project()
    assert "close" in old.calls
    driver.open(project, cines=1)
    assert driver.opened.cine.path == path
    assert driver.session is not old
    assert driver.session.calls == ["restore_head"]
    assert np.array_equal(driver.opened.predictions[5].mask, square(1))
    (sent,) = driver.session.labels
    assert (sent[1], sent[3]) == (1, True)


def test_a_cine_with_incomplete_predictions_is_fitted_again(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.emit(HeadFitted(b"a head", "encoder", "checksum", {driver.opened.id: 1}))
    driver.predict({f: square(1) for f in range(7)})
    assert driver.workspace.project is not None
    project = driver.workspace.project.path
    driver.workspace.close_project()
    driver.open(project, cines=1)
    assert driver.session.labels[-1][3] is False


def test_previews_are_displayed_but_not_stored(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    driver.predict({3: square(1)}, final=False)
    assert 3 in driver.opened.predictions
    assert driver.workspace.project is not None
    assert driver.workspace.project.predictions(driver.opened.id) == {}
    driver.predict({3: square(1)})
    assert set(driver.workspace.project.predictions(driver.opened.id)) == {3}


def head_of(driver: WindowDriver, frame: int) -> int | None:
    """Return the head that the project records for a stored prediction."""
    assert driver.workspace.project is not None
    return driver.workspace.project.predictions(driver.opened.id)[frame].head_id


def test_stored_predictions_refer_to_their_head(
    driver: WindowDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = driver.workspace.project
    assert project is not None
    driver.user.click(20, 20)
    driver.predict({0: square(1)})
    assert head_of(driver, 0) is None
    driver.emit(HeadFitted(b"a head", "encoder", "checksum", {driver.opened.id: 1}))
    driver.predict({1: square(1)})
    latest = project.latest_head()
    assert latest is not None
    assert head_of(driver, 1) == latest.id

    def refuse(_: object) -> int:
        raise ProjectError("The disk is full: free some space.")

    monkeypatch.setattr(project, "save_head", refuse)
    driver.emit(HeadFitted(b"another", "encoder", "checksum", {driver.opened.id: 1}))
    driver.predict({2: square(1)})
    assert head_of(driver, 2) is None


def test_predictions_of_a_head_that_cannot_be_stored_refer_to_none(driver: WindowDriver) -> None:
    driver.user.click(20, 20)
    for frame, blob in enumerate((b"a head", None)):
        driver.emit(HeadFitted(blob, "encoder", "checksum", {driver.opened.id: 1}))
        driver.predict({frame: square(1)})
    assert [head_of(driver, 0) is None, head_of(driver, 1) is None] == [False, True]


@pytest.mark.parametrize(("checksum", "is_used"), [("checksum", True), ("another", False)])
def test_predictions_refer_to_a_restored_head_only_if_the_engine_uses_it(
    driver: WindowDriver, checksum: str, is_used: bool
) -> None:
    driver.user.click(20, 20)
    driver.emit(HeadFitted(b"a head", "encoder", "checksum", {driver.opened.id: 1}))
    assert driver.workspace.project is not None
    project = driver.workspace.project.path
    driver.workspace.close_project()
    driver.open(project, cines=1)
    driver.emit(Ready("cpu", "encoder", checksum, True))
    driver.predict({5: square(1)})
    assert (head_of(driver, 5) is not None) is is_used


@pytest.mark.parametrize(
    ("event", "words", "level"),
    [
        (EngineDied(-9, True), "restarted", Level.WARNING),
        (EngineDied(-9, False), "three times", Level.ERROR),
        (EngineNotStarted("The encoder is too big: choose a smaller one."), "too big", Level.ERROR),
        (LearningFailure("The engine ran out of memory: close something."), "out of memory", Level.ERROR),
    ],
)
def test_engine_errors_are_displayed_and_drawing_continues(
    driver: WindowDriver, event: Event, words: str, level: Level
) -> None:
    driver.emit(event)
    ((shown_level, text), *_) = driver.window.banner.messages()
    assert words in text
    assert shown_level is level
    driver.user.click(50, 50)
    assert driver.annotated == (0,)
    if level is Level.ERROR:
        buttons = driver.window.banner.findChildren(QPushButton)
        next(b for b in buttons if b.text() == "Resume learning").click()
        assert driver.session.calls == ["resume"]


def test_the_status_line_shows_the_state_of_learning(driver: WindowDriver) -> None:
    driver.emit(Ready("cpu", "an encoder", "checksum", False))
    for progress, words in (
        (Progress(1, 0, Stage.FEATURES, 12, 38), "Analysing the cine, 31 %"),
        (Progress(1, 0, Stage.FITTING, 0, 120), "Learning, 0 %"),
        (Progress(1, 0, Stage.FITTING, 40, 120, 0.3), "Learning, 33 %"),
        (Progress(1, 0, Stage.UP_TO_DATE), "Ready"),
    ):
        driver.emit(progress)
        assert driver.window.status.engine.text() == words


@pytest.mark.parametrize("event", [EngineNotStarted("The encoder is too big."), EngineDied(-9, False)])
def test_an_unavailable_engine_is_not_displayed_as_starting(driver: WindowDriver, event: Event) -> None:
    driver.emit(event)
    assert driver.window.status.engine.text() == "Learning stopped"
    driver.user.keys("Ctrl+R")
    assert driver.session.calls == ["resume"]
    assert driver.window.status.engine.text() == "Starting"


@pytest.mark.parametrize("stage", [Stage.UP_TO_DATE, Stage.WAITING, Stage.CANCELLED])
def test_stopping_an_idle_engine_does_not_kill_it(
    driver: WindowDriver, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    monkeypatch.setattr("app.workspace.learner.CONFIRM_TIMEOUT_MS", 10)
    driver.emit(Progress(driver.opened.id, 0, stage))
    driver.user.keys("Ctrl+.")
    driver.qtbot.wait(40)
    assert "replace_engine" not in driver.session.calls


def test_stopping_an_engine_that_is_starting_does_not_kill_it(
    driver: WindowDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.workspace.learner.CONFIRM_TIMEOUT_MS", 10)
    driver.user.keys("Ctrl+.")
    driver.qtbot.wait(40)
    assert "replace_engine" not in driver.session.calls


def test_an_engine_that_does_not_respond_is_killed(
    driver: WindowDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.workspace.learner.CONFIRM_TIMEOUT_MS", 10)
    driver.emit(Progress(driver.opened.id, 0, Stage.FITTING, 3, 100))
    driver.user.keys("Ctrl+.")
    driver.qtbot.waitUntil(lambda: "replace_engine" in driver.session.calls)


def test_predictions_of_another_cine_are_shown_once_it_is_visible(
    empty_driver: WindowDriver, tmp_path: Path
) -> None:
    empty_driver.open(grey_cine(tmp_path / "a.dcm", n=5), grey_cine(tmp_path / "b.dcm", n=9), cines=2)
    a, b = empty_driver.workspace.opened_cines
    empty_driver.user.click(50, 50)
    empty_driver.user.keys("PgDown")
    empty_driver.predict({0: square(2)}, cine_id=a.id, revision=1)
    assert empty_driver.window.canvas.predicted.labels is None
    assert b.predictions == {}
    empty_driver.user.keys("PgUp")
    assert empty_driver.window.canvas.predicted.labels is not None
