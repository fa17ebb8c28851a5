"""The dialog with a real run: train, pause, resume, compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.ui.pretraining.dialog import PretrainingDialog
from tests.ui.conftest import WindowDriver
from tests.ui.pretraining.conftest import ESTIMATE, FakeChild, write_video

pytestmark = pytest.mark.slow

SMALL = """frames = 4
size = 64
batch = 2
architecture = "vit_tiny_patch16_224_t2"
[predictor]
width = 24
depth = 1
heads = 1
"""


def test_a_short_run_can_be_paused_resumed_and_compared(
    qtbot: QtBot, empty_driver: WindowDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    estimate, comparison = FakeChild([]), FakeChild([])
    estimate.exit_code, estimate.output = 0, ESTIMATE  # estimates have their own tests
    monkeypatch.setattr("app.pretraining.runs.Plan.start_estimate", lambda _: estimate)
    monkeypatch.setattr("app.encoders.child_commands.start_comparison", lambda *_: comparison)
    config = tmp_path / "small.toml"
    config.write_text(SMALL)
    empty_driver.open(write_video(tmp_path / "heart.mp4"), cines=1)
    empty_driver.window.actions_by_id["pretrain"].trigger()
    dialog = empty_driver.window.findChild(PretrainingDialog)
    assert dialog is not None
    cines_page, training_page = dialog.cines, dialog.training
    cines_page.config = str(config)
    cines_page.encoder.setCurrentIndex(cines_page.encoder.count() - 1)
    cines_page.length.setCurrentIndex(cines_page.length.count() - 1)
    cines_page.steps.setValue(100_000)
    cines_page.check.click()
    qtbot.waitUntil(lambda: bool(cines_page.estimate), timeout=60_000)
    cines_page.start.click()
    run = training_page.run
    assert run is not None
    qtbot.waitUntil(lambda: run.step >= 2, timeout=60_000)
    training_page.pause.click()
    qtbot.waitUntil(lambda: not training_page.running, timeout=60_000)
    assert run.has_checkpoint
    assert [step for step, _ in training_page.curves.curves["loss"].points()] == list(range(1, run.step + 1))

    run.plan = replace(run.plan, steps=run.step + 3)
    training_page.pause.click()
    qtbot.waitUntil(dialog.comparison.isVisible, timeout=60_000)
    assert run.is_finished
    assert dialog.banner.messages() == []
    comparison.exit_code = 0
