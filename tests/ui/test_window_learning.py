"""Labels that heads are fitted to, restored heads, and stopping the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton

from app.domain.cine import Cine
from app.domain.labels import LEFT_HEART, LabelSet, Structure
from app.engine.events import EngineDied, HeadFitted, LearningFailure, PredictedMasks
from app.readers.open import open_cine
from app.storage.project import Project
from app.ui.notices import notice_text
from app.workspace.notice import EngineBusy
from app.workspace.opened_cine import OpenedCine
from tests.ui.conftest import WindowDriver, square
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.service.messages import CancelReceived, Progress, Stage

OpenDriver = Callable[[], WindowDriver]


@pytest.fixture
def two_files(tmp_path: Path) -> tuple[Path, Path]:
    """Return the paths of two cines of different lengths."""
    return grey_cine(tmp_path / "a.dcm", n=5), grey_cine(tmp_path / "b.dcm", n=6)


def annotate_both(driver: WindowDriver) -> None:
    """Paint on the first frame of both cines, and show the first cine again."""
    driver.user.click(50, 50)
    driver.user.keys("PgDown", "B")
    driver.user.click(60, 60)
    driver.user.keys("PgUp", "B")


def predict_all(driver: WindowDriver, opened: OpenedCine) -> None:
    """Emit a prediction of every frame of a cine."""
    masks = {f: square(1) for f in range(opened.cine.n_frames)}
    driver.emit(PredictedMasks(opened.id, opened.revision, masks, dict.fromkeys(masks, 0.8), True))


def last_is_fitted(driver: WindowDriver) -> dict[int, bool]:
    """Return for each cine whether its labels were last sent as fitted."""
    return {cine_id: is_fitted for cine_id, _, _, is_fitted in driver.session.labels}


# Cines that are fitted


def test_a_cine_with_predictions_of_an_earlier_head_is_fitted_again(
    empty_driver: WindowDriver, two_files: tuple[Path, Path]
) -> None:
    empty_driver.open(*two_files, cines=2)
    a, b = empty_driver.workspace.opened_cines
    annotate_both(empty_driver)
    empty_driver.emit(HeadFitted(b"first", "encoder", "checksum", {a.id: 1, b.id: 1}))
    predict_all(empty_driver, a)
    predict_all(empty_driver, b)
    empty_driver.user.click(80, 50)  # leads to a new fit; B is not predicted again
    empty_driver.emit(HeadFitted(b"second", "encoder", "checksum", {a.id: 2, b.id: 1}))
    predict_all(empty_driver, a)
    assert empty_driver.workspace.project is not None
    project = empty_driver.workspace.project.path
    empty_driver.workspace.close_project()
    empty_driver.open(project, cines=2)
    assert last_is_fitted(empty_driver) == {a.id: True, b.id: False}
    b = next(o for o in empty_driver.workspace.opened_cines if o.id == b.id)
    empty_driver.emit(PredictedMasks(b.id, 1, {0: square(2)}, {0: 0.9}, True))
    assert empty_driver.workspace.project is not None
    stored = empty_driver.workspace.project.predictions(b.id)
    assert (stored[0].head_id or 0) > (stored[1].head_id or 0)


def left_heart(*, wall_code: str = "49848007", wall_value: int = 2) -> LabelSet:
    """Return the label set of the left heart with another code or value of the wall."""
    cavity, wall, atrium = LEFT_HEART.structures
    return LabelSet("Left heart", (cavity, replace(wall, snomed=wall_code, value=wall_value), atrium))


@pytest.mark.parametrize(
    ("label_set", "is_restored"),
    [
        (replace(LEFT_HEART, name="Heart, left"), True),
        (
            LabelSet(
                "x", tuple(replace(c, colour=(1, 2, 3), name=c.name.upper()) for c in LEFT_HEART.structures)
            ),
            True,
        ),
        (left_heart(wall_code="244384009"), False),
        (left_heart(wall_value=4), False),
        (LabelSet("Left heart", LEFT_HEART.structures[:2]), False),
        (LabelSet("Left heart", (*LEFT_HEART.structures, Structure(4, "RV", (9, 9, 9)))), False),
    ],
    ids=["renamed", "recoloured", "another code", "another value", "fewer", "more"],
)
def test_a_head_is_restored_only_for_the_structures_that_it_predicts(
    driver: WindowDriver, tmp_path: Path, label_set: LabelSet, is_restored: bool
) -> None:
    driver.user.click(20, 20)
    driver.emit(HeadFitted(b"a head", "encoder", "checksum", {driver.opened.id: 1}))
    driver.workspace.save_as(tmp_path / "edited")
    driver.workspace.close_project()
    with Project.open(tmp_path / "edited.apical") as project:
        project.set_label_set(label_set)
    driver.open(tmp_path / "edited.apical", cines=1)
    assert ("restore_head" in driver.session.calls) is is_restored


@pytest.mark.parametrize(
    ("label_set", "is_restored"), [(LEFT_HEART, True), (left_heart(wall_code="244384009"), False)]
)
def test_a_head_stored_by_an_older_program_is_restored_only_for_the_left_heart(
    driver: WindowDriver, tmp_path: Path, label_set: LabelSet, is_restored: bool
) -> None:
    driver.user.click(20, 20)
    driver.workspace.save_as(tmp_path / "old")
    project = driver.workspace.project
    assert project is not None
    driver.emit(HeadFitted(b"a head", "encoder", "checksum", {driver.opened.id: 1}))
    record = project.latest_head()
    assert record is not None
    project.save_head(replace(record, label_set="Left heart"))
    project.set_label_set(label_set)
    driver.workspace.close_project()
    driver.open(tmp_path / "old.apical", cines=1)
    assert ("restore_head" in driver.session.calls) is is_restored


# Cines of the project that the user did not open


def test_labels_of_cines_that_the_user_did_not_open_are_fitted(
    open_driver: OpenDriver, two_files: tuple[Path, Path]
) -> None:
    first = open_driver()
    first.open(*two_files, cines=2)
    annotate_both(first)
    first.window.close()
    second = open_driver()
    second.open(two_files[1])
    assert second.opened.cine.path == two_files[1]
    assert {o.cine.path for o in second.workspace.opened_cines} == set(two_files)
    sent = {cine_id: sorted(labels) for cine_id, _, labels, _ in second.session.labels}
    assert sent == {o.id: [0] for o in second.workspace.opened_cines}
    assert second.messages == []
    second.open(two_files[0], cines=2)  # now opened by the user as well
    assert second.opened.cine.path == two_files[0]
    assert len(second.session.labels) == 2  # nothing is sent again


def test_cines_without_labels_are_not_opened(open_driver: OpenDriver, two_files: tuple[Path, Path]) -> None:
    first = open_driver()
    first.open(*two_files, cines=2)
    first.user.click(50, 50)
    first.window.close()
    second = open_driver()
    second.open(two_files[0], cines=1)


def test_a_missing_labelled_cine_is_reported_once_and_skipped(
    open_driver: OpenDriver, two_files: tuple[Path, Path]
) -> None:
    first = open_driver()
    first.open(*two_files, cines=2)
    annotate_both(first)
    first.window.close()
    two_files[1].unlink()
    second = open_driver()
    second.open(two_files[0], cines=1)
    second.user.keys("Right")
    second.user.click(70, 70)
    (message,) = second.messages
    assert "b.dcm" in message
    assert "annotations are kept" in message
    assert set(last_is_fitted(second)) == {second.opened.id}


def test_a_file_of_the_same_name_with_other_content_is_not_mistaken_for_the_cine(
    open_driver: OpenDriver, two_files: tuple[Path, Path]
) -> None:
    first = open_driver()
    first.open(*two_files, cines=2)
    annotate_both(first)
    first.window.close()
    grey_cine(two_files[1], n=9)
    second = open_driver()
    second.open(two_files[0], cines=1)
    assert second.workspace.project is not None
    assert len(second.workspace.project.cines()) == 2
    assert "b.dcm" in second.messages[0]


def test_a_stop_stays_in_effect_while_labelled_cines_are_still_being_opened(
    open_driver: OpenDriver, two_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_driver()
    first.open(*two_files, cines=2)
    annotate_both(first)
    first.window.close()
    gate = Gate(monkeypatch, two_files[1])
    second = open_driver()
    second.workspace.open_paths([two_files[0]])
    second.qtbot.waitUntil(lambda: second.window.visible_cine is not None)
    second.user.keys("Ctrl+.")
    gate.open()
    second.settle()
    assert set(last_is_fitted(second)) == {second.opened.id}
    second.user.keys("Ctrl+R")
    assert set(last_is_fitted(second)) == {o.id for o in second.workspace.opened_cines}
    assert len(second.workspace.opened_cines) == 2


# Files that are still being opened


class Gate:
    """Delays the opening of one file until the gate is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, delayed: Path) -> None:
        self._is_open = threading.Event()
        self.reached = threading.Event()
        self.opened: list[Cine] = []

        def open_when_allowed(path: Path) -> Cine:
            if path == delayed:
                self.reached.set()
                assert self._is_open.wait(20)
            self.opened.append(open_cine(path))
            return self.opened[-1]

        monkeypatch.setattr("app.workspace.opener.open_cine", open_when_allowed)

    def open(self) -> None:
        self._is_open.set()


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_file_that_is_still_opening_is_not_added_to_the_next_project(
    empty_driver: WindowDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_folder: bool
) -> None:
    (tmp_path / "study").mkdir()
    first = grey_cine(tmp_path / "study" / "a.dcm")
    late = grey_cine(tmp_path / "study" / "b.dcm", n=7)
    gate = Gate(monkeypatch, late)
    other = tmp_path / "other.apical"
    Project.create(other).close()
    empty_driver.workspace.open_paths([first.parent] if as_folder else [first, late])
    empty_driver.qtbot.waitUntil(lambda: empty_driver.window.visible_cine is not None)
    empty_driver.window.navigation.step_cine(1)
    empty_driver.qtbot.waitUntil(gate.reached.is_set)
    empty_driver.workspace.open_paths([other])
    gate.open()
    empty_driver.qtbot.waitUntil(lambda: len(gate.opened) == 2)
    empty_driver.settle()
    empty_driver.qtbot.wait(50)
    assert empty_driver.workspace.project is not None
    assert empty_driver.workspace.project.path == other
    assert empty_driver.workspace.opened_cines == []
    assert empty_driver.workspace.project.cines() == []
    ((_, text),) = [m for m in empty_driver.window.banner.messages() if "other.apical" in m[1]]
    assert text.startswith("1 file was still being opened")
    empty_driver.open(late, cines=1)
    assert empty_driver.workspace.project.path == other


def test_a_folder_that_is_still_being_searched_is_not_added_to_the_next_project(
    empty_driver: WindowDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study").mkdir()
    file = grey_cine(tmp_path / "study" / "a.dcm")
    reached, released = threading.Event(), threading.Event()

    def search(_: object) -> list[Path]:
        reached.set()
        assert released.wait(20)
        return [file]

    monkeypatch.setattr("app.workspace.opener.cine_paths", search)
    other = tmp_path / "other.apical"
    Project.create(other).close()
    empty_driver.workspace.open_paths([file.parent])
    assert reached.wait(20)
    empty_driver.workspace.open_paths([other])
    released.set()
    empty_driver.qtbot.wait(100)
    empty_driver.settle()
    assert empty_driver.workspace.opened_cines == []


def test_a_file_that_is_still_opening_when_the_project_is_closed_does_not_create_a_project(
    empty_driver: WindowDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, late = grey_cine(tmp_path / "a.dcm"), grey_cine(tmp_path / "b.dcm", n=7)
    gate = Gate(monkeypatch, late)
    empty_driver.workspace.open_paths([first, late])
    empty_driver.qtbot.waitUntil(lambda: empty_driver.window.visible_cine is not None)
    empty_driver.window.navigation.step_cine(1)
    empty_driver.qtbot.waitUntil(gate.reached.is_set)
    empty_driver.workspace.close_project()
    gate.open()
    empty_driver.qtbot.waitUntil(lambda: len(gate.opened) == 2)
    empty_driver.qtbot.wait(50)
    assert empty_driver.workspace.project is None
    assert empty_driver.workspace.opened_cines == []
    assert empty_driver.workspace.opening == 0


def test_files_opened_together_with_a_project_are_added_to_it(
    empty_driver: WindowDriver, tmp_path: Path
) -> None:
    project = tmp_path / "mine.apical"
    Project.create(project).close()
    empty_driver.open(grey_cine(tmp_path / "a.dcm"), project, cines=1)
    assert empty_driver.workspace.project is not None
    assert empty_driver.workspace.project.path == project


# Stopping


def busy_notice_is_shown(driver: WindowDriver) -> bool:
    return notice_text(EngineBusy()) in [text for _, text in driver.window.banner.messages()]


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stop time out after 20 ms."""
    monkeypatch.setattr("app.workspace.learner.CONFIRM_TIMEOUT_MS", 20)


@pytest.mark.usefixtures("short_timeout")
def test_a_busy_engine_is_not_killed_by_a_stop(driver: WindowDriver) -> None:
    driver.emit(Progress(driver.opened.id, 0, Stage.FEATURES, 3, 38))
    driver.user.keys("Ctrl+.")
    driver.emit(CancelReceived())
    assert driver.window.status.engine.text() == "Stopping after the current clip"
    assert not driver.window.learning.stop.isEnabled()
    driver.emit(Progress(driver.opened.id, 0, Stage.FEATURES, 4, 38))  # from the clip in progress
    assert driver.window.status.engine.text() == "Stopping after the current clip"
    driver.qtbot.waitUntil(lambda: busy_notice_is_shown(driver))
    assert "replace_engine" not in driver.session.calls
    driver.emit(Progress(driver.opened.id, 0, Stage.CANCELLED))
    assert driver.window.status.engine.text() == "Learning stopped"
    assert not busy_notice_is_shown(driver)


@pytest.mark.usefixtures("short_timeout")
def test_an_engine_that_does_not_stop_can_be_restarted_by_the_user(driver: WindowDriver) -> None:
    driver.emit(Progress(driver.opened.id, 0, Stage.FITTING, 3, 38))
    driver.user.keys("Ctrl+.")
    driver.emit(CancelReceived())
    assert driver.window.status.engine.text() == "Stopping after the current step"
    driver.qtbot.waitUntil(lambda: busy_notice_is_shown(driver))
    buttons = driver.window.banner.findChildren(QPushButton)
    next(b for b in buttons if b.text() == "Restart the engine").click()
    assert "replace_engine" in driver.session.calls
    assert not busy_notice_is_shown(driver)
    assert driver.window.status.engine.text() == "Starting"


@pytest.mark.usefixtures("short_timeout")
def test_a_stroke_while_the_engine_is_stopping_resumes_learning(driver: WindowDriver) -> None:
    driver.emit(Progress(driver.opened.id, 0, Stage.FITTING, 3, 38))
    driver.user.keys("Ctrl+.")
    driver.user.click(50, 50)
    driver.emit(CancelReceived())  # late
    driver.emit(Progress(driver.opened.id, 1, Stage.FITTING, 1, 38))
    assert driver.window.status.engine.text() == "Learning, 2 %"
    driver.qtbot.wait(60)
    assert "replace_engine" not in driver.session.calls
    assert not busy_notice_is_shown(driver)


# Errors


@pytest.mark.parametrize(
    ("exit_code", "is_killed"), [(-9, True), (-11, False), (1, False), (3221225477, False)]
)
def test_memory_is_mentioned_only_if_the_engine_was_killed(
    driver: WindowDriver, exit_code: int, is_killed: bool
) -> None:
    driver.emit(EngineDied(exit_code, False))
    (message,) = driver.messages
    assert "three times" in message
    assert ("close other programs" in message.lower()) is is_killed


def test_an_error_of_a_cine_names_the_cine(driver: WindowDriver) -> None:
    driver.emit(LearningFailure("This cine is left out of learning (IndexError: x).", driver.opened.id))
    driver.emit(LearningFailure("Learning stopped (IndexError: x)."))
    assert sorted(driver.messages) == [
        "Learning stopped (IndexError: x).",
        "heart.dcm: This cine is left out of learning (IndexError: x).",
    ]
