"""What the window works on: the project, its open cines, what was drawn and what was predicted.

Knows no widgets, and lives in the window's thread.
"""

from __future__ import annotations

import getpass
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from psygnal import Signal

from app.domain.cine import Cine, Frame
from app.domain.edits import accepted, emptied, remove_pixels
from app.domain.errors import ProjectError
from app.domain.labels import LEFT_HEART, LabelSet
from app.domain.provenance import States, StrokeKind
from app.domain.shown_mask import FrameMasks
from app.encoders import registry
from app.storage.project import Project
from app.storage.project_lookup import SUFFIX
from app.storage.recorder import Recorder
from app.storage.records import CineRecord, Prediction
from app.workspace.dispatcher import Dispatcher, Timer
from app.workspace.islands import islands
from app.workspace.known_projects import drawn_elsewhere, project_for, remember_project
from app.workspace.learner import Learner
from app.workspace.notice import (
    AnnotatedElsewhere,
    CineNotOpened,
    CineWarning,
    FilesDropped,
    NotSaved,
    ProjectFailed,
    ProjectNotOpened,
    ProjectSaved,
)
from app.workspace.opened_cine import OpenedCine
from app.workspace.opener import Opener, Then
from app.workspace.suggestions import Suggestions
from vjepa_core.service.messages import Progress, Stage, Suggested

logger = logging.getLogger(__name__)

RETRY_MS = 4000


class Workspace:
    """The state behind the window, and everything that changes it.

    Parameters
    ----------
    dispatcher : Dispatcher
        Runs callbacks in the thread of the user interface.
    encoder : str, optional
        Name of the encoder to learn over; default the one that the user chose.
    """

    cines_changed = Signal()
    current_changed = Signal()
    labels_changed = Signal()
    predictions_changed = Signal()
    suggestion_changed = Signal()
    saved_changed = Signal()
    opening_changed = Signal(int)  # cines still being opened
    notice_raised = Signal(object)  # Notice
    notice_cleared = Signal(object)  # Notice that no longer holds

    def __init__(self, dispatcher: Dispatcher, encoder: str | None = None) -> None:
        self.project: Project | None = None
        self.cines: list[OpenedCine] = []
        self.current: OpenedCine | None = None
        self.rater = _rater()
        self._not_saved: NotSaved | None = None
        self._opener = Opener(dispatcher)
        self._opener.opened.connect(self._adopt)
        self._opener.failed.connect(self.notice_raised.emit)
        self._opener.waiting_changed.connect(self.opening_changed.emit)
        self.learner = Learner(
            encoder,
            dispatcher=dispatcher,
            raise_notice=self.notice_raised.emit,
            clear_notice=self.notice_cleared.emit,
        )
        self.learner.predicted.connect(self._predicted)
        self.suggestions = Suggestions(self.learner.has_sent)
        self.learner.suggested.connect(self._suggested)
        self.learner.progress.connect(self._on_progress)
        self._dispatcher = dispatcher
        self._retry: Timer | None = None

    @property
    def label_set(self) -> LabelSet:
        """The structures that can be drawn."""
        return self.project.label_set if self.project is not None else LEFT_HEART

    # Opening

    @property
    def opening(self) -> int:
        """Cines still being opened."""
        return self._opener.waiting

    def open_paths(self, wanted: Sequence[Path], then: Then | None = None) -> None:
        """Open cines, folders of them, or a project; `then` is called with each cine once it is there."""
        cines = [path for path in wanted if path.suffix != SUFFIX]
        for path in wanted:
            if path.suffix == SUFFIX:
                self.open_project(path)
        for place, path in enumerate(dict.fromkeys(cines)):
            chosen = then or (self.show if place == 0 else None)
            open_it = self._opener.open_folder if path.is_dir() else self._opener.open_file
            open_it(path, chosen)

    def _adopt(self, cine: Cine, then: Then | None, record: CineRecord | None) -> None:
        opened = next((o for o in self.cines if o.cine.content_hash == cine.content_hash), None)
        if opened is not None:
            cine.source.close()
        else:
            try:
                taken = self.project is None
                if self.project is None:
                    self._take_project(project_for(cine))
                opened = self._place(cine)
                if taken:
                    self._open_labelled(opened.id)
            except ProjectError as error:
                cine.source.close()
                self.notice_raised.emit(CineNotOpened(f"{cine.path.name}: {error}"))
                return
            self.cines.append(opened)
            if record is not None:
                self.cines.sort(key=lambda one: one.id)
            self.cines_changed.emit()
        if self.current is None:
            self.show(opened)
        elif opened.recorder.layer.annotated_frames and not self.learner.has_sent(opened):
            (self.learner.send if record is None else self.learner.send_in_background)(opened)
        if then is not None:
            then(opened)

    def _open_labelled(self, shown: int) -> None:
        """Open the other cines of the project that have labels, behind this one: they are learnt from too."""
        assert self.project is not None  # noqa: S101 - a project was taken just before
        for record in self.project.cines():
            if record.id != shown and self.project.annotations(record.id):
                self._opener.open_record(record, None, self.project)

    def _tell_of_other_project(self, opened: OpenedCine) -> None:
        """Say where a cine without annotations has some: its work must not seem to be gone."""
        if self.project is None or opened.revision:
            return
        found = drawn_elsewhere(opened.cine, self.project)
        if found is None:
            return
        self.notice_raised.emit(AnnotatedElsewhere(opened.cine.path.name, found))

    def _take_project(self, project: Project) -> None:
        self.project = project
        remember_project(project)

    def _place(self, cine: Cine) -> OpenedCine:
        assert self.project is not None  # noqa: S101 - a project was taken just before
        record = self.project.add_cine(cine)
        opened = OpenedCine(
            cine,
            record,
            Recorder(self.project, record.id),
            self.project.predictions(record.id),
            walls=self.label_set.walls,
        )
        if not opened.recorder.layer.annotated_frames:
            for frame in opened.stale:  # learnt from outlines that were undone since
                del opened.predictions[frame]
        view = self.view()
        frame = view.get("frames", {}).get(str(record.id), 0)
        opened.frame = min(frame, cine.n_frames - 1) if isinstance(frame, int) and frame > 0 else 0
        return opened

    def open_project(self, path: Path) -> None:
        """Close what is open and bring a project back: cines, annotations, head, predictions, view."""
        if self.project is not None and path.resolve() == self.project.path:
            return
        self.retry_saving()
        if self.pending:
            self.notice_raised.emit(ProjectNotOpened(path.name, self.pending))
            return
        try:
            project = Project.open(path)
        except ProjectError as error:
            self.notice_raised.emit(ProjectFailed(str(error)))
            return
        dropped = self._opener.abandon()
        self.close_project()
        self._take_project(project)
        self.cines_changed.emit()
        if dropped:
            self.notice_raised.emit(FilesDropped(dropped, path.name))
        remembered = self.view().get("cine")
        for record in sorted(project.cines(), key=lambda one: one.id != remembered):
            self._opener.open_record(record, self.show if record.id == remembered else None, project)

    def close_project(self) -> None:
        """Close cines and project; everything drawn is on disk or was reported as not.

        Cines that are still being opened belong to it and are dropped.
        """
        self._opener.abandon()
        self.current = None
        for opened in self.cines:
            opened.recorder.retry()
            opened.cine.source.close()
        self.cines = []
        self.suggestions.clear()
        self.learner.stop()
        if self.project is not None:
            self.project.close()
            self.project = None
        self.current_changed.emit()

    def close(self) -> None:
        """End of the program."""
        self._opener.close()
        self._retry_while(False)
        for signal in (
            self.cines_changed,
            self.current_changed,
            self.labels_changed,
            self.predictions_changed,
            self.suggestion_changed,
            self.saved_changed,
            self.opening_changed,
            self.notice_raised,
            self.notice_cleared,
        ):
            signal.disconnect()
        self.close_project()

    def save_as(self, path: Path) -> None:
        """Go on in another project file."""
        if self.project is None:
            return
        try:
            self.project.move_to(path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX))
        except ProjectError as error:
            self.notice_raised.emit(ProjectFailed(str(error)))
            return
        self.retry_saving()
        remember_project(self.project)
        self.notice_raised.emit(ProjectSaved(self.project.path))
        self.saved_changed.emit()

    def view(self) -> dict[str, Any]:
        """What `save_view` kept last; empty where there is nothing or it cannot be read."""
        try:
            return self.project.view() if self.project is not None else {}
        except ProjectError as error:
            logger.info("the view cannot be read: %s", error)
            return {}

    def save_view(self, view: dict[str, Any]) -> None:
        """Keep what the window shows; a view that cannot be written is no loss worth a word."""
        if self.project is None or self.current is None:
            return
        frames = {str(opened.id): opened.frame for opened in self.cines}
        try:
            self.project.save_view({**view, "cine": self.current.id, "frames": frames})
        except ProjectError as error:
            logger.info("the view is not saved: %s", error)

    # Which cine

    def show(self, opened: OpenedCine) -> None:
        """Put a cine on the table."""
        if opened is self.current:
            return
        self.current = opened
        if self.project is not None:
            self.learner.start(self.project)
        self.learner.set_visible(opened)
        if not self.learner.has_sent(opened):
            self.learner.send(opened)  # once: told again, the same labels would cut a fit short
        self.current_changed.emit()
        if not opened.warned:  # only for the cine on the screen, once: a folder of cines would bury the rest
            opened.warned = True
            for text in opened.cine.warnings:
                self.notice_raised.emit(CineWarning(opened.cine.path.name, text))
            self._tell_of_other_project(opened)

    def look(self, frame: int) -> None:
        """Another frame of the current cine is visible."""
        if self.current is not None:
            self.current.frame = frame
            self.learner.set_visible(self.current)

    def change_encoder(self, name: str) -> None:
        """Use another encoder from now on, here and in every later start.

        A new engine learns anew over it; until then the masks of the old one are shown.

        Raises
        ------
        EncoderError
            If there is none of that name; nothing is changed then, as where the choice cannot be written
            (ProjectError).
        """
        registry.choose(name)
        self.suggestions.clear()
        self.learner.stop()
        if self.project is None or self.current is None:
            return
        self.learner.start(self.project)
        self.learner.set_visible(self.current)
        for opened in self.cines:
            opened.outdate()
            if opened is self.current or opened.recorder.layer.annotated_frames:
                self.learner.send(opened)

    # Drawing

    @property
    def pending(self) -> int:
        """Strokes that are not on the disk."""
        return sum(opened.recorder.pending for opened in self.cines)

    def draw(self, opened: OpenedCine, frame: int, after: Frame, kind: StrokeKind) -> None:
        """Make a frame's label image equal to `after`; its structures' states follow from what changed."""
        self._record(opened, frame, after, kind, states=None)

    def apply(
        self,
        opened: OpenedCine,
        frame: int,
        masks: FrameMasks,
        kind: StrokeKind,
        seen: Prediction | None = None,
    ) -> bool:
        """Commit what a frame holds from now on, as one stroke; False where nothing changes.

        The annotation is on disk, or reported, when this returns. `seen` is the prediction that was on the
        screen when the stroke began; an undo shows it again.
        """
        if masks.annotation is None:
            return False
        return self._record(opened, frame, masks.annotation, kind, states=masks.states, seen=seen)

    def _record(
        self,
        opened: OpenedCine,
        frame: int,
        after: Frame,
        kind: StrokeKind,
        *,
        states: States | None,
        seen: Prediction | None = None,
    ) -> bool:
        opened.remember(frame, seen)
        if opened.recorder.draw(frame, after, kind, self.rater, states) is None:
            opened.forget_last()
            return False
        self._labels_changed(opened)
        return True

    def undo(self) -> int | None:
        """Take back the newest stroke of the current cine; returns its frame."""
        opened = self.current
        stroke = None if opened is None else opened.recorder.undo()
        if opened is None or stroke is None:
            return None
        opened.step_back()
        self._labels_changed(opened)
        return stroke.frame

    def redo(self) -> int | None:
        """Apply again the stroke that was undone last; returns its frame."""
        opened = self.current
        stroke = None if opened is None else opened.recorder.redo()
        if opened is None or stroke is None:
            return None
        opened.step_forward()
        self._labels_changed(opened)
        return stroke.frame

    def accept(self, frame: int, masks: FrameMasks | None = None, seen: Prediction | None = None) -> bool:
        """Accept the predicted structures of a frame; those that a human stated stay as they are.

        Parameters
        ----------
        frame
            Frame of the current cine.
        masks, seen
            What was on the screen when the user decided, and its prediction; default what is there now.
        """
        opened = self.current
        if opened is None:
            return False
        return self.apply(opened, frame, accepted(masks or opened.masks(frame)), "accept", seen)

    def clear(self, frame: int) -> bool:
        """Remove everything that was annotated on a frame, as one stroke."""
        if self.current is None or self.current.recorder.layer.label(frame) is None:
            return False
        nothing = np.zeros((self.current.cine.height, self.current.cine.width), np.uint8)
        return self._record(self.current, frame, nothing, "clear", states={})

    def mark_empty(self, frame: int) -> bool:
        """State that none of the structures is on a frame."""
        opened = self.current
        if opened is None:
            return False
        return self.apply(opened, frame, emptied(opened.masks(frame), self.label_set.values), "empty")

    def remove_islands(self, frame: int) -> bool:
        """Remove the small islands of the structures shown on a frame, as one stroke."""
        opened = self.current
        if opened is None:
            return False
        masks = opened.masks(frame)
        after = remove_pixels(masks, islands(masks.shown))
        return after is not masks and self.apply(opened, frame, after, "islands")

    def _labels_changed(self, opened: OpenedCine) -> None:
        self._check_saved()
        self.learner.send(opened)
        self.labels_changed.emit()

    def retry_saving(self) -> None:
        """Try again to write strokes that the disk refused."""
        for opened in self.cines:
            if not opened.recorder.retry():
                break
        self._check_saved()

    def _check_saved(self) -> None:
        waiting = next((o.recorder.last_error for o in self.cines if o.recorder.pending), None)
        notice = None if waiting is None else NotSaved(str(waiting))
        if notice != self._not_saved:
            if self._not_saved is not None:
                self.notice_cleared.emit(self._not_saved)
            if notice is not None:
                self.notice_raised.emit(notice)
            self._not_saved = notice
        self._retry_while(notice is not None)
        self.saved_changed.emit()

    def _retry_while(self, waiting: bool) -> None:
        if waiting and self._retry is None:
            self._retry = self._dispatcher.call_repeatedly(RETRY_MS, self.retry_saving)
        elif not waiting and self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _predicted(self, opened: OpenedCine) -> None:
        if opened is self.current:
            self.predictions_changed.emit()

    def _suggested(self, suggested: Suggested) -> None:
        self.suggestions.add(suggested)
        self.suggestion_changed.emit()

    def _on_progress(self, progress: Progress) -> None:
        if progress.stage is Stage.NOT_RECOGNISED:
            self.suggestions.discard(progress.cine_id)
            self.suggestion_changed.emit()


def _rater() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "rater"
