"""The encoders dialog with a fake session and fake child processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from app import paths
from app.ui.encoders.dialog import EncodersDialog
from app.ui.encoders.table import COLUMNS
from tests.ui.conftest import WindowDriver
from tests.ui.pretraining.conftest import FakeChild
from tests.unit.encoder.test_user_encoders import write_encoder
from vjepa_core.service.messages import Progress, Stage

POLL_MS = 20
INSPECTED = {
    "name": "vitl",
    "family": "V-JEPA 2",
    "architecture": "vit_large_patch16_224_t2.vjepa2",
    "parameters": 303_885_312,
    "bytes": 5_000_000_000,
    "licence": "MIT",
    "recognised": ["24 blocks of width 1024."],
    "assumed": ["V-JEPA 2, by the file's name."],
    "ambiguous": True,
    "source": "vitl.pt",
    "dtype": "float32",
}


def add_imported(name: str, **more: Any) -> str:
    """Write an imported encoder, and return its name."""
    card = write_encoder(paths.encoders_dir(), name)
    card.write_text(json.dumps({**json.loads(card.read_text()), **more}))
    return name


def timed(name: str, **more: Any) -> dict[str, Any]:
    """Return a row of the output of `apical encoders time`."""
    row = {"name": name, "clip_s": 0.3, "clips": 40, "cine_s": 12.0, "memory_bytes": 3e8, "fits": True}
    return {**row, "note": None, **more}


class EncodersDriver:
    """Drives the dialog and the fake child processes."""

    def __init__(self, qtbot: QtBot, driver: WindowDriver, children: list[FakeChild]) -> None:
        self.qtbot, self.driver, self.children = qtbot, driver, children
        self.show()
        found = driver.window.findChild(EncodersDialog)
        assert found is not None
        self.dialog: EncodersDialog = found

    def show(self) -> None:
        self.driver.window.actions_by_id["encoders"].trigger()

    def report_idle(self) -> None:
        """Report that the engine is idle."""
        self.driver.emit(Progress(0, 0, Stage.WAITING))

    def children_for(self, action: str) -> list[FakeChild]:
        """Return the children that were started for `apical encoders ACTION`."""
        return [child for child in self.children if child.arguments[1] == action]

    def settle(self) -> None:
        """Wait until the dialog has polled its children."""
        self.qtbot.wait(4 * POLL_MS)

    def end(self, code: int, output: dict[str, Any] | None = None, error: str = "") -> None:
        """End the newest child."""
        child = self.children[-1]
        child.output, child.error, child.exit_code = output or {}, error, code
        self.settle()

    def cell(self, name: str, column: str) -> str:
        table = self.dialog.list.table
        for row in range(table.rowCount()):
            item, title = table.item(row, COLUMNS.index(column)), table.item(row, 1)
            if title is not None and title.text() == name:
                assert item is not None
                return item.text() if column != "In use" else str(not item.icon().isNull())
        raise AssertionError(f"no row {name}")

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.dialog.list.entries]

    def press_button(self, label: str) -> None:
        """Press a button of the visible message box."""
        (box,) = (box for box in self.dialog.findChildren(QMessageBox) if box.isVisible())
        next(button for button in box.buttons() if button.text() == label).click()
        self.settle()

    @property
    def messages(self) -> list[str]:
        return [text for _, text in self.dialog.banner.messages()]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[FakeChild]:
    made: list[FakeChild] = []

    def make(arguments: Sequence[str], run: Path | None = None) -> FakeChild:
        made.append(FakeChild(arguments, run))
        return made[-1]

    monkeypatch.setattr("app.encoders.child_commands.Child", make)
    monkeypatch.setattr("app.ui.child_monitor.POLL_MS", POLL_MS)
    return made


@pytest.fixture
def open_encoders(
    qtbot: QtBot, driver: WindowDriver, children: list[FakeChild]
) -> Callable[[], EncodersDriver]:
    return lambda: EncodersDriver(qtbot, driver, children)


@pytest.fixture
def encoders(open_encoders: Callable[[], EncodersDriver]) -> EncodersDriver:
    """The dialog with an imported encoder and an idle engine."""
    add_imported("mine", source={"file": "vitl.pt", "container": "ema_encoder", "assumed": ["16 heads."]})
    encoders = open_encoders()
    encoders.report_idle()
    return encoders
