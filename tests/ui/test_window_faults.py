"""Internal errors, and file names that are not valid UTF-8."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app import paths
from app.ui.application import report_faults
from app.ui.local_files import local_path
from tests.ui.conftest import WindowDriver
from tests.unit.readers.dicom_oracle import grey_cine

OpenDriver = Callable[[], WindowDriver]


def test_an_unexpected_error_names_the_file_and_the_log_but_not_the_patient(
    driver: WindowDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise RuntimeError("Smith^Secret")

    monkeypatch.setattr("app.workspace.opener.open_cine", fail)
    driver.open(grey_cine(tmp_path / "odd.dcm"))
    assert "odd.dcm could not be opened (RuntimeError)" in driver.messages[0]
    log = paths.log_file()
    assert str(log) in driver.messages[0]
    assert "test_window_faults.py" in log.read_text()
    assert "Secret" not in driver.messages[0] + log.read_text()


def test_an_internal_error_is_displayed_and_not_printed(
    driver: WindowDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.excepthook
    with report_faults(driver.window):
        error = RuntimeError("Smith^Secret")
        sys.excepthook(RuntimeError, error, None)
    assert sys.excepthook is before
    assert "An internal error occurred (RuntimeError)" in driver.messages[0]
    assert "Secret" not in driver.messages[0] + "".join(capsys.readouterr())


def test_an_error_in_a_signal_callback_is_reported_with_its_type(driver: WindowDriver) -> None:
    def fail() -> None:
        raise KeyError("x")

    driver.workspace.labels_changed.connect(fail)
    with report_faults(driver.window):
        try:
            driver.workspace.labels_changed.emit()
        except Exception as error:
            sys.excepthook(type(error), error, None)
    assert "An internal error occurred (KeyError)" in driver.messages[0]
    driver.workspace.labels_changed.disconnect(fail)


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="names are Unicode there")
def test_a_cine_whose_name_is_not_utf8_is_opened_saved_and_found_again(
    empty_driver: WindowDriver, open_driver: OpenDriver, tmp_path: Path
) -> None:
    """Such names result from unpacking an archive made on Windows."""
    path = tmp_path / os.fsdecode(b"herz_\xe4.dcm")
    grey_cine(tmp_path / "a.dcm").rename(path)
    empty_driver.open(local_path(str(tmp_path / "herz_\N{REPLACEMENT CHARACTER}.dcm")))
    assert empty_driver.messages == []
    assert empty_driver.opened.cine.path == path
    empty_driver.user.click(60, 50)
    assert empty_driver.opened.recorder.pending == 0
    empty_driver.open(tmp_path / os.fsdecode(b"gone_\xe4.dcm"), cines=1)
    assert len(empty_driver.messages) == 1
    assert empty_driver.workspace.project is not None
    (record,) = empty_driver.workspace.project.cines()
    assert record.path == path
