"""The real window with a real engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app.domain.cine import Frame
from app.ui.application import application
from app.ui.main_window import MainWindow
from app.ui.qt_dispatcher import QtDispatcher
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace
from tests.ui.leaks import leaked
from tests.ui.user_input import UserInput
from vjepa_core.service.messages import Progress, Stage

WAIT_MS = 240_000  # the machine may be busy


class ProgramDriver:
    """A window, simulated input, and every progress report of the engine."""

    def __init__(self, qtbot: QtBot, path: Path) -> None:
        application()
        self.qtbot = qtbot
        self.workspace = Workspace(QtDispatcher())
        self.window = MainWindow(self.workspace)
        self.progress: list[Progress] = []
        self.workspace.learner.progress.connect(self.progress.append)
        self.user = UserInput(self.window)
        self.window.show()
        qtbot.waitExposed(self.window)
        self.workspace.open_paths([path])
        self.wait(lambda: self.window.visible_cine is not None)

    def wait(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=WAIT_MS)

    @property
    def opened(self) -> OpenedCine:
        assert self.window.visible_cine is not None
        return self.window.visible_cine

    @property
    def stage(self) -> Stage | None:
        """Stage of the last progress report."""
        last = self.workspace.learner.last_progress
        return None if last is None else last.stage

    @property
    def stages(self) -> set[Stage]:
        return {p.stage for p in self.progress}

    @property
    def first_fit(self) -> int:
        """Number of steps of the first fit."""
        return next(p.total for p in self.progress if p.stage is Stage.FITTING)

    def drawn(self, frame: int) -> Frame:
        label = self.opened.recorder.layer.label(frame)
        return (
            np.zeros((self.opened.cine.height, self.opened.cine.width), np.uint8) if label is None else label
        )

    def predicted(self, frame: int) -> Frame:
        return self.opened.predictions[frame].mask

    def wait_until_up_to_date(self) -> None:
        """Wait until every frame is predicted for the current labels and the engine is idle."""

        def is_up_to_date() -> bool:
            o, last = self.opened, self.workspace.learner.last_progress
            revision = o.recorder.layer.revision
            return (
                len(o.predictions) == o.cine.n_frames
                and not o.outdated
                and last is not None
                and (last.stage, last.revision) == (Stage.UP_TO_DATE, revision)
            )

        self.wait(is_up_to_date)


@pytest.fixture
def open_program(qtbot: QtBot) -> Iterator[Callable[[Path], ProgramDriver]]:
    """Return a function that opens a cine in a new window; afterwards nothing may have leaked."""
    drivers: list[ProgramDriver] = []

    def make(path: Path) -> ProgramDriver:
        drivers.append(ProgramDriver(qtbot, path))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.window.close()
        driver.window.deleteLater()
    assert leaked() == []
