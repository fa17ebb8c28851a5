"""How long each encoder takes for the cine on the table, measured in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.domain.errors import ApicalError
from app.encoders import jobs
from app.processes.child import STOPPED, Child
from app.ui.child_monitor import ChildMonitor
from app.workspace.workspace import Workspace
from vjepa_core.service.messages import RESTING

MEASURING, UNKNOWN = "measuring...", "not measured"
WAITING, HELD = "once learning rests", "after comparing"


class Timing(QObject):
    """Measures when asked, and anew for another cine; never beside other work, which would falsify it."""

    changed = Signal()
    failed = Signal(str)  # why nothing was measured

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._monitor = ChildMonitor(self)
        self._monitor.ended.connect(self._on_ended)
        self._on = self._held = False
        self._cine: Path | None = None
        self._answers: dict[Path | None, dict[str, Any]] = {}
        self.complaint = ""
        workspace.current_changed.connect(self._measure)
        workspace.learner.progress.connect(self._rested)

    @property
    def device(self) -> str:
        """What it was measured on, '' before."""
        return str(self._answers.get(self._cine, {}).get("device", ""))

    def start(self) -> None:
        """Measure from now on whatever cine comes on the table."""
        self._on = True
        self._measure()

    def stop(self) -> None:
        """Measure no more."""
        self._on = False
        self._monitor.kill()

    def hold(self, held: bool) -> None:
        """Wait while other work of the dialog keeps the machine busy."""
        self._held = held
        self._measure()

    def again(self) -> None:
        """The encoders have changed: what was measured is forgotten."""
        self._answers.clear()
        self._monitor.kill()
        self._measure()

    def row(self, name: str) -> Mapping[str, Any] | None:
        """What was measured of an encoder, as `apical encoders time` says it; None where nothing was."""
        rows = self._answers.get(self._cine, {}).get("encoders", ())
        return next((row for row in rows if isinstance(row, dict) and row.get("name") == name), None)

    @property
    def state(self) -> str:
        """What stands where there is no figure."""
        if self._monitor.child is not None:
            return MEASURING
        if self._on and self._cine not in self._answers and self._must_wait():
            return HELD if self._held else WAITING
        return UNKNOWN

    def _must_wait(self) -> bool:
        progress = self._workspace.learner.last_progress
        return self._held or (progress is not None and progress.stage not in RESTING)

    def _measure(self) -> None:
        current = self._workspace.current
        cine = None if current is None else current.cine.path
        if cine != self._cine or self._must_wait():
            self._monitor.kill()
        self._cine = cine
        if self._on and cine not in self._answers and self._monitor.child is None and not self._must_wait():
            self.complaint = ""
            try:
                self._monitor.watch(jobs.start_timing(cine))
            except ApicalError as error:
                self._fail(str(error))
        self.changed.emit()

    def _rested(self) -> None:
        # A measurement that is under way goes on: its end is near, and it would begin again and again.
        if self._on and self._monitor.child is None and self._cine not in self._answers:
            self._measure()

    def _on_ended(self, child: Child) -> None:
        if child.exit_code == 0:
            self._answers[self._cine] = child.result()
        elif child.exit_code != STOPPED:
            self._fail(child.error_message())
        self.changed.emit()

    def _fail(self, why: str) -> None:
        self._answers[self._cine] = {}  # not again and again
        self.complaint = why
        self.failed.emit(f"The times were not measured: {why}")
