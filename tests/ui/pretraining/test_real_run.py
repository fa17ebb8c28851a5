"""The dialog with a real run: train, pause, resume, compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app.ui.pretraining.dialog import PretrainingDialog
from tests.ui.conftest import WindowDriver
from tests.ui.pretraining.conftest import FOUND, FakeChild, write_film

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


def test_a_short_run(
    qtbot: QtBot, empty_driver: WindowDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    estimate, comparison = FakeChild([]), FakeChild([])
    estimate.exit_code, estimate.told = 0, FOUND  # its own test has a real one
    monkeypatch.setattr("app.pretraining.runs.Plan.start_estimate", lambda _: estimate)
    monkeypatch.setattr("app.encoders.child_commands.start_comparison", lambda *_: comparison)
    config = tmp_path / "small.toml"
    config.write_text(SMALL)
    empty_driver.open(write_film(tmp_path / "heart.mp4"), cines=1)
    empty_driver.window.actions_by_id["pretrain"].trigger()
    dialog = empty_driver.window.findChild(PretrainingDialog)
    assert dialog is not None
    pick, watch = dialog.cines, dialog.training
    pick.config = str(config)
    pick.encoder.setCurrentIndex(pick.encoder.count() - 1)
    pick.length.setCurrentIndex(pick.length.count() - 1)
    pick.steps.setValue(100_000)
    pick.check.click()
    qtbot.waitUntil(lambda: bool(pick.estimate), timeout=60_000)
    pick.start.click()
    run = watch.run
    assert run is not None
    qtbot.waitUntil(lambda: run.step >= 2, timeout=60_000)
    watch.pause.click()
    qtbot.waitUntil(lambda: not watch.running, timeout=60_000)
    assert run.has_checkpoint
    assert [step for step, _ in watch.curves.curves["loss"].points()] == list(range(1, run.step + 1))

    run.plan = replace(run.plan, steps=run.step + 3)
    watch.pause.click()
    qtbot.waitUntil(dialog.comparison.isVisible, timeout=60_000)
    assert run.is_finished
    assert dialog.banner.messages() == []
    comparison.exit_code = 0
