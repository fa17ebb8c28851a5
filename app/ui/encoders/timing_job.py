"""Time that each encoder needs for the visible cine, measured in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.domain.errors import ApicalError
from app.encoders import child_commands
from app.processes.child import STOPPED, Child
from app.ui.child_monitor import ChildMonitor
from app.workspace.workspace import Workspace
from vjepa_core.service.messages import RESTING

MEASURING, UNKNOWN = "measuring...", "not measured"
WAITING, HELD = "after learning", "after the comparison"


class TimingJob(QObject):
    """Measures the encoders for every visible cine, while neither learning nor a comparison is running."""

    changed = Signal()
    failed = Signal(str)  # reason

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._monitor = ChildMonitor(self)
        self._monitor.ended.connect(self._on_ended)
        self._is_on = self._is_held = False
        self._cine: Path | None = None
        self._results: dict[Path | None, dict[str, Any]] = {}
        self.error = ""
        workspace.visible_cine_changed.connect(self._measure)
        workspace.learner.progress.connect(self._on_progress)

    @property
    def device(self) -> str:
        """Device on which the encoders were timed; '' before the measurement."""
        return str(self._results.get(self._cine, {}).get("device", ""))

    def start(self) -> None:
        """Measure the visible cine, and each cine that becomes visible."""
        self._is_on = True
        self._measure()

    def stop(self) -> None:
        """Stop measuring."""
        self._is_on = False
        self._monitor.kill()

    def hold(self, held: bool) -> None:
        """Wait while a comparison is running."""
        self._is_held = held
        self._measure()

    def restart(self) -> None:
        """Discard all measurements and measure again, after encoders were added or removed."""
        self._results.clear()
        self._monitor.kill()
        self._measure()

    def row(self, name: str) -> Mapping[str, Any] | None:
        """Return the measurement of an encoder as in `apical encoders time --json`, or None."""
        rows = self._results.get(self._cine, {}).get("encoders", ())
        return next((row for row in rows if isinstance(row, dict) and row.get("name") == name), None)

    @property
    def state(self) -> str:
        """State of an encoder without measurement."""
        if self._monitor.child is not None:
            return MEASURING
        if self._is_on and self._cine not in self._results and self._must_wait():
            return HELD if self._is_held else WAITING
        return UNKNOWN

    def _must_wait(self) -> bool:
        progress = self._workspace.learner.last_progress
        return self._is_held or (progress is not None and progress.stage not in RESTING)

    def _measure(self) -> None:
        visible = self._workspace.visible_cine
        cine = None if visible is None else visible.cine.path
        if cine != self._cine or self._must_wait():
            self._monitor.kill()
        self._cine = cine
        if (
            self._is_on
            and cine not in self._results
            and self._monitor.child is None
            and not self._must_wait()
        ):
            self.error = ""
            try:
                self._monitor.watch(child_commands.start_timing(cine))
            except ApicalError as error:
                self._fail(str(error))
        self.changed.emit()

    def _on_progress(self) -> None:
        # Do not interrupt a running measurement: it is short, and would be restarted often.
        if self._is_on and self._monitor.child is None and self._cine not in self._results:
            self._measure()

    def _on_ended(self, child: Child) -> None:
        if child.exit_code == 0:
            self._results[self._cine] = child.result()
        elif child.exit_code != STOPPED:
            self._fail(child.error_message())
        self.changed.emit()

    def _fail(self, reason: str) -> None:
        self._results[self._cine] = {}  # do not measure this cine again
        self.error = reason
        self.failed.emit(f"The encoders were not timed: {reason}")
