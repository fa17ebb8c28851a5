"""First step: selection of cines, estimate and length."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent

from app.formatting import format_duration
from app.processes.child import STOPPED
from tests.ui.pretraining.conftest import Trainer


def test_cines_of_the_project_are_ticked_and_nothing_starts_unseen(trainer: Trainer, cine_file: Path) -> None:
    pick = trainer.dialog.cines
    assert trainer.dialog.isVisible()
    assert not trainer.dialog.isModal()
    assert pick.sources.chosen() == (str(cine_file),)
    assert not pick.start.isEnabled()
    assert trainer.children == []


def test_what_will_be_used_is_asked_of_a_child_and_shown(trainer: Trainer, cine_file: Path) -> None:
    pick = trainer.dialog.cines
    pick.check.click()
    assert trainer.child.words[:2] == ["pretrain", str(cine_file)]
    assert trainer.child.words[-2:] == ["--estimate", "--json"]
    trainer.child.said = ["reading 1/3"]
    trainer.settle()
    assert "Reading" in pick.panel.used.text()


def test_the_answer_gives_numbers_reasons_and_an_honest_time(trainer: Trainer) -> None:
    trainer.find_out()
    pick = trainer.dialog.cines
    assert "2 cines, 60 frames" in pick.panel.used.text()
    reasons = [pick.panel.skipped.topLevelItem(i) for i in range(pick.panel.skipped.topLevelItemCount())]
    assert [item.text(0) for item in reasons if item] == [
        "Skipped, colour Doppler: 1 file",
        "Skipped, fewer than 8 frames: 2 files",
    ]
    assert pick.plan().steps == 550  # 20 minutes less 100 s of reading, at 2 s a step
    assert "550 steps" in pick.panel.time.text()
    assert "without a GPU" in pick.panel.warnings.text()
    assert "2 cines are very little data" in pick.panel.warnings.text()
    assert pick.start.isEnabled()


def test_another_choice_makes_the_answer_out_of_date(trainer: Trainer) -> None:
    trainer.find_out()
    pick = trainer.dialog.cines
    pick.encoder.setCurrentIndex(pick.encoder.count() - 1)
    assert not pick.start.isEnabled()
    assert pick.plan().encoder == ""
    trainer.find_out()
    pick.sources.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert not pick.start.isEnabled()
    assert not pick.check.isEnabled()
    assert "at least one" in pick.panel.used.text()


def test_finding_out_can_be_stopped(trainer: Trainer) -> None:
    pick = trainer.dialog.cines
    pick.check.click()
    pick.check.click()
    assert trainer.child.asked == ["kill"]
    assert pick.check.text() == "See what will be used"


def test_the_error_of_the_child_is_displayed(trainer: Trainer) -> None:
    trainer.dialog.cines.check.click()
    trainer.child.sentence = "Nothing here can be trained on (3 colour Doppler): add others."
    trainer.end(2)
    assert trainer.dialog.cines.panel.used.text() == trainer.child.sentence
    assert not trainer.dialog.cines.start.isEnabled()
    trainer.dialog.cines.check.click()
    trainer.end(STOPPED)
    assert "Nothing here" not in trainer.dialog.cines.panel.used.text()


def test_files_and_folders_can_be_dropped(trainer: Trainer, tmp_path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path)), QUrl("https://elsewhere.example/a.dcm")])
    trainer.dialog.dropEvent(
        QDropEvent(
            QPointF(5, 5),
            Qt.DropAction.CopyAction,
            data,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )
    sources = trainer.dialog.cines.sources
    assert sources.chosen()[1:] == (str(tmp_path),)
    sources.add([tmp_path])  # twice is once
    assert len(sources.chosen()) == 2


def test_durations_in_words() -> None:
    assert [format_duration(s) for s in (0.2, 40, 1200, 3600 * 3.5, 3600 * 30, 86400 * 9)] == [
        "1 seconds",
        "40 seconds",
        "20 minutes",
        "3.5 hours",
        "30 hours",
        "9 days",
    ]
