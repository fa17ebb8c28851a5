"""The workspace: the project, its cines, their annotations and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from psygnal import Signal

from app.domain.cine import Cine
from app.domain.errors import ProjectError
from app.domain.labels import LEFT_HEART, LabelSet
from app.encoders import registry
from app.storage.project import Project
from app.storage.project_lookup import SUFFIX
from app.workspace.cine_entry import CineEntries, CineEntry, CineState
from app.workspace.cine_notices import notices_about
from app.workspace.dispatcher import Dispatcher
from app.workspace.editor import AnnotationEditor
from app.workspace.known_projects import project_for, remember_project
from app.workspace.learner import Learner
from app.workspace.notice import (
    CineNotOpened,
    FilesDropped,
    FolderNotRead,
    ProjectConverted,
    ProjectFailed,
    ProjectNotOpened,
    ProjectSaved,
)
from app.workspace.opened_cine import OpenedCine, load_cine
from app.workspace.opener import OnOpened, Opener
from app.workspace.saving import SaveMonitor
from app.workspace.suggestions import Suggestions
from app.workspace.view_state import read_view, visible_frame, write_view


class Workspace:
    """The open project and everything that changes it. Used from one thread, that of the dispatcher.

    Parameters
    ----------
    dispatcher : Dispatcher
        Runs callbacks in the thread of the user interface; also an attribute.
    encoder : str, optional
        Name of the encoder; default the one chosen in the settings.

    Attributes
    ----------
    project : Project or None
        The open project.
    visible_cine : OpenedCine or None
        The visible cine.
    editor : AnnotationEditor
        Changes annotations.
    saving : SaveMonitor
        Repeats failed writes.
    learner : Learner
        Connection to the learning engine.
    suggestions : Suggestions
        Frames and cines to outline next.
    """

    cines_changed = Signal()  # the list of entries, or the state of one
    visible_cine_changed = Signal()
    labels_changed = Signal()
    predictions_changed = Signal()
    suggestion_changed = Signal()
    saved_changed = Signal()
    opening_changed = Signal(int)  # number of cines that are being opened
    notice_raised = Signal(object)  # Notice
    notice_cleared = Signal(object)  # Notice that no longer applies

    def __init__(self, dispatcher: Dispatcher, encoder: str | None = None) -> None:
        self.dispatcher = dispatcher
        self.project: Project | None = None
        self.visible_cine: OpenedCine | None = None
        self._entries = CineEntries()
        self._chosen: CineEntry | None = None  # shown once it is open
        self._opener = Opener(dispatcher)
        self._opener.opened.connect(self._on_opened)
        self._opener.failed.connect(self._on_open_failed)
        self._opener.search_failed.connect(self._on_search_failed)
        self._opener.waiting_changed.connect(self.opening_changed.emit)
        self.saving = SaveMonitor(
            opened_cines=lambda: self.opened_cines,
            dispatcher=dispatcher,
            raise_notice=self.notice_raised.emit,
            clear_notice=self.notice_cleared.emit,
            changed=self.saved_changed.emit,
        )
        self.learner = Learner(
            encoder,
            dispatcher=dispatcher,
            raise_notice=self.notice_raised.emit,
            clear_notice=self.notice_cleared.emit,
        )
        self.learner.predicted.connect(self._on_predicted)
        self.suggestions = Suggestions(self.learner, self.suggestion_changed.emit)
        self.editor = AnnotationEditor(
            visible_cine=lambda: self.visible_cine,
            label_values=lambda: self.label_set.values,
            changed=self._on_edited,
        )

    @property
    def label_set(self) -> LabelSet:
        """The structures that can be outlined."""
        return self.project.label_set if self.project is not None else LEFT_HEART

    # List of cines

    @property
    def entries(self) -> list[CineEntry]:
        """All cines of the list, whether open or not."""
        return self._entries.all

    @property
    def opened_cines(self) -> list[OpenedCine]:
        """The open cines, in the order of the list."""
        return self._entries.opened

    @property
    def selected(self) -> CineEntry | None:
        """The entry that is visible, or will be once it is open."""
        return self._chosen or self._entries.of(self.visible_cine)

    @property
    def opening(self) -> int:
        """Number of cines and folders that are being opened."""
        return self._opener.waiting

    def open_paths(self, paths: Sequence[Path], on_opened: OnOpened | None = None) -> None:
        """List cines and folders of cines and open the first cine; open a project.

        Parameters
        ----------
        paths : sequence of Path
            Files and folders.
        on_opened : callable, optional
            Called with the first cine once it is open; by default that cine is shown.
        """
        for path in paths:
            if path.suffix == SUFFIX:
                self.open_project(path)
        paths = [path for path in dict.fromkeys(paths) if path.suffix != SUFFIX]
        files = [path for path in paths if not path.is_dir()]
        if files:
            self._add_files(files, on_opened, show_first=files[0] == paths[0])
        for folder in (path for path in paths if path.is_dir()):
            on_found = partial(self._add_files, on_opened=on_opened, show_first=folder == paths[0])
            self._opener.find_cines(folder, on_found)

    def choose(self, entry: CineEntry) -> None:
        """Open a cine of the list if necessary, and show it."""
        if entry.opened is not None:
            self.show(entry.opened)
            return
        self._chosen = entry
        self.open(entry)
        self.cines_changed.emit()

    def show(self, opened: OpenedCine) -> None:
        """Make an open cine the visible one."""
        self._chosen = None
        if opened is self.visible_cine:
            return
        self.visible_cine = opened
        if self.project is not None:
            self.learner.start(self.project)
        self.learner.set_visible(opened)
        if not self.learner.has_sent(opened):
            self.learner.send(opened)  # only once: sending the same labels again would interrupt a fit
        self.visible_cine_changed.emit()
        if not opened.warnings_shown and self.project is not None:  # when the cine is first visible
            opened.warnings_shown = True
            for notice in notices_about(opened, self.project):
                self.notice_raised.emit(notice)

    def set_frame(self, frame: int) -> None:
        """Make a frame of the visible cine the visible one."""
        if self.visible_cine is not None:
            self.visible_cine.frame = frame
            self.learner.set_visible(self.visible_cine)

    def _add_files(self, files: Sequence[Path], on_opened: OnOpened | None, *, show_first: bool) -> None:
        first = self._entries.add_files(files)[0]
        self.cines_changed.emit()
        if not show_first:
            self._open_any()
        elif on_opened is None:
            self.choose(first)
        elif first.opened is not None:
            on_opened(first.opened)
        else:
            self.open(first, on_opened)

    def open(self, entry: CineEntry, on_opened: OnOpened | None = None, *, background: bool = False) -> None:
        """Open a cine of the list without showing it, in the background after all others."""
        if entry.state is CineState.OPENING and on_opened is None:
            if not background:
                self._opener.prioritise(entry)
            return
        entry.state, entry.error = CineState.OPENING, ""
        folder = None if self.project is None else self.project.path.parent
        self._opener.open(entry, folder, on_opened, background=background)

    def _open_annotated(self) -> None:
        """Open the annotated cines of the project in the background: the head is fitted to all of them."""
        for entry in self.entries:
            if entry.record is not None and entry.n_annotated and entry.state is CineState.LISTED:
                self.open(entry, background=True)

    def _on_located(self, paths: Mapping[int, Path]) -> None:
        self._entries.set_paths(paths)
        self.cines_changed.emit()

    def _open_any(self) -> None:
        """Open a listed cine if none is visible or being opened."""
        if self.visible_cine is None and self._opener.waiting == 0:
            listed = (e for e in self.entries if e.state is CineState.LISTED and e.path and e.path.exists())
            if other := next(listed, None):
                self.choose(other)

    def _on_search_failed(self, reason: str) -> None:
        self.notice_raised.emit(FolderNotRead(reason))
        self._open_any()

    def _on_open_failed(self, entry: CineEntry, reason: str) -> None:
        entry.set_failed(reason)
        if entry is self._chosen:
            self._chosen = None
        self.notice_raised.emit(CineNotOpened(reason))
        self.cines_changed.emit()
        self._open_any()

    def _on_opened(self, entry: CineEntry, cine: Cine, on_opened: OnOpened | None) -> None:
        same = self._entries.with_content(cine.content_hash)
        if same is not None and same is not entry:  # a second path of a file, or the new path of a moved one
            self._entries.remove(entry)
            self._chosen = same if entry is self._chosen else self._chosen
            entry = same
        try:
            opened = self._attach(entry, cine)
        except ProjectError as error:
            cine.source.close()
            # The error names the project, whose name may be a hash: name the file as well.
            self._on_open_failed(entry, f"{cine.path.name}: {error}")
            return
        self.cines_changed.emit()
        if entry is self._chosen or (self.visible_cine is None and self._chosen is None):
            self.show(opened)
        elif opened.recorder.layer.annotated_frames and not self.learner.has_sent(opened):
            self.learner.send_in_background(opened)
        if on_opened is not None:
            on_opened(opened)

    def _attach(self, entry: CineEntry, cine: Cine) -> OpenedCine:
        """Attach an open file to its entry and to the project, which is looked up if none is open."""
        if entry.opened is not None:
            cine.source.close()
            return entry.opened
        is_new_project = self.project is None
        project = self.project or self._set_project(project_for(cine))
        opened = load_cine(cine, project.add_cine(cine), project)
        opened.frame = visible_frame(project, opened.id, cine.n_frames)
        summaries = project.summaries() if is_new_project else ()
        self._entries.set_open(entry, opened)
        self._entries.add_summaries(s for s in summaries if s.n_annotated or s.record.id == opened.id)
        if is_new_project:
            self._open_annotated()
        return opened

    # Project

    def open_project(self, path: Path) -> None:
        """Close the open project and open another one.

        Its cines are listed; the last visible one is opened, and the annotated ones in the background.
        """
        if self.project is not None and path.resolve() == self.project.path:
            return
        self.saving.retry()
        if self.saving.pending:
            self.notice_raised.emit(ProjectNotOpened(path.name, self.saving.pending))
            return
        try:
            project = Project.open(path)
        except ProjectError as error:
            self.notice_raised.emit(ProjectFailed(str(error)))
            return
        dropped = self._opener.abandon()
        self.close_project()
        self._set_project(project)
        try:
            self._entries.add_summaries(project.summaries())
        except ProjectError as error:
            self.notice_raised.emit(ProjectFailed(str(error)))
        self.cines_changed.emit()
        if dropped:
            self.notice_raised.emit(FilesDropped(dropped, path.name))
        last = self.view().get("cine")
        entries = sorted(self.entries, key=lambda entry: entry.record is None or entry.record.id != last)
        if entries:
            self.choose(entries[0])
        if unknown := [entry.record for entry in entries if entry.record and entry.path is None]:
            self._opener.locate(unknown, self._on_located)
        self._open_annotated()

    def close_project(self) -> None:
        """Close the project and its cines; requests to open cines are dropped."""
        self._opener.abandon()
        self.visible_cine = self._chosen = None
        for opened in self.opened_cines:
            opened.recorder.retry()
            opened.cine.source.close()
        self._entries.clear()
        self.suggestions.clear()
        self.learner.stop()
        if self.project is not None:
            self.project.close()
            self.project = None
        self.visible_cine_changed.emit()

    def close(self) -> None:
        """Close everything at the end of the program; no further signal is emitted."""
        self._opener.close()
        self.saving.stop()
        for name, attribute in vars(type(self)).items():
            if isinstance(attribute, Signal):
                getattr(self, name).disconnect()
        self.close_project()

    def save_as(self, path: Path) -> None:
        """Continue in another project file."""
        if self.project is None:
            return
        try:
            self.project.move_to(path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX))
        except ProjectError as error:
            self.notice_raised.emit(ProjectFailed(str(error)))
            return
        self.saving.retry()
        remember_project(self.project)
        self.notice_raised.emit(ProjectSaved(self.project.path))
        self.saved_changed.emit()

    def view(self) -> dict[str, Any]:
        """Return the view state stored by `save_view`; empty if there is none."""
        return read_view(self.project)

    def save_view(self, view: dict[str, Any]) -> None:
        """Store the view state of the window, with the visible cine and frames."""
        if self.project is not None and self.visible_cine is not None:
            write_view(self.project, view, self.visible_cine, self.opened_cines)

    def _set_project(self, project: Project) -> Project:
        self.project = project
        remember_project(project)
        if project.backup is not None:
            self.notice_raised.emit(ProjectConverted(project.path.name, project.backup))
        return project

    # Learning

    def change_encoder(self, name: str) -> None:
        """Use another encoder from now on, also in later sessions.

        The head is fitted again; until then the previous predictions stay visible.

        Raises
        ------
        EncoderError
            If there is no encoder of that name; nothing changes.
        ProjectError
            If the choice cannot be stored; nothing changes.
        """
        registry.choose(name)
        self.suggestions.clear()
        self.learner.stop()
        if self.project is None or self.visible_cine is None:
            return
        self.learner.start(self.project)
        self.learner.set_visible(self.visible_cine)
        for opened in self.opened_cines:
            opened.mark_outdated()
            if opened is self.visible_cine or opened.recorder.layer.annotated_frames:
                self.learner.send(opened)

    def _on_edited(self, opened: OpenedCine, is_stroke: bool) -> None:
        self.saving.check()
        if is_stroke:
            self.learner.send(opened)
        self.labels_changed.emit()

    def _on_predicted(self, opened: OpenedCine) -> None:
        if opened is self.visible_cine:
            self.predictions_changed.emit()
