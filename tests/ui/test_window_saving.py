"""When the disk refuses: strokes wait in memory, the window says so, and nothing goes without a word."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel, QPushButton

from app.storage.project import Project
from tests.ui.conftest import Desk, square
from tests.unit.readers.dicom_oracle import grey_cine


def refuse(desk: Desk, on: bool = True) -> None:
    """Let SQLite refuse every write, as on a full or read-only disk."""
    assert desk.workspace.project is not None
    for connection in (desk.workspace.project._human, desk.workspace.project._computed):
        connection._sqlite.execute(f"PRAGMA query_only = {'ON' if on else 'OFF'}")


def status(desk: Desk) -> list[str]:
    return [label.text() for label in desk.window.statusBar().findChildren(QLabel)]


def button(desk: Desk, text: str) -> QPushButton:
    return next(b for b in desk.window.banner.findChildren(QPushButton) if b.text() == text)


def test_strokes_wait_while_the_disk_refuses(heart: Desk) -> None:
    refuse(heart)
    heart.hand.click(40, 40)
    heart.hand.keys("Right")
    heart.hand.click(60, 40)
    assert heart.annotated == (0, 1)
    assert "2 strokes not saved" in status(heart)
    assert [text for text in heart.messages if "Not saved yet" in text]
    button(heart, "Try again").click()
    assert "2 strokes not saved" in status(heart)
    assert heart.messages
    refuse(heart, False)
    button(heart, "Try again").click()
    assert "Saved" in status(heart)
    assert heart.messages == []
    assert heart.workspace.project is not None
    assert set(heart.workspace.project.annotations(heart.opened.id)) == {0, 1}


def test_undo_goes_on_while_the_disk_refuses(heart: Desk) -> None:
    heart.hand.click(40, 40)
    refuse(heart)
    heart.hand.click(60, 40)
    heart.hand.keys("Ctrl+Z", "Ctrl+Z")
    assert heart.annotated == ()
    assert heart.workspace.saving.pending == 3
    refuse(heart, False)
    heart.workspace.saving.retry()
    assert heart.workspace.project is not None
    assert heart.workspace.project.annotations(heart.opened.id) == {}


def test_it_tries_again_by_itself(heart: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.workspace.saving.RETRY_MS", 20)
    refuse(heart)
    heart.hand.click(40, 40)
    refuse(heart, False)
    heart.qtbot.waitUntil(lambda: "Saved" in status(heart))
    assert heart.messages == []
    assert not heart.workspace.saving.is_retrying


def test_closing_with_unsaved_strokes_warns_once(heart: Desk) -> None:
    refuse(heart)
    heart.hand.click(40, 40)
    assert not heart.window.close()
    assert heart.window.isVisible()
    assert "1 stroke is not saved" in heart.messages[0]
    heart.hand.click(60, 40)  # the window still works
    assert heart.workspace.saving.pending == 2
    assert heart.window.close()
    assert not heart.window.isVisible()


def test_closing_after_the_disk_has_room_again_says_nothing(heart: Desk) -> None:
    refuse(heart)
    heart.hand.click(40, 40)
    refuse(heart, False)
    assert heart.workspace.project is not None
    path = heart.workspace.project.path
    assert heart.window.close()
    with Project.open(path) as project:
        assert set(project.annotations(1)) == {0}


def test_saving_elsewhere_takes_the_waiting_strokes_along(heart: Desk, tmp_path: Path) -> None:
    refuse(heart)
    heart.hand.click(40, 40)
    heart.workspace.save_as(tmp_path / "elsewhere.apical")
    assert "Saved" in status(heart)
    heart.hand.click(60, 40)
    assert heart.window.close()
    with Project.open(tmp_path / "elsewhere.apical") as project:
        assert project.layer(1).revision == 2


def test_saving_onto_something_else_is_refused(heart: Desk, tmp_path: Path) -> None:
    (tmp_path / "thesis.apical").write_text("not a project")
    heart.workspace.save_as(tmp_path / "thesis.apical")
    assert "thesis.apical" in heart.messages[0]
    assert (tmp_path / "thesis.apical").read_text() == "not a project"
    heart.hand.click(40, 40)
    assert heart.opened.recorder.pending == 0


def test_another_project_waits_for_unsaved_strokes(heart: Desk, tmp_path: Path) -> None:
    Project.create(tmp_path / "other.apical").close()
    refuse(heart)
    heart.hand.click(40, 40)
    before = heart.workspace.project
    heart.open(tmp_path / "other.apical", cines=1)
    assert heart.workspace.project is before
    assert "other.apical" in heart.messages[0]
    refuse(heart, False)
    heart.open(tmp_path / "other.apical", cines=0)
    assert heart.workspace.project is not before


def test_a_home_that_cannot_be_written_is_said(
    open_desk: Callable[[], Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file" / "home"))
    desk = open_desk()
    desk.open(grey_cine(tmp_path / "a.dcm"), cines=0)
    assert "APICAL_HOME" in desk.messages[0]


def test_predictions_that_cannot_be_kept_are_still_shown(heart: Desk) -> None:
    refuse(heart)
    heart.predict({0: square(1)})
    assert heart.opened.predictions[0].mask.any()
    heart.window.view_state.save()
    assert heart.messages == []


def test_the_window_remembers_its_place_in_its_own_home(heart: Desk) -> None:
    heart.window.close()
    home = Path(os.environ["APICAL_HOME"])
    assert [file for file in (home / "config").iterdir() if "window" in file.name]
