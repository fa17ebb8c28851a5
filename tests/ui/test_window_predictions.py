"""What the engine says and what the window makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtWidgets import QPushButton

from app.domain.errors import ProjectError
from app.engine.events import EngineDied, EngineNotStarted, Event, HeadFitted, LearningFailure
from app.workspace.notice import Level
from tests.ui.conftest import Desk, square
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.service.messages import Progress, Ready, Stage


def test_every_stroke_is_told_with_its_revision(heart: Desk) -> None:
    heart.hand.click(50, 50)
    heart.hand.keys("Right", "Right")
    heart.hand.click(60, 60)
    heart.hand.keys("Ctrl+Z")
    told = [(revision, sorted(labels)) for _, revision, labels, _ in heart.session.labels]
    assert told == [(1, [0]), (2, [0, 2]), (3, [0])]
    assert not any(learnt for *_, learnt in heart.session.labels)


def test_a_prediction_is_shown_apart_from_what_was_drawn(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({0: square(1), 3: square(2)})
    heart.window.navigation.show_frame(3)
    canvas = heart.window.canvas
    assert canvas.drawn.labels is None
    assert canvas.predicted.labels is not None
    assert np.array_equal(canvas.predicted.labels, square(2))
    assert heart.annotated == (0,)  # nothing automatic ever writes an annotation


def test_a_stale_result_is_dropped(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.hand.click(90, 20)
    heart.predict({3: square(1)}, revision=1)
    assert heart.opened.predictions == {}
    heart.predict({3: square(1)}, revision=7)
    assert heart.opened.predictions == {}
    heart.predict({3: square(1)}, cine_id=99)
    assert heart.opened.predictions == {}


def test_a_new_stroke_marks_what_was_predicted_as_old(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({f: square(1) for f in range(12)})
    assert heart.opened.stale == set()
    heart.hand.click(90, 20)
    assert heart.opened.stale == set(range(12))
    heart.predict({4: square(1)})
    assert heart.opened.stale == set(range(12)) - {4}


def test_a_class_drawn_by_hand_is_not_predicted_over_on_that_frame(heart: Desk) -> None:
    heart.hand.click(20, 20)
    both = square(1) + square(2, x0=80)
    heart.predict({0: both, 1: both})
    shown = heart.window.canvas.predicted.labels
    assert shown is not None
    assert set(np.unique(shown)) == {0, 2}
    heart.hand.keys("Right")
    shown = heart.window.canvas.predicted.labels
    assert shown is not None
    assert set(np.unique(shown)) == {0, 1, 2}


def test_accepting_keeps_what_was_drawn_on_that_frame(heart: Desk) -> None:
    heart.hand.click(20, 20)
    drawn = heart.drawn(0).copy()
    heart.predict({0: square(1) + square(2, x0=80)})
    heart.hand.keys("Return")
    assert np.array_equal(heart.drawn(0), drawn + square(2, x0=80))


def test_a_correction_starts_from_the_prediction_and_is_undone_by_one_step(heart: Desk) -> None:
    heart.hand.click(100, 80)
    heart.predict({f: square(1) for f in range(12)})
    heart.hand.keys("Right", "E")
    heart.hand.click(32, 32)
    corrected = heart.drawn(1)
    assert corrected[45, 45] == 1
    assert corrected[32, 32] == 0
    heart.hand.keys("Ctrl+Z")
    assert heart.annotated == (0,)
    assert np.array_equal(heart.opened.masks(1).shown, square(1))
    heart.hand.keys("Ctrl+Y")
    assert np.array_equal(heart.drawn(1), corrected)


def test_a_stroke_that_changes_no_pixel_marks_nothing(heart: Desk) -> None:
    heart.hand.click(100, 80)
    heart.predict({f: square(1) for f in range(12)})
    heart.hand.keys("Right")
    heart.hand.drag([(36, 40), (44, 40)])
    assert heart.annotated == (0,)
    assert len(heart.session.labels) == 1
    assert set(heart.window.player_bar.timeline.annotated) == {0}


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
    heart: Desk, tool: str, points: list[tuple[float, float]]
) -> None:
    heart.hand.click(100, 80)
    heart.predict({f: square(1) for f in range(12)})
    heart.hand.keys("Right", tool)
    heart.hand.drag(points)
    assert heart.annotated == (0,)
    assert heart.window.canvas.drawn.labels is None
    assert [revision for _, revision, *_ in heart.session.labels] == [1]


def test_strokes_beside_the_picture_and_lone_corners_accept_nothing(heart: Desk) -> None:
    heart.hand.click(100, 80)
    heart.predict({f: square(1) for f in range(12)})
    heart.hand.keys("Right")
    heart.hand.click(-20, 40)
    heart.hand.keys("P")
    heart.hand.click(40, 40)
    heart.hand.keys("Return")
    heart.hand.keys("2", "D", "B")
    heart.hand.drag([(35, 40), (45, 40)])  # behind the predicted structure: it may draw nothing there
    assert heart.annotated == (0,)


def test_an_outline_replaces_the_predicted_structure(heart: Desk) -> None:
    heart.hand.click(100, 80)
    heart.predict({f: square(1) + square(2, x0=80) for f in range(12)})
    heart.hand.keys("Right", "P")
    heart.hand.drag([(10, 60), (30, 60), (30, 80), (10, 80), (10, 60)])
    shown = heart.opened.masks(1).shown
    assert shown[40, 40] == 0
    assert shown[70, 20] == 1
    assert shown[40, 90] == 2
    assert not (heart.drawn(1) == 2).any()  # the wall is still predicted


def test_corrections_can_be_turned_off(heart: Desk) -> None:
    heart.hand.click(100, 80)
    heart.predict({f: square(1) for f in range(12)})
    heart.window.tools.correct.click()
    heart.hand.keys("Right")
    heart.hand.click(100, 20)
    assert heart.drawn(1)[40, 40] == 0


def test_a_stroke_corrects_what_is_shown_however_old(heart: Desk) -> None:
    heart.hand.click(100, 80)
    heart.predict({f: square(1) for f in range(12)})
    heart.hand.click(100, 60)
    heart.hand.keys("Right")
    heart.hand.click(100, 20)
    drawn = heart.drawn(1)
    assert drawn[40, 40] == 1
    assert drawn[20, 100] == 1


def test_predictions_that_arrive_under_a_stroke_leave_it_alone(heart: Desk) -> None:
    heart.hand.click(100, 80)
    heart.hand.keys("Right")
    heart.hand.press(40, 40)
    heart.predict({1: square(2, x0=80)})
    heart.hand.move(60, 40)
    heart.hand.release(60, 40)
    assert set(np.unique(heart.drawn(1))) == {0, 1}
    assert heart.drawn(1)[40, 55] == 1


def test_a_prediction_of_the_same_structure_that_arrives_under_a_stroke_changes_nothing(heart: Desk) -> None:
    heart.hand.click(100, 80)
    heart.predict({1: square(1)})
    heart.hand.keys("Right")
    heart.hand.press(60, 40)
    heart.predict({1: square(1, x0=90)})
    heart.hand.release(60, 40)
    drawn = heart.drawn(1)
    assert drawn[40, 40] == 1
    assert drawn[40, 95] == 0
    heart.hand.keys("Ctrl+Z")
    assert np.array_equal(heart.opened.masks(1).shown, square(1))


def test_the_accept_button_accepts_what_was_seen_when_it_was_pressed(heart: Desk) -> None:
    from PySide6.QtTest import QTest

    from tests.ui.hand import LEFT

    heart.hand.click(100, 80)
    heart.predict({1: square(1)})
    heart.hand.keys("Right")
    button = heart.window.learning.accept
    QTest.mousePress(button, LEFT)
    heart.predict({1: square(1, x0=90)})
    QTest.mouseRelease(button, LEFT)
    assert np.array_equal(heart.drawn(1), square(1))
    heart.hand.keys("Ctrl+Z")
    assert np.array_equal(heart.opened.masks(1).shown, square(1))


def test_undoing_everything_takes_the_predictions_away(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({f: square(1) for f in range(12)})
    heart.hand.keys("Ctrl+Z")
    assert heart.opened.predictions == {}
    assert heart.window.canvas.predicted.labels is None


def test_predictions_and_head_come_back_and_are_not_learnt_again(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.tell(HeadFitted(b"a head", "encoder", "checksum", {heart.opened.id: 1}))
    heart.predict({f: square(1) for f in range(12)})
    path, old = heart.opened.cine.path, heart.session
    assert heart.workspace.project is not None
    project = heart.workspace.project.path
    heart.workspace.close_project()
    assert "close" in old.calls
    heart.open(project, cines=1)
    assert heart.opened.cine.path == path
    assert heart.session is not old
    assert heart.session.calls == ["restore_head"]
    assert np.array_equal(heart.opened.predictions[5].mask, square(1))
    (told,) = heart.session.labels
    assert (told[1], told[3]) == (1, True)


def test_half_the_predictions_are_no_end_of_learning(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.tell(HeadFitted(b"a head", "encoder", "checksum", {heart.opened.id: 1}))
    heart.predict({f: square(1) for f in range(7)})
    assert heart.workspace.project is not None
    project = heart.workspace.project.path
    heart.workspace.close_project()
    heart.open(project, cines=1)
    assert heart.session.labels[-1][3] is False


def test_previews_are_shown_but_not_kept(heart: Desk) -> None:
    heart.hand.click(20, 20)
    heart.predict({3: square(1)}, final=False)
    assert 3 in heart.opened.predictions
    assert heart.workspace.project is not None
    assert heart.workspace.project.predictions(heart.opened.id) == {}
    heart.predict({3: square(1)})
    assert set(heart.workspace.project.predictions(heart.opened.id)) == {3}


def drawn_by(heart: Desk, frame: int) -> int | None:
    """The head that the project names for a kept mask."""
    assert heart.workspace.project is not None
    return heart.workspace.project.predictions(heart.opened.id)[frame].head_id


def test_masks_name_the_head_that_drew_them(heart: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    project = heart.workspace.project
    assert project is not None
    heart.hand.click(20, 20)
    heart.predict({0: square(1)})
    assert drawn_by(heart, 0) is None
    heart.tell(HeadFitted(b"a head", "encoder", "checksum", {heart.opened.id: 1}))
    heart.predict({1: square(1)})
    latest = project.latest_head()
    assert latest is not None
    assert drawn_by(heart, 1) == latest.id

    def refuse(_: object) -> int:
        raise ProjectError("The disk is full: free some space.")

    monkeypatch.setattr(project, "save_head", refuse)
    heart.tell(HeadFitted(b"another", "encoder", "checksum", {heart.opened.id: 1}))
    heart.predict({2: square(1)})
    assert drawn_by(heart, 2) is None


def test_a_head_lost_on_its_way_leaves_masks_without_a_name(heart: Desk) -> None:
    heart.hand.click(20, 20)
    for place, blob in enumerate((b"a head", None)):
        heart.tell(HeadFitted(blob, "encoder", "checksum", {heart.opened.id: 1}))
        heart.predict({place: square(1)})
    assert [drawn_by(heart, 0) is None, drawn_by(heart, 1) is None] == [False, True]


@pytest.mark.parametrize(("checksum", "named"), [("checksum", True), ("another", False)])
def test_a_kept_head_is_named_only_by_an_engine_that_takes_it(
    heart: Desk, checksum: str, named: bool
) -> None:
    heart.hand.click(20, 20)
    heart.tell(HeadFitted(b"a head", "encoder", "checksum", {heart.opened.id: 1}))
    assert heart.workspace.project is not None
    project = heart.workspace.project.path
    heart.workspace.close_project()
    heart.open(project, cines=1)
    heart.tell(Ready("cpu", "encoder", checksum, True))
    heart.predict({5: square(1)})
    assert (drawn_by(heart, 5) is not None) is named


@pytest.mark.parametrize(
    ("event", "words", "level"),
    [
        (EngineDied(-9, True), "restarted", Level.WARNING),
        (EngineDied(-9, False), "three times", Level.ERROR),
        (EngineNotStarted("The encoder is too big: choose a smaller one."), "too big", Level.ERROR),
        (LearningFailure("The engine ran out of memory: close something."), "out of memory", Level.ERROR),
    ],
)
def test_trouble_is_said_and_stops_nothing(heart: Desk, event: Event, words: str, level: Level) -> None:
    heart.tell(event)
    ((told, text), *_) = heart.window.banner.messages()
    assert words in text
    assert told is level
    heart.hand.click(50, 50)
    assert heart.annotated == (0,)
    if level is Level.ERROR:
        buttons = heart.window.banner.findChildren(QPushButton)
        next(b for b in buttons if b.text() == "Resume learning").click()
        assert heart.session.calls == ["resume"]


def test_the_status_line_says_what_the_engine_does(heart: Desk) -> None:
    heart.tell(Ready("cpu", "an encoder", "checksum", False))
    for progress, words in (
        (Progress(1, 0, Stage.FEATURES, 12, 38), "Analysing the cine, 31 %"),
        (Progress(1, 0, Stage.FITTING, 0, 120), "Learning, 0 %"),
        (Progress(1, 0, Stage.FITTING, 40, 120, 0.3), "Learning, 33 %"),
        (Progress(1, 0, Stage.UP_TO_DATE), "Ready"),
    ):
        heart.tell(progress)
        assert heart.window.status.engine.text() == words


@pytest.mark.parametrize("event", [EngineNotStarted("The encoder is too big."), EngineDied(-9, False)])
def test_an_engine_that_is_not_there_is_no_engine_that_is_starting(heart: Desk, event: Event) -> None:
    heart.tell(event)
    assert heart.window.status.engine.text() == "Learning stopped"
    heart.hand.keys("Ctrl+R")
    assert heart.session.calls == ["resume"]
    assert heart.window.status.engine.text() == "Starting"


@pytest.mark.parametrize("stage", [Stage.UP_TO_DATE, Stage.WAITING, Stage.CANCELLED])
def test_stopping_a_resting_engine_does_not_kill_it(
    heart: Desk, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    monkeypatch.setattr("app.workspace.learner.CANCEL_PATIENCE_MS", 10)
    heart.tell(Progress(heart.opened.id, 0, stage))
    heart.hand.keys("Ctrl+.")
    heart.qtbot.wait(40)
    assert "replace_engine" not in heart.session.calls


def test_stopping_an_engine_that_is_starting_does_not_kill_it(
    heart: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.workspace.learner.CANCEL_PATIENCE_MS", 10)
    heart.hand.keys("Ctrl+.")
    heart.qtbot.wait(40)
    assert "replace_engine" not in heart.session.calls


def test_a_deaf_engine_is_killed(heart: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.workspace.learner.CANCEL_PATIENCE_MS", 10)
    heart.tell(Progress(heart.opened.id, 0, Stage.FITTING, 3, 100))
    heart.hand.keys("Ctrl+.")
    heart.qtbot.waitUntil(lambda: "replace_engine" in heart.session.calls)


def test_predictions_of_the_other_cine_wait_for_it(desk: Desk, tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    desk.open(grey_cine(folder / "a.dcm", n=5), grey_cine(folder / "b.dcm", n=9), cines=2)
    a, b = desk.workspace.opened_cines
    desk.hand.click(50, 50)
    desk.hand.keys("PgDown")
    desk.predict({0: square(2)}, cine_id=a.id, revision=1)
    assert desk.window.canvas.predicted.labels is None
    assert b.predictions == {}
    desk.hand.keys("PgUp")
    assert desk.window.canvas.predicted.labels is not None


# While the cine plays


def test_a_stroke_stops_the_playing_and_stays_on_its_frame(heart: Desk) -> None:
    heart.hand.keys("Space")
    heart.qtbot.waitUntil(lambda: heart.opened.frame > 2)
    heart.hand.press(40, 40)
    frame = heart.opened.frame
    assert not heart.window.player_bar.player.is_playing()
    heart.qtbot.wait(120)
    heart.hand.move(70, 40)
    heart.hand.release(70, 40)
    assert heart.annotated == (frame,)
    assert heart.drawn(frame)[40, 40:70].all()


def test_playing_on_does_not_lose_a_stroke_in_the_air(heart: Desk) -> None:
    heart.hand.press(40, 40)
    heart.hand.move(70, 40)
    heart.hand.keys("Space")
    heart.qtbot.waitUntil(lambda: heart.opened.frame > 2)
    heart.hand.release(70, 40)
    assert heart.annotated == (0,)
    assert heart.drawn(0)[40, 40:70].all()


def test_a_step_neither_loses_nor_closes_an_unfinished_outline(heart: Desk) -> None:
    heart.hand.keys("P")
    for x, y in ((40, 30), (70, 30), (70, 60)):
        heart.hand.click(x, y)
    heart.hand.keys("Right", "Left", "Right", "Right")
    assert heart.annotated == ()
    heart.hand.keys("Return")
    assert heart.annotated == (0,)
    assert heart.opened.frame == 0  # the frame of the outline is shown
    assert heart.drawn(0)[35, 65] == 1
