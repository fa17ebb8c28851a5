"""Comparison of encoders on the user's labels in a child process; its result is stored with the project."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal

from app.domain.errors import ApicalError
from app.encoders import child_commands
from app.encoders.comparison import (
    EncoderComparison,
    comparison_record,
    merge_records,
    read_record,
    write_record,
)
from app.encoders.inventory import EncoderEntry
from app.processes.child import STOPPED, Child
from app.storage.project import Project
from app.ui.child_monitor import ChildMonitor
from app.workspace.workspace import Workspace


class ComparisonJob(QObject):
    """Starts and stops a comparison, and provides the last result of the open project."""

    changed = Signal()  # a comparison has started or ended, or another project was opened
    progress = Signal(str, object, object)  # stage, done, total
    refused = Signal(str)  # reason why the comparison is not possible
    failed = Signal(str)

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._monitor = ChildMonitor(self)
        self._monitor.progress.connect(self.progress)
        self._monitor.ended.connect(self._on_ended)
        self._project: Project | None = None
        self._revisions: dict[str, int] = {}
        self._last: EncoderComparison | None = None
        workspace.visible_cine_changed.connect(self._follow_project)
        self._follow_project()

    @property
    def running(self) -> bool:
        """True during a comparison."""
        return self._monitor.child is not None

    @property
    def last(self) -> EncoderComparison | None:
        """Last comparison of the open project, or None."""
        return self._last

    @property
    def is_outdated(self) -> bool:
        """True if labels have changed since the last comparison."""
        return self._last is not None and self._last.is_outdated(self._label_revisions())

    def has_labels(self) -> bool:
        """Return True if a frame of an open cine is outlined."""
        return any(opened.recorder.layer.annotated_frames for opened in self._workspace.opened_cines)

    def start(self, names: Sequence[str]) -> None:
        """Compare encoders; the first one is the reference."""
        project = self._workspace.project
        if project is None:
            return
        self._revisions = self._label_revisions()
        try:
            self._monitor.watch(child_commands.start_comparison(names, project.path))
        except ApicalError as error:
            self.failed.emit(str(error))
        self.changed.emit()

    def stop(self) -> bool:
        """Stop the comparison; False if there is none."""
        was_running = self.running
        self._monitor.kill()
        if was_running:
            self.changed.emit()
        return was_running

    def _label_revisions(self) -> dict[str, int]:
        return {str(opened.id): opened.revision for opened in self._workspace.opened_cines}

    def _follow_project(self) -> None:
        if self._workspace.project is not self._project:
            self._monitor.kill()
            self._project = self._workspace.project
            self._last = EncoderComparison.from_record(read_record(self._project))
            self.changed.emit()

    def _on_ended(self, child: Child) -> None:
        new = comparison_record(child.result(), self._revisions)
        comparison = EncoderComparison.from_record(new) if child.exit_code == 0 else None
        if self._project is not None and comparison is not None and comparison.n_frames:
            record = merge_records(read_record(self._project), new)
            self._last = EncoderComparison.from_record(record)
            write_record(self._project, record)
        self.changed.emit()
        if comparison is not None:
            if not comparison.n_frames:  # the previous result stays
                self.refused.emit(comparison.note)
        elif child.exit_code == 2:
            self.refused.emit(child.error_message())
        elif child.exit_code != STOPPED:
            self.failed.emit(f"The comparison failed. {child.error_message()}")


def comparison_names(encoders: Sequence[EncoderEntry]) -> list[str]:
    """Return the names of the usable encoders, the one in use first."""
    return [entry.name for entry in sorted(encoders, key=lambda entry: not entry.in_use) if entry.is_usable]
