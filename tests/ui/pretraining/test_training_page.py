"""Second step: losses, pause, resume, cancel, crash, and unfinished runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtWidgets import QMessageBox

from app.domain.errors import ApicalError
from app.pretraining.runs import pending_runs
from app.processes.child import STOPPED
from tests.ui.pretraining.conftest import PretrainingDriver, add_card, create_unfinished_run


def test_losses_speed_and_health_are_shown(pretraining: PretrainingDriver) -> None:
    run = pretraining.start_run(steps=40)
    assert pretraining.child.run == run.folder
    page = pretraining.dialog.training
    assert page.curves.shown() == []
    pretraining.log(run, 1, 5)
    assert page.curves.curves["loss"].points()[-1] == (5, 0.2)
    assert page.curves.shown() == ["loss", "loss_jepa", "loss_loc"]
    assert page.state.text() == "Training: step 5 of 40"
    assert page.speed.text() == "4.0 clips per second, about 35 seconds left"
    assert "No sign of collapse" in page.health.text()


def test_warnings_of_the_collapse_monitor_are_displayed(pretraining: PretrainingDriver) -> None:
    run = pretraining.start_run()
    pretraining.log(run, 1, 1)
    pretraining.log(run, 2, 2, warnings=["The features use 1.5 directions only: the encoder is collapsing."])
    pretraining.log(run, 3, 3)
    text = pretraining.dialog.training.health.text()
    assert "Step 2: The features use 1.5 directions only" in text
    assert "No sign" not in text
    pretraining.log(run, 4, 4, warnings=["The features use 1.4 directions only: the encoder is collapsing."])
    lines = pretraining.dialog.training.health.text().splitlines()
    assert lines[0].startswith("Step 4 (2 times so far): The features use 1.4")
    assert len(lines) == 2


def test_pause_and_resume(pretraining: PretrainingDriver) -> None:
    run = pretraining.start_run()
    pretraining.log(run, 1, 3)
    page = pretraining.dialog.training
    page.pause.click()
    assert pretraining.child.requests == ["stop"]
    assert not page.pause.isEnabled()
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    pretraining.end(STOPPED)
    assert page.state.text() == "Paused: step 3 of 40"
    assert not page.running
    page.pause.click()
    assert page.running
    assert "--resume" in pretraining.child.arguments
    pretraining.log(run, 4, 4)
    assert [step for step, _ in page.curves.curves["loss"].points()] == [1, 2, 3, 4]


def test_a_crash_is_reported_and_the_run_resumes_from_its_checkpoint(pretraining: PretrainingDriver) -> None:
    run = pretraining.start_run()
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    pretraining.log(run, 1, 3)
    pretraining.end(-9)
    page = pretraining.dialog.training
    assert "Resume continues it from the last checkpoint" in pretraining.messages[0]
    assert page.state.text() == "Stopped unexpectedly: step 3 of 40"
    page.pause.click()
    assert "--resume" in pretraining.child.arguments
    assert page.state.text().startswith("Training")


def test_cancelling_before_the_first_step_discards_the_run(pretraining: PretrainingDriver) -> None:
    run = pretraining.start_run()
    pretraining.dialog.training.cancel.click()
    pretraining.press_button("Discard")
    assert pretraining.child.requests == ["kill"]
    assert not run.folder.exists()
    assert pretraining.dialog.cines.isVisible()


def test_the_run_continues_if_cancelling_is_not_confirmed(pretraining: PretrainingDriver) -> None:
    run = pretraining.start_run()
    pretraining.log(run, 1, 3)
    pretraining.dialog.training.cancel.click()
    pretraining.press_button("Continue training")
    assert pretraining.child.requests == []
    assert pretraining.dialog.training.running


def test_cancelling_and_keeping_the_encoder_shows_the_comparison(pretraining: PretrainingDriver) -> None:
    run = pretraining.start_run()
    pretraining.log(run, 1, 3)
    pretraining.dialog.training.cancel.click()
    pretraining.press_button("Keep")
    assert pretraining.child.requests == ["stop"]
    add_card(run, 3)
    pretraining.end(STOPPED)
    assert pretraining.dialog.comparison.isVisible()
    assert pretraining.child.arguments[:2] == ["encoders", "compare"]


def test_the_end_of_the_run_closes_the_question_about_cancelling(pretraining: PretrainingDriver) -> None:
    run = pretraining.start_run(steps=3)
    pretraining.log(run, 1, 3)
    pretraining.dialog.training.cancel.click()
    add_card(run, 3)
    pretraining.end(0)
    assert [box for box in pretraining.dialog.findChildren(QMessageBox) if box.isVisible()] == []
    assert pretraining.dialog.comparison.isVisible()
    assert run.folder.exists()


def test_closing_the_dialog_pauses_the_run_and_reopening_offers_to_resume(
    pretraining: PretrainingDriver,
) -> None:
    run = pretraining.start_run()
    pretraining.log(run, 1, 3)
    pretraining.dialog.close()
    assert pretraining.child.requests == ["detach"]
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    pretraining.end(STOPPED)
    pretraining.reopen()
    leftover = pretraining.dialog.unfinished
    assert leftover.isVisible()
    assert leftover.text.text() == "run-1 is not finished: 3 of 40 steps done."
    leftover.go_on.click()
    assert pretraining.dialog.training.running
    assert "--resume" in pretraining.child.arguments


def test_closing_the_program_pauses_the_run(pretraining: PretrainingDriver) -> None:
    pretraining.start_run()
    pretraining.driver.window.close()
    assert pretraining.child.requests == ["detach"]
    pretraining.end(STOPPED)


def test_a_run_that_ends_while_the_dialog_is_closed_starts_no_comparison(
    pretraining: PretrainingDriver,
) -> None:
    run = pretraining.start_run(steps=3)
    pretraining.log(run, 1, 3)
    pretraining.dialog.close()
    add_card(run, 3)
    n_children = len(pretraining.children)
    pretraining.end(0)
    assert len(pretraining.children) == n_children
    pretraining.reopen()
    assert "neither kept nor discarded" in pretraining.dialog.unfinished.text.text()


def test_an_earlier_run_can_be_discarded(open_pretraining: Callable[[], PretrainingDriver]) -> None:
    create_unfinished_run(done=7)
    pretraining = open_pretraining()
    assert "7 of 40" in pretraining.dialog.unfinished.text.text()
    pretraining.dialog.unfinished.discard.click()
    pretraining.press_button("Discard")
    assert pending_runs() == []
    assert not pretraining.dialog.unfinished.isVisible()


def test_a_child_that_cannot_be_started_is_reported(
    pretraining: PretrainingDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretraining.estimate()

    def refuse(*_: object) -> None:
        raise ApicalError("No further process can be started: close other programs.")

    monkeypatch.setattr("app.pretraining.runs.Child", refuse)
    pretraining.dialog.cines.start.click()
    assert "close other programs" in pretraining.messages[0]
    assert pretraining.dialog.training.pause.text() == "Resume"
