"""The pre-training dialog with a fake session and fake child processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from app.pretraining.runs import Plan, Run
from app.ui.pretraining.dialog import PretrainingDialog
from tests.ui.conftest import WindowDriver

POLL_MS = 20
ESTIMATE = {
    "cines": 2,
    "frames": 60,
    "seconds_of_cine": 2.0,
    "left_out": {"colour Doppler": ["colour.dcm"], "fewer than 8 frames": ["a.dcm", "b.dcm"]},
    "device": "cpu",
    "device_name": "CPU, 2 threads",
    "batch": 4,
    "seconds_a_step": 2.0,
    "clips_per_second": 2.0,
    "reading_s": 100.0,
}


class FakeChild:
    """A child process that records requests and ends when the test sets an exit code."""

    def __init__(self, arguments: Sequence[str], run: Path | None = None) -> None:
        self.arguments, self.run = list(arguments), run
        self.exit_code: int | None = None
        self.lines: list[str] = []
        self.output: dict[str, Any] = {}
        self.requests: list[str] = []
        self.error = "It ended unexpectedly (code 1)."

    def new_lines(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines

    def result(self) -> dict[str, Any]:
        return self.output

    def error_message(self) -> str:
        return self.error

    def request_stop(self) -> None:
        self.requests.append("stop")

    def detach(self) -> None:
        self.requests.append("detach")

    def kill(self) -> None:
        self.requests.append("kill")
        self.exit_code = -9


class PretrainingDriver:
    """Drives the dialog and the fake child processes."""

    def __init__(self, qtbot: QtBot, driver: WindowDriver, children: list[FakeChild]) -> None:
        self.qtbot, self.driver, self.children = qtbot, driver, children
        driver.window.actions_by_id["pretrain"].trigger()
        found = driver.window.findChild(PretrainingDialog)
        assert found is not None
        self.dialog: PretrainingDialog = found

    @property
    def child(self) -> FakeChild:
        return self.children[-1]

    def settle(self) -> None:
        """Wait until the dialog has polled its child."""
        self.qtbot.wait(3 * POLL_MS)

    def end(self, code: int, output: dict[str, Any] | None = None) -> None:
        """End the newest child."""
        self.child.output = output or {}
        self.child.exit_code = code
        self.settle()

    def estimate(self) -> None:
        """Request an estimate, and end its child."""
        self.dialog.cines.check.click()
        self.end(0, ESTIMATE)

    def start_run(self, steps: int = 40) -> Run:
        """Request an estimate, and start a run."""
        self.estimate()
        self.dialog.cines.length.setCurrentIndex(self.dialog.cines.length.count() - 1)
        self.dialog.cines.steps.setValue(steps)
        self.dialog.cines.start.click()
        run = self.dialog.training.run
        assert run is not None
        return run

    def log(self, run: Run, first: int, last: int, **more: Any) -> None:
        """Write steps to the log."""
        with (run.folder / "log.jsonl").open("a") as log:
            for step in range(first, last + 1):
                entry = {
                    "step": step,
                    "loss": 1 / step,
                    "loss_jepa": 0.8 / step,
                    "loss_loc": 0.2,
                    "loss_ctx": None,
                    "clips_per_second": 4.0,
                    "feature_std": 0.7,
                    "effective_rank": 20.0,
                }
                log.write(json.dumps({**entry, **more}) + "\n")
        (run.folder / "config.json").write_text('{"batch": 4}')
        self.settle()

    def press_button(self, label: str) -> None:
        """Press a button of the visible message box."""
        boxes = [box for box in self.dialog.findChildren(QMessageBox) if box.isVisible()]
        assert len(boxes) == 1
        next(button for button in boxes[0].buttons() if button.text() == label).click()
        self.settle()

    def reopen(self) -> None:
        self.dialog.close()
        self.driver.window.actions_by_id["pretrain"].trigger()

    @property
    def messages(self) -> list[str]:
        return [text for _, text in self.dialog.banner.messages()]


def create_unfinished_run(steps: int = 40, done: int = 0) -> Run:
    """Create a run that was stopped after some steps."""
    run = Run.create(Plan(("heart.dcm",), steps))
    if done:
        lines = (json.dumps({"step": step, "loss": 0.5}) for step in range(1, done + 1))
        (run.folder / "log.jsonl").write_text("\n".join(lines) + "\n")
        (run.folder / "checkpoint.pt").write_bytes(b"weights")
        add_card(run, done)
    return run


def add_card(run: Run, steps: int) -> None:
    """Write the card of the encoder that a run exports at its end."""
    folder = run.folder / "encoder"
    folder.mkdir(exist_ok=True)
    (folder / "new.json").write_text(json.dumps({"name": "new", "training": {"steps": steps}}))


def write_video(path: Path, n: int = 12) -> Path:
    """Write a video of a bright disk that moves through grey noise."""
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (96, 96))
    for i in range(n):
        frame = rng.integers(40, 90, (96, 96), dtype=np.uint8)
        cv2.circle(frame, (30 + 3 * i, 48), 14, 230, -1)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[FakeChild]:
    made: list[FakeChild] = []

    def make(arguments: Sequence[str], run: Path | None = None) -> FakeChild:
        made.append(FakeChild(arguments, run))
        return made[-1]

    monkeypatch.setattr("app.pretraining.runs.Child", make)
    monkeypatch.setattr("app.encoders.child_commands.Child", make)
    monkeypatch.setattr("app.ui.child_monitor.POLL_MS", POLL_MS)
    return made


@pytest.fixture
def open_pretraining(
    qtbot: QtBot, driver: WindowDriver, children: list[FakeChild]
) -> Callable[[], PretrainingDriver]:
    return lambda: PretrainingDriver(qtbot, driver, children)


@pytest.fixture
def pretraining(open_pretraining: Callable[[], PretrainingDriver]) -> PretrainingDriver:
    return open_pretraining()
