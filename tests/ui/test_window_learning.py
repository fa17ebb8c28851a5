"""Cines and labels used for learning, restored heads, and stopping."""

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
def two(tmp_path: Path) -> tuple[Path, Path]:
    return grey_cine(tmp_path / "a.dcm", n=5), grey_cine(tmp_path / "b.dcm", n=6)


def outline_both(empty_driver: WindowDriver) -> None:
    empty_driver.user.click(50, 50)
    empty_driver.user.keys("PgDown", "B")
    empty_driver.user.click(60, 60)
    empty_driver.user.keys("PgUp", "B")


def predict_all(empty_driver: WindowDriver, opened: OpenedCine) -> None:
    masks = {f: square(1) for f in range(opened.cine.n_frames)}
    empty_driver.tell(PredictedMasks(opened.id, opened.revision, masks, dict.fromkeys(masks, 0.8), True))


def last_told(empty_driver: WindowDriver) -> dict[int, bool]:
    """Of each cine whose labels the session was told, whether they were said to be learnt."""
    return {cine_id: learnt for cine_id, _, _, learnt in empty_driver.session.labels}


# What is learnt


def test_masks_of_an_older_head_are_fitted_again(empty_driver: WindowDriver, two: tuple[Path, Path]) -> None:
    empty_driver.open(*two, cines=2)
    a, b = empty_driver.workspace.opened_cines
    outline_both(empty_driver)
    empty_driver.tell(HeadFitted(b"first", "encoder", "checksum", {a.id: 1, b.id: 1}))
    predict_all(empty_driver, a)
    predict_all(empty_driver, b)
    empty_driver.user.click(80, 50)  # a correction of A makes a new head; B is not looked at again
    empty_driver.tell(HeadFitted(b"second", "encoder", "checksum", {a.id: 2, b.id: 1}))
    predict_all(empty_driver, a)
    assert empty_driver.workspace.project is not None
    project = empty_driver.workspace.project.path
    empty_driver.workspace.close_project()
    empty_driver.open(project, cines=2)
    assert last_told(empty_driver) == {a.id: True, b.id: False}
    b = next(o for o in empty_driver.workspace.opened_cines if o.id == b.id)
    empty_driver.tell(PredictedMasks(b.id, 1, {0: square(2)}, {0: 0.9}, True))
    assert empty_driver.workspace.project is not None
    kept = empty_driver.workspace.project.predictions(b.id)
    assert (kept[0].head_id or 0) > (kept[1].head_id or 0)


def edited(name: str, *, second: str = "49848007", value: int = 2) -> LabelSet:
    cavity, wall, atrium = LEFT_HEART.structures
    return LabelSet(name, (cavity, replace(wall, snomed=second, value=value), atrium))


@pytest.mark.parametrize(
    ("label_set", "taken"),
    [
        (replace(LEFT_HEART, name="Heart, left"), True),
        (
            LabelSet(
                "x", tuple(replace(c, colour=(1, 2, 3), name=c.name.upper()) for c in LEFT_HEART.structures)
            ),
            True,
        ),
        (edited("Left heart", second="244384009"), False),
        (edited("Left heart", value=4), False),
        (LabelSet("Left heart", LEFT_HEART.structures[:2]), False),
        (LabelSet("Left heart", (*LEFT_HEART.structures, Structure(4, "RV", (9, 9, 9)))), False),
    ],
    ids=["renamed", "recoloured", "another code", "another value", "fewer", "more"],
)
def test_a_head_is_taken_up_for_the_structures_that_it_draws(
    driver: WindowDriver, tmp_path: Path, label_set: LabelSet, taken: bool
) -> None:
    driver.user.click(20, 20)
    driver.tell(HeadFitted(b"a head", "encoder", "checksum", {driver.opened.id: 1}))
    driver.workspace.save_as(tmp_path / "edited")
    driver.workspace.close_project()
    with Project.open(tmp_path / "edited.apical") as project:
        project.set_label_set(label_set)
    driver.open(tmp_path / "edited.apical", cines=1)
    assert ("restore_head" in driver.session.calls) is taken


@pytest.mark.parametrize(
    ("label_set", "taken"), [(LEFT_HEART, True), (edited("Left heart", second="244384009"), False)]
)
def test_a_head_of_an_older_version_is_taken_up_for_the_left_heart(
    driver: WindowDriver, tmp_path: Path, label_set: LabelSet, taken: bool
) -> None:
    driver.user.click(20, 20)
    driver.workspace.save_as(tmp_path / "old")
    project = driver.workspace.project
    assert project is not None
    driver.tell(HeadFitted(b"a head", "encoder", "checksum", {driver.opened.id: 1}))
    record = project.latest_head()
    assert record is not None
    project.save_head(replace(record, label_set="Left heart"))
    project.set_label_set(label_set)
    driver.workspace.close_project()
    driver.open(tmp_path / "old.apical", cines=1)
    assert ("restore_head" in driver.session.calls) is taken


# Cines of the project that nobody opened


def test_labels_of_cines_that_were_not_opened_take_part(
    open_driver: OpenDriver, two: tuple[Path, Path]
) -> None:
    first = open_driver()
    first.open(*two, cines=2)
    outline_both(first)
    first.window.close()
    second = open_driver()
    second.open(two[1])
    assert second.opened.cine.path == two[1]
    assert {o.cine.path for o in second.workspace.opened_cines} == set(two)
    told = {cine_id: sorted(labels) for cine_id, _, labels, _ in second.session.labels}
    assert told == {o.id: [0] for o in second.workspace.opened_cines}
    assert second.messages == []
    second.open(two[0], cines=2)  # opened by hand as well
    assert second.opened.cine.path == two[0]
    assert len(second.session.labels) == 2  # and not told again


def test_cines_without_labels_are_left_where_they_are(
    open_driver: OpenDriver, two: tuple[Path, Path]
) -> None:
    first = open_driver()
    first.open(*two, cines=2)
    first.user.click(50, 50)
    first.window.close()
    second = open_driver()
    second.open(two[0], cines=1)


def test_a_missing_labelled_cine_is_reported_once_and_skipped(
    open_driver: OpenDriver, two: tuple[Path, Path]
) -> None:
    first = open_driver()
    first.open(*two, cines=2)
    outline_both(first)
    first.window.close()
    two[1].unlink()
    second = open_driver()
    second.open(two[0], cines=1)
    second.user.keys("Right")
    second.user.click(70, 70)
    (message,) = second.messages
    assert "b.dcm" in message
    assert "annotations are kept" in message
    assert set(last_told(second)) == {second.opened.id}


def test_a_file_with_another_content_is_not_taken_for_the_cine_of_its_name(
    open_driver: OpenDriver, two: tuple[Path, Path]
) -> None:
    first = open_driver()
    first.open(*two, cines=2)
    outline_both(first)
    first.window.close()
    grey_cine(two[1], n=9)
    second = open_driver()
    second.open(two[0], cines=1)
    assert second.workspace.project is not None
    assert len(second.workspace.project.cines()) == 2
    assert "b.dcm" in second.messages[0]


def test_a_stop_holds_while_labelled_cines_are_still_being_opened(
    open_driver: OpenDriver, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_driver()
    first.open(*two, cines=2)
    outline_both(first)
    first.window.close()
    gate = Gate(monkeypatch, two[1])
    second = open_driver()
    second.workspace.open_paths([two[0]])
    second.qtbot.waitUntil(lambda: second.window.visible_cine is not None)
    second.user.keys("Ctrl+.")
    gate.open()
    second.settle()
    assert set(last_told(second)) == {second.opened.id}
    second.user.keys("Ctrl+R")
    assert set(last_told(second)) == {o.id for o in second.workspace.opened_cines}
    assert len(second.workspace.opened_cines) == 2


# Files that are still being opened


class Gate:
    """A file that takes its time to open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slow: Path) -> None:
        self._event = threading.Event()
        self.reached = threading.Event()
        self.opened: list[Cine] = []

        def slowly(path: Path) -> Cine:
            if path == slow:
                self.reached.set()
                assert self._event.wait(20)
            self.opened.append(open_cine(path))
            return self.opened[-1]

        monkeypatch.setattr("app.workspace.opener.open_cine", slowly)

    def open(self) -> None:
        self._event.set()


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_file_still_opening_does_not_land_in_the_next_project(
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


def test_a_folder_still_being_searched_does_not_land_in_the_next_project(
    empty_driver: WindowDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study").mkdir()
    file = grey_cine(tmp_path / "study" / "a.dcm")
    reached, go_on = threading.Event(), threading.Event()

    def search(_: object) -> list[Path]:
        reached.set()
        assert go_on.wait(20)
        return [file]

    monkeypatch.setattr("app.workspace.opener.cine_paths", search)
    other = tmp_path / "other.apical"
    Project.create(other).close()
    empty_driver.workspace.open_paths([file.parent])
    assert reached.wait(20)
    empty_driver.workspace.open_paths([other])
    go_on.set()
    empty_driver.qtbot.wait(100)
    empty_driver.settle()
    assert empty_driver.workspace.opened_cines == []


def test_a_file_still_opening_when_the_project_is_closed_makes_no_new_one(
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


def test_files_opened_together_with_a_project_become_part_of_it(
    empty_driver: WindowDriver, tmp_path: Path
) -> None:
    project = tmp_path / "mine.apical"
    Project.create(project).close()
    empty_driver.open(grey_cine(tmp_path / "a.dcm"), project, cines=1)
    assert empty_driver.workspace.project is not None
    assert empty_driver.workspace.project.path == project


# Stopping


def busy_is_said(empty_driver: WindowDriver) -> bool:
    return notice_text(EngineBusy()) in [text for _, text in empty_driver.window.banner.messages()]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.workspace.learner.CONFIRM_TIMEOUT_MS", 20)


@pytest.mark.usefixtures("impatient")
def test_a_busy_engine_is_not_killed_by_a_stop(driver: WindowDriver) -> None:
    driver.tell(Progress(driver.opened.id, 0, Stage.FEATURES, 3, 38))
    driver.user.keys("Ctrl+.")
    driver.tell(CancelReceived())
    assert driver.window.status.engine.text() == "Stopping after the current clip"
    assert not driver.window.learning.stop.isEnabled()
    driver.tell(Progress(driver.opened.id, 0, Stage.FEATURES, 4, 38))  # of the clip that was under way
    assert driver.window.status.engine.text() == "Stopping after the current clip"
    driver.qtbot.waitUntil(lambda: busy_is_said(driver))
    assert "replace_engine" not in driver.session.calls
    driver.tell(Progress(driver.opened.id, 0, Stage.CANCELLED))
    assert driver.window.status.engine.text() == "Learning stopped"
    assert not busy_is_said(driver)


@pytest.mark.usefixtures("impatient")
def test_an_engine_that_does_not_stop_can_be_restarted_by_the_user(driver: WindowDriver) -> None:
    driver.tell(Progress(driver.opened.id, 0, Stage.FITTING, 3, 38))
    driver.user.keys("Ctrl+.")
    driver.tell(CancelReceived())
    assert driver.window.status.engine.text() == "Stopping after the current step"
    driver.qtbot.waitUntil(lambda: busy_is_said(driver))
    buttons = driver.window.banner.findChildren(QPushButton)
    next(b for b in buttons if b.text() == "Restart the engine").click()
    assert "replace_engine" in driver.session.calls
    assert not busy_is_said(driver)
    assert driver.window.status.engine.text() == "Starting"


@pytest.mark.usefixtures("impatient")
def test_a_stroke_while_the_engine_stops_goes_on(driver: WindowDriver) -> None:
    driver.tell(Progress(driver.opened.id, 0, Stage.FITTING, 3, 38))
    driver.user.keys("Ctrl+.")
    driver.user.click(50, 50)
    driver.tell(CancelReceived())  # late
    driver.tell(Progress(driver.opened.id, 1, Stage.FITTING, 1, 38))
    assert driver.window.status.engine.text() == "Learning, 2 %"
    driver.qtbot.wait(60)
    assert "replace_engine" not in driver.session.calls
    assert not busy_is_said(driver)


# Trouble


@pytest.mark.parametrize(("exit_code", "memory"), [(-9, True), (-11, False), (1, False), (3221225477, False)])
def test_only_a_killed_engine_is_a_matter_of_memory(
    driver: WindowDriver, exit_code: int, memory: bool
) -> None:
    driver.tell(EngineDied(exit_code, False))
    (message,) = driver.messages
    assert "three times" in message
    assert ("close other programs" in message.lower()) is memory


def test_a_cine_that_fails_is_named(driver: WindowDriver) -> None:
    driver.tell(LearningFailure("This cine is left out of learning (IndexError: x).", driver.opened.id))
    driver.tell(LearningFailure("Learning stopped (IndexError: x)."))
    assert sorted(driver.messages) == [
        "Learning stopped (IndexError: x).",
        "heart.dcm: This cine is left out of learning (IndexError: x).",
    ]
