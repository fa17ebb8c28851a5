"""Second step: losses, pause, resume, cancel, crash, and unfinished runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtWidgets import QMessageBox

from app.domain.errors import ApicalError
from app.pretraining.runs import pending_runs
from app.processes.child import STOPPED
from tests.ui.pretraining.conftest import Trainer, add_card, left_behind


def test_losses_speed_and_health_are_shown(trainer: Trainer) -> None:
    run = trainer.begin(steps=40)
    assert trainer.child.run == run.folder
    watch = trainer.dialog.training
    assert watch.curves.shown() == []
    trainer.log(run, 1, 5)
    assert watch.curves.curves["loss"].points()[-1] == (5, 0.2)
    assert watch.curves.shown() == ["loss", "loss_jepa", "loss_loc"]
    assert watch.state.text() == "Training: step 5 of 40"
    assert watch.speed.text() == "4.0 clips per second, about 35 seconds left"
    assert "No sign of collapse" in watch.health.text()


def test_warnings_of_the_collapse_monitor_are_displayed(trainer: Trainer) -> None:
    run = trainer.begin()
    trainer.log(run, 1, 1)
    trainer.log(run, 2, 2, warnings=["The features use 1.5 directions only: the encoder is collapsing."])
    trainer.log(run, 3, 3)
    text = trainer.dialog.training.health.text()
    assert "Step 2: The features use 1.5 directions only" in text
    assert "No sign" not in text
    trainer.log(run, 4, 4, warnings=["The features use 1.4 directions only: the encoder is collapsing."])
    lines = trainer.dialog.training.health.text().splitlines()
    assert lines[0].startswith("Step 4 (2 times so far): The features use 1.4")
    assert len(lines) == 2


def test_pause_and_resume(trainer: Trainer) -> None:
    run = trainer.begin()
    trainer.log(run, 1, 3)
    watch = trainer.dialog.training
    watch.pause.click()
    assert trainer.child.asked == ["stop"]
    assert not watch.pause.isEnabled()
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    trainer.end(STOPPED)
    assert watch.state.text() == "Paused: step 3 of 40"
    assert not watch.running
    watch.pause.click()
    assert watch.running
    assert "--resume" in trainer.child.words
    trainer.log(run, 4, 4)
    assert [step for step, _ in watch.curves.curves["loss"].points()] == [1, 2, 3, 4]


def test_a_crash_is_reported_and_the_run_resumes_from_its_checkpoint(trainer: Trainer) -> None:
    run = trainer.begin()
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    trainer.log(run, 1, 3)
    trainer.end(-9)
    watch = trainer.dialog.training
    assert "Resume continues it from the last checkpoint" in trainer.errors[0]
    assert watch.state.text() == "Stopped unexpectedly: step 3 of 40"
    watch.pause.click()
    assert "--resume" in trainer.child.words
    assert watch.state.text().startswith("Training")


def test_cancel_with_nothing_done_throws_away(trainer: Trainer) -> None:
    run = trainer.begin()
    trainer.dialog.training.cancel.click()
    trainer.answer("Discard")
    assert trainer.child.asked == ["kill"]
    assert not run.folder.exists()
    assert trainer.dialog.cines.isVisible()


def test_cancel_can_be_thought_better_of(trainer: Trainer) -> None:
    run = trainer.begin()
    trainer.log(run, 1, 3)
    trainer.dialog.training.cancel.click()
    trainer.answer("Continue training")
    assert trainer.child.asked == []
    assert trainer.dialog.training.running


def test_cancel_and_keep_leads_to_the_comparison(trainer: Trainer) -> None:
    run = trainer.begin()
    trainer.log(run, 1, 3)
    trainer.dialog.training.cancel.click()
    trainer.answer("Keep")
    assert trainer.child.asked == ["stop"]
    add_card(run, 3)
    trainer.end(STOPPED)
    assert trainer.dialog.comparison.isVisible()
    assert trainer.child.words[:2] == ["encoders", "compare"]


def test_a_question_overtaken_by_the_end_of_the_run_goes(trainer: Trainer) -> None:
    run = trainer.begin(steps=3)
    trainer.log(run, 1, 3)
    trainer.dialog.training.cancel.click()
    add_card(run, 3)
    trainer.end(0)
    assert [box for box in trainer.dialog.findChildren(QMessageBox) if box.isVisible()] == []
    assert trainer.dialog.comparison.isVisible()
    assert run.folder.exists()


def test_closing_the_dialog_pauses_and_it_offers_to_go_on(trainer: Trainer) -> None:
    run = trainer.begin()
    trainer.log(run, 1, 3)
    trainer.dialog.close()
    assert trainer.child.asked == ["leave"]
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    trainer.end(STOPPED)
    trainer.reopen()
    leftover = trainer.dialog.unfinished
    assert leftover.isVisible()
    assert leftover.text.text() == "run-1 is not finished: 3 of 40 steps done."
    leftover.go_on.click()
    assert trainer.dialog.training.running
    assert "--resume" in trainer.child.words


def test_closing_the_program_pauses(trainer: Trainer) -> None:
    trainer.begin()
    trainer.empty_driver.window.close()
    assert trainer.child.asked == ["leave"]
    trainer.end(STOPPED)


def test_a_run_that_ends_unseen_starts_nothing(trainer: Trainer) -> None:
    run = trainer.begin(steps=3)
    trainer.log(run, 1, 3)
    trainer.dialog.close()
    add_card(run, 3)
    begun = len(trainer.children)
    trainer.end(0)
    assert len(trainer.children) == begun
    trainer.reopen()
    assert "neither kept nor discarded" in trainer.dialog.unfinished.text.text()


def test_an_earlier_run_can_be_discarded(open_trainer: Callable[[], Trainer]) -> None:
    left_behind(done=7)
    trainer = open_trainer()
    assert "7 of 40" in trainer.dialog.unfinished.text.text()
    trainer.dialog.unfinished.discard.click()
    trainer.answer("Discard")
    assert pending_runs() == []
    assert not trainer.dialog.unfinished.isVisible()


def test_no_process_can_be_started(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer.find_out()

    def refuse(*_: object) -> None:
        raise ApicalError("No further process can be started: close other programs.")

    monkeypatch.setattr("app.pretraining.runs.Child", refuse)
    trainer.dialog.cines.start.click()
    assert "close other programs" in trainer.errors[0]
    assert trainer.dialog.training.pause.text() == "Resume"
