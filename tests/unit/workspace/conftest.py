"""A workspace without a window and without an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.workspace.dispatcher import QueueDispatcher
from app.workspace.notice import Notice
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace
from tests.quiet_session import QuietSession


class Harness:
    """A workspace and the notices that it raised."""

    def __init__(self) -> None:
        self.dispatcher = QueueDispatcher()
        self.workspace = Workspace(self.dispatcher)
        self.notices: list[Notice] = []
        self.workspace.notice_raised.connect(self.notices.append)
        self.workspace.notice_cleared.connect(self.notices.remove)

    def open(self, *paths: Path) -> None:
        """Open paths and wait until nothing is being opened."""
        self.workspace.open_paths(list(paths))
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is being opened."""
        self.dispatcher.run_until(lambda: self.workspace.opening == 0)

    @property
    def visible_cine(self) -> OpenedCine:
        assert self.workspace.visible_cine is not None
        return self.workspace.visible_cine

    @property
    def session(self) -> QuietSession:
        assert isinstance(self.workspace.learner.session, QuietSession)
        return self.workspace.learner.session


@pytest.fixture
def open_harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Harness]]:
    """Create workspaces; all are closed at the end."""
    monkeypatch.setattr("app.workspace.learner.LearningSession", QuietSession)
    QuietSession.made.clear()
    harnesses: list[Harness] = []

    def create() -> Harness:
        harnesses.append(Harness())
        return harnesses[-1]

    yield create
    for harness in harnesses:
        harness.workspace.close()


@pytest.fixture
def harness(open_harness: Callable[[], Harness]) -> Harness:
    return open_harness()


@pytest.fixture
def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were opened, in order."""
    from app.readers.open import open_cine

    files: list[Path] = []

    def counted(path: Path) -> object:
        files.append(path)
        return open_cine(path)

    monkeypatch.setattr("app.workspace.opener.open_cine", counted)
    return files
