"""Fixtures: the real window with a fake learning session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app.domain.cine import Frame
from app.engine.events import Event, PredictedMasks
from app.ui.application import application
from app.ui.main_window import MainWindow
from app.ui.qt_dispatcher import QtDispatcher
from app.workspace.cine_entry import CineState
from app.workspace.notice import Level
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace
from tests.quiet_session import QuietSession
from tests.ui.leaks import leaked
from tests.ui.user_input import UserInput
from tests.unit.readers.dicom_oracle import grey_cine

HEIGHT, WIDTH = 96, 128


class WindowDriver:
    """A window with simulated user input and a fake session."""

    def __init__(self, qtbot: QtBot) -> None:
        application()
        self.qtbot = qtbot
        self.workspace = Workspace(QtDispatcher())
        self.window = MainWindow(self.workspace)
        self.user = UserInput(self.window)
        self.window.results.setCurrentWidget(self.window.learning)
        self.window.show()
        qtbot.waitExposed(self.window)

    def open(self, *paths: Path, cines: int | None = None) -> None:
        """Open cines, wait until they are open, and select the brush."""
        self.workspace.open_paths(list(paths))
        self.settle()
        self.open_listed()
        self.window.tools.choose_tool("brush")
        if cines is not None:
            assert len(self.workspace.opened_cines) == cines

    def open_listed(self) -> None:
        """Open the cines that are only listed, then show the cine that was visible before."""
        visible = self.workspace.selected
        for entry in self.workspace.entries:
            if entry.state is CineState.LISTED:
                self.workspace.choose(entry)
                self.settle()
        if visible is not None and visible.opened is not None:
            self.workspace.choose(visible)

    def settle(self) -> None:
        """Wait until no file is being opened."""
        self.qtbot.waitUntil(lambda: self.workspace.opening == 0, timeout=20_000)

    @property
    def session(self) -> QuietSession:
        assert isinstance(self.workspace.learner.session, QuietSession)
        return self.workspace.learner.session

    @property
    def opened(self) -> OpenedCine:
        assert self.window.visible_cine is not None
        return self.window.visible_cine

    @property
    def annotated(self) -> tuple[int, ...]:
        return self.opened.recorder.layer.annotated_frames

    @property
    def messages(self) -> list[str]:
        """Errors in the banner, newest first."""
        return [text for level, text in self.window.banner.messages() if level is Level.ERROR]

    def drawn(self, frame: int) -> Frame:
        """Return the annotation of a frame, or background without one."""
        label = self.opened.recorder.layer.label(frame)
        return np.zeros((HEIGHT, WIDTH), np.uint8) if label is None else label

    def emit(self, event: Event) -> None:
        """Emit an event of the session."""
        self.session.on_event(event)
        self.qtbot.wait(1)

    def predict(self, masks: dict[int, Frame], *, revision: int | None = None, **more: Any) -> None:
        """Emit predictions, by default for the current labels."""
        current = self.opened.recorder.layer.revision
        expected_dice = dict.fromkeys(masks, 0.8)
        cine_id = more.get("cine_id", self.opened.id)
        self.emit(
            PredictedMasks(
                cine_id,
                current if revision is None else revision,
                masks,
                expected_dice,
                more.get("final", True),
            )
        )


def square(value: int, x0: int = 30, y0: int = 30, size: int = 20) -> Frame:
    """Return a label image with one square."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[y0 : y0 + size, x0 : x0 + size] = value
    return label


@pytest.fixture
def open_driver(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], WindowDriver]]:
    """Return a function that opens windows; they are closed after the test, which must leak nothing."""
    monkeypatch.setattr("app.workspace.learner.LearningSession", QuietSession)
    QuietSession.made.clear()
    drivers: list[WindowDriver] = []

    def open_window() -> WindowDriver:
        drivers.append(WindowDriver(qtbot))
        return drivers[-1]

    yield open_window
    for driver in drivers:
        driver.window.close()
        driver.window.close()  # the second time discards unsaved strokes
        driver.window.deleteLater()
    assert leaked() == []


@pytest.fixture
def empty_driver(open_driver: Callable[[], WindowDriver]) -> WindowDriver:
    """A window without an open cine."""
    return open_driver()


@pytest.fixture
def cine_file(tmp_path: Path) -> Path:
    """A cine of twelve grey frames of 96 x 128 pixels."""
    return grey_cine(tmp_path / "heart.dcm", n=12)


@pytest.fixture
def driver(empty_driver: WindowDriver, cine_file: Path) -> WindowDriver:
    """A window with one open cine, and a brush of 5 px."""
    empty_driver.open(cine_file, cines=1)
    empty_driver.window.canvas.set_brush_radius(5.0)
    return empty_driver
