"""First step: selection of cines, estimate and length."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent

from app.formatting import format_duration
from app.processes.child import STOPPED
from tests.ui.pretraining.conftest import PretrainingDriver


def test_cines_of_the_project_are_selected_and_nothing_starts_by_itself(
    pretraining: PretrainingDriver, cine_file: Path
) -> None:
    page = pretraining.dialog.cines
    assert pretraining.dialog.isVisible()
    assert not pretraining.dialog.isModal()
    assert page.sources.chosen() == (str(cine_file),)
    assert not page.start.isEnabled()
    assert pretraining.children == []


def test_the_estimate_runs_in_a_child_and_its_progress_is_shown(
    pretraining: PretrainingDriver, cine_file: Path
) -> None:
    page = pretraining.dialog.cines
    page.check.click()
    assert pretraining.child.arguments[:2] == ["pretrain", str(cine_file)]
    assert pretraining.child.arguments[-2:] == ["--estimate", "--json"]
    pretraining.child.lines = ["reading 1/3"]
    pretraining.settle()
    assert "Reading" in page.panel.used.text()


def test_the_estimate_shows_counts_reasons_and_time(pretraining: PretrainingDriver) -> None:
    pretraining.estimate()
    page = pretraining.dialog.cines
    assert "2 cines, 60 frames" in page.panel.used.text()
    reasons = [page.panel.skipped.topLevelItem(i) for i in range(page.panel.skipped.topLevelItemCount())]
    assert [item.text(0) for item in reasons if item] == [
        "Skipped, colour Doppler: 1 file",
        "Skipped, fewer than 8 frames: 2 files",
    ]
    assert page.plan().steps == 550  # 20 minutes less 100 s of reading, at 2 s a step
    assert "550 steps" in page.panel.time.text()
    assert "without a GPU" in page.panel.warnings.text()
    assert "2 cines are very little data" in page.panel.warnings.text()
    assert page.start.isEnabled()


def test_a_changed_selection_invalidates_the_estimate(pretraining: PretrainingDriver) -> None:
    pretraining.estimate()
    page = pretraining.dialog.cines
    page.encoder.setCurrentIndex(page.encoder.count() - 1)
    assert not page.start.isEnabled()
    assert page.plan().encoder == ""
    pretraining.estimate()
    page.sources.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert not page.start.isEnabled()
    assert not page.check.isEnabled()
    assert "at least one" in page.panel.used.text()


def test_the_estimate_can_be_stopped(pretraining: PretrainingDriver) -> None:
    page = pretraining.dialog.cines
    page.check.click()
    page.check.click()
    assert pretraining.child.requests == ["kill"]
    assert page.check.text() == "See what will be used"


def test_the_error_of_the_child_is_displayed(pretraining: PretrainingDriver) -> None:
    pretraining.dialog.cines.check.click()
    pretraining.child.error = "Nothing here can be trained on (3 colour Doppler): add others."
    pretraining.end(2)
    assert pretraining.dialog.cines.panel.used.text() == pretraining.child.error
    assert not pretraining.dialog.cines.start.isEnabled()
    pretraining.dialog.cines.check.click()
    pretraining.end(STOPPED)
    assert "Nothing here" not in pretraining.dialog.cines.panel.used.text()


def test_files_and_folders_can_be_dropped(pretraining: PretrainingDriver, tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path)), QUrl("https://elsewhere.example/a.dcm")])
    pretraining.dialog.dropEvent(
        QDropEvent(
            QPointF(5, 5),
            Qt.DropAction.CopyAction,
            data,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )
    sources = pretraining.dialog.cines.sources
    assert sources.chosen()[1:] == (str(tmp_path),)
    sources.add([tmp_path])  # a second time adds nothing
    assert len(sources.chosen()) == 2


def test_durations_are_formatted_in_words() -> None:
    assert [format_duration(s) for s in (0.2, 40, 1200, 3600 * 3.5, 3600 * 30, 86400 * 9)] == [
        "1 seconds",
        "40 seconds",
        "20 minutes",
        "3.5 hours",
        "30 hours",
        "9 days",
    ]
