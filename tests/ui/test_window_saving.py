"""Projects that cannot be written: strokes wait in memory, and the window reports it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel, QPushButton

from app.storage.project import Project
from tests.ui.conftest import WindowDriver, square
from tests.unit.readers.dicom_oracle import grey_cine


def set_writable(driver: WindowDriver, writable: bool) -> None:
    """Make SQLite accept or refuse every write, as on a full or read-only disk."""
    assert driver.workspace.project is not None
    for connection in (driver.workspace.project._human, driver.workspace.project._computed):
        connection._sqlite.execute(f"PRAGMA query_only = {'OFF' if writable else 'ON'}")


def status_texts(driver: WindowDriver) -> list[str]:
    return [label.text() for label in driver.window.statusBar().findChildren(QLabel)]


def button(driver: WindowDriver, text: str) -> QPushButton:
    return next(b for b in driver.window.banner.findChildren(QPushButton) if b.text() == text)


def test_strokes_wait_while_the_project_cannot_be_written(driver: WindowDriver) -> None:
    set_writable(driver, False)
    driver.user.click(40, 40)
    driver.user.keys("Right")
    driver.user.click(60, 40)
    assert driver.annotated == (0, 1)
    assert "2 strokes not saved" in status_texts(driver)
    assert [text for text in driver.messages if "Not saved yet" in text]
    button(driver, "Try again").click()
    assert "2 strokes not saved" in status_texts(driver)
    assert driver.messages
    set_writable(driver, True)
    button(driver, "Try again").click()
    assert "Saved" in status_texts(driver)
    assert driver.messages == []
    assert driver.workspace.project is not None
    assert set(driver.workspace.project.annotations(driver.opened.id)) == {0, 1}


def test_undo_works_while_the_project_cannot_be_written(driver: WindowDriver) -> None:
    driver.user.click(40, 40)
    set_writable(driver, False)
    driver.user.click(60, 40)
    driver.user.keys("Ctrl+Z", "Ctrl+Z")
    assert driver.annotated == ()
    assert driver.workspace.saving.pending == 3
    set_writable(driver, True)
    driver.workspace.saving.retry()
    assert driver.workspace.project is not None
    assert driver.workspace.project.annotations(driver.opened.id) == {}


def test_saving_is_retried_automatically(driver: WindowDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.workspace.saving.RETRY_MS", 20)
    set_writable(driver, False)
    driver.user.click(40, 40)
    set_writable(driver, True)
    driver.qtbot.waitUntil(lambda: "Saved" in status_texts(driver))
    assert driver.messages == []
    assert not driver.workspace.saving.is_retrying


def test_closing_with_unsaved_strokes_warns_once(driver: WindowDriver) -> None:
    set_writable(driver, False)
    driver.user.click(40, 40)
    assert not driver.window.close()
    assert driver.window.isVisible()
    assert "1 stroke is not saved" in driver.messages[0]
    driver.user.click(60, 40)  # the window still works
    assert driver.workspace.saving.pending == 2
    assert driver.window.close()
    assert not driver.window.isVisible()


def test_closing_saves_waiting_strokes_without_a_warning(driver: WindowDriver) -> None:
    set_writable(driver, False)
    driver.user.click(40, 40)
    set_writable(driver, True)
    assert driver.workspace.project is not None
    path = driver.workspace.project.path
    assert driver.window.close()
    with Project.open(path) as project:
        assert set(project.annotations(1)) == {0}


def test_saving_elsewhere_includes_the_waiting_strokes(driver: WindowDriver, tmp_path: Path) -> None:
    set_writable(driver, False)
    driver.user.click(40, 40)
    driver.workspace.save_as(tmp_path / "elsewhere.apical")
    assert "Saved" in status_texts(driver)
    driver.user.click(60, 40)
    assert driver.window.close()
    with Project.open(tmp_path / "elsewhere.apical") as project:
        assert project.layer(1).revision == 2


def test_a_file_that_is_not_a_project_is_not_overwritten(driver: WindowDriver, tmp_path: Path) -> None:
    (tmp_path / "thesis.apical").write_text("not a project")
    driver.workspace.save_as(tmp_path / "thesis.apical")
    assert "thesis.apical" in driver.messages[0]
    assert (tmp_path / "thesis.apical").read_text() == "not a project"
    driver.user.click(40, 40)
    assert driver.opened.recorder.pending == 0


def test_another_project_is_opened_only_after_strokes_are_saved(driver: WindowDriver, tmp_path: Path) -> None:
    Project.create(tmp_path / "other.apical").close()
    set_writable(driver, False)
    driver.user.click(40, 40)
    before = driver.workspace.project
    driver.open(tmp_path / "other.apical", cines=1)
    assert driver.workspace.project is before
    assert "other.apical" in driver.messages[0]
    set_writable(driver, True)
    driver.open(tmp_path / "other.apical", cines=0)
    assert driver.workspace.project is not before


def test_an_unwritable_home_folder_is_reported(
    open_driver: Callable[[], WindowDriver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file" / "home"))
    driver = open_driver()
    driver.open(grey_cine(tmp_path / "a.dcm"), cines=0)
    assert "APICAL_HOME" in driver.messages[0]


def test_predictions_that_cannot_be_stored_are_still_displayed(driver: WindowDriver) -> None:
    set_writable(driver, False)
    driver.predict({0: square(1)})
    assert driver.opened.predictions[0].mask.any()
    driver.window.view_state.save()
    assert driver.messages == []


def test_the_window_stores_its_position_in_the_home_folder(driver: WindowDriver) -> None:
    driver.window.close()
    home = Path(os.environ["APICAL_HOME"])
    assert [file for file in (home / "config").iterdir() if "window" in file.name]
