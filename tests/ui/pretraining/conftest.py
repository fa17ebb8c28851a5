"""The dialog with a fake session and fake child processes."""

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
FOUND = {
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
    """A child process that records requests; the test ends it."""

    def __init__(self, words: Sequence[str], run: Path | None = None) -> None:
        self.words, self.run = list(words), run
        self.exit_code: int | None = None
        self.said: list[str] = []
        self.told: dict[str, Any] = {}
        self.asked: list[str] = []
        self.sentence = "It ended unexpectedly (code 1)."

    def new_lines(self) -> list[str]:
        said, self.said = self.said, []
        return said

    def result(self) -> dict[str, Any]:
        return self.told

    def error_message(self) -> str:
        return self.sentence

    def request_stop(self) -> None:
        self.asked.append("stop")

    def detach(self) -> None:
        self.asked.append("leave")

    def kill(self) -> None:
        self.asked.append("kill")
        self.exit_code = -9


class Trainer:
    """Drives the dialog and the fake child processes."""

    def __init__(self, qtbot: QtBot, empty_driver: WindowDriver, children: list[FakeChild]) -> None:
        self.qtbot, self.empty_driver, self.children = qtbot, empty_driver, children
        empty_driver.window.actions_by_id["pretrain"].trigger()
        found = empty_driver.window.findChild(PretrainingDialog)
        assert found is not None
        self.dialog: PretrainingDialog = found

    @property
    def child(self) -> FakeChild:
        return self.children[-1]

    def settle(self) -> None:
        self.qtbot.wait(3 * POLL_MS)

    def end(self, code: int, told: dict[str, Any] | None = None) -> None:
        """End the newest child."""
        self.child.told = told or {}
        self.child.exit_code = code
        self.settle()

    def find_out(self) -> None:
        self.dialog.cines.check.click()
        self.end(0, FOUND)

    def begin(self, steps: int = 40) -> Run:
        """Start a run."""
        self.find_out()
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

    def answer(self, words: str) -> None:
        """Click a button of the open question."""
        boxes = [box for box in self.dialog.findChildren(QMessageBox) if box.isVisible()]
        assert len(boxes) == 1
        next(button for button in boxes[0].buttons() if button.text() == words).click()
        self.settle()

    def reopen(self) -> None:
        self.dialog.close()
        self.empty_driver.window.actions_by_id["pretrain"].trigger()

    @property
    def errors(self) -> list[str]:
        return [text for _, text in self.dialog.banner.messages()]


def left_behind(steps: int = 40, done: int = 0) -> Run:
    """Create a run that was stopped after some steps."""
    run = Run.create(Plan(("heart.dcm",), steps))
    if done:
        lines = (json.dumps({"step": step, "loss": 0.5}) for step in range(1, done + 1))
        (run.folder / "log.jsonl").write_text("\n".join(lines) + "\n")
        (run.folder / "checkpoint.pt").write_bytes(b"weights")
        add_card(run, done)
    return run


def add_card(run: Run, steps: int) -> None:
    """Write an encoder as an ended run exports it."""
    folder = run.folder / "encoder"
    folder.mkdir(exist_ok=True)
    (folder / "new.json").write_text(json.dumps({"name": "new", "training": {"steps": steps}}))


def write_film(path: Path, n: int = 12) -> Path:
    """A bright disk that moves through grey noise, as a video."""
    rng = np.random.default_rng(0)
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (96, 96))
    for i in range(n):
        frame = rng.integers(40, 90, (96, 96), dtype=np.uint8)
        cv2.circle(frame, (30 + 3 * i, 48), 14, 230, -1)
        film.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    film.release()
    return path


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[FakeChild]:
    made: list[FakeChild] = []

    def make(words: Sequence[str], run: Path | None = None) -> FakeChild:
        made.append(FakeChild(words, run))
        return made[-1]

    monkeypatch.setattr("app.pretraining.runs.Child", make)
    monkeypatch.setattr("app.encoders.child_commands.Child", make)
    monkeypatch.setattr("app.ui.child_monitor.POLL_MS", POLL_MS)
    return made


@pytest.fixture
def open_trainer(qtbot: QtBot, driver: WindowDriver, children: list[FakeChild]) -> Callable[[], Trainer]:
    return lambda: Trainer(qtbot, driver, children)


@pytest.fixture
def trainer(open_trainer: Callable[[], Trainer]) -> Trainer:
    return open_trainer()
