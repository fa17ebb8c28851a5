"""Encoders measured on the user's own labels, in a process of its own; the result stays with the project."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal

from app.domain.errors import ApicalError
from app.encoders import jobs
from app.encoders.comparison import KEY, EncoderComparison, comparison_record, merge_records
from app.encoders.inventory import EncoderEntry
from app.processes.child import STOPPED, Child
from app.storage.project import Project
from app.ui.child_monitor import ChildMonitor
from app.workspace.workspace import Workspace


class Comparing(QObject):
    """Starts and stops a comparison, and knows the last one of the open project."""

    changed = Signal()  # a comparison has begun or ended, or belongs to another project now
    progress = Signal(str, object, object)  # what it does, done, total
    refused = Signal(str)  # the labels do not do: no fault
    trouble = Signal(str)

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._monitor = ChildMonitor(self)
        self._monitor.progress.connect(self.progress)
        self._monitor.ended.connect(self._on_ended)
        self._project: Project | None = None
        self._revisions: dict[str, int] = {}
        self._last: EncoderComparison | None = None
        workspace.current_changed.connect(self._follow_project)
        self._follow_project()

    @property
    def running(self) -> bool:
        """True while a child measures."""
        return self._monitor.child is not None

    @property
    def last(self) -> EncoderComparison | None:
        """The last comparison of the open project."""
        return self._last

    @property
    def is_stale(self) -> bool:
        """Whether labels have changed since."""
        return self._last is not None and self._last.is_outdated(self._labels())

    def has_labels(self) -> bool:
        """Whether anything is outlined in the open project, as far as that is open."""
        return any(opened.recorder.layer.annotated_frames for opened in self._workspace.opened_cines)

    def start(self, names: Sequence[str]) -> None:
        """Measure these encoders against the first of them."""
        project = self._workspace.project
        if project is None:
            return
        self._revisions = self._labels()
        try:
            self._monitor.watch(jobs.start_comparison(names, project.path))
        except ApicalError as error:
            self.trouble.emit(str(error))
        self.changed.emit()

    def stop(self) -> bool:
        """Give up; True where there was something to give up."""
        was_running = self.running
        self._monitor.kill()
        if was_running:
            self.changed.emit()
        return was_running

    def _labels(self) -> dict[str, int]:
        return {str(opened.id): opened.revision for opened in self._workspace.opened_cines}

    def _follow_project(self) -> None:
        if self._workspace.project is not self._project:
            self._monitor.kill()
            self._project = self._workspace.project
            self._last = EncoderComparison.from_record(self._workspace.view().get(KEY))
            self.changed.emit()

    def _on_ended(self, child: Child) -> None:
        new = comparison_record(child.result(), self._revisions)
        compared = EncoderComparison.from_record(new) if child.exit_code == 0 else None
        if compared is not None and compared.n_frames:
            view = self._workspace.view()
            kept = merge_records(view.get(KEY), new)
            self._last = EncoderComparison.from_record(kept)
            self._workspace.save_view({**view, KEY: kept})
        self.changed.emit()
        if compared is not None:
            if not compared.n_frames:  # what was measured before stays
                self.refused.emit(compared.note)
        elif child.exit_code == 2:
            self.refused.emit(child.error_message())
        elif child.exit_code != STOPPED:
            self.trouble.emit(f"The comparison did not end. {child.error_message()}")


def order(encoders: Sequence[EncoderEntry]) -> list[str]:
    """Names for a comparison: the one in use first, those without weights left out."""
    return [one.name for one in sorted(encoders, key=lambda one: not one.in_use) if one.is_usable]
