"""Applies edits in memory and writes them at once; edits that cannot be written wait in order."""

from __future__ import annotations

import logging
from collections import deque

from app.domain.annotation_layer import AnnotationLayer
from app.domain.errors import ProjectError
from app.domain.facts import (
    AssignedView,
    Fact,
    FactChange,
    FactChanges,
    FactEdit,
    FactKey,
    FactKind,
    Landmarks,
    ManualCalibration,
    PhaseMark,
)
from app.domain.history import Edit
from app.domain.provenance import States, StrokeKind
from app.domain.strokes import Stroke, stroke_between
from app.storage.project import Project
from app.storage.records import Action, Change, FactContent
from vjepa_core.label_image import LabelImage

_logger = logging.getLogger(__name__)


class Recorder:
    """Edits one annotation layer of a project.

    No edit fails because of the disk: it takes effect in memory, and `pending` counts the edits that are not
    written yet. Each further edit and `retry` try to write them again. Use it from one thread only.

    Parameters
    ----------
    project : Project
        The open project.
    cine_id : int
        `CineRecord.id` of a cine in it.
    rater : str, optional
        Name of the layer; default `Project.rater_of`.
    """

    def __init__(self, project: Project, cine_id: int, rater: str | None = None) -> None:
        self._project = project
        self._cine_id = cine_id
        self._layer = project.layer(cine_id, rater)
        self._queue: deque[Change] = deque()
        self._last_error: ProjectError | None = None

    @property
    def project(self) -> Project:
        """The project that is written to."""
        return self._project

    @property
    def cine_id(self) -> int:
        """Row of the cine in the project."""
        return self._cine_id

    @property
    def layer(self) -> AnnotationLayer:
        """The layer with all edits; change it through this recorder only."""
        return self._layer

    @property
    def pending(self) -> int:
        """Number of edits that are in memory and not yet on the disk."""
        return len(self._queue)

    @property
    def last_error(self) -> ProjectError | None:
        """Reason why edits are pending, as a sentence for the user; None if all are written."""
        return self._last_error

    def apply(self, edit: Edit) -> None:
        """Apply an edit and write it; IndexError or ValueError as in `AnnotationLayer.apply`."""
        self._layer.apply(edit)
        self._write("apply", edit)

    def draw(
        self, frame: int, after: LabelImage, kind: StrokeKind, rater: str, states: States | None = None
    ) -> Stroke | None:
        """Make a frame's label image equal to `after`, as one stroke; None if nothing changes.

        Parameters
        ----------
        frame : int
        after : ndarray of uint8, shape (height, width)
        kind : StrokeKind
        rater : str
            Author of the stroke.
        states : States, optional
            States of the structures of the frame after the stroke; derived from the pixels by default.
        """
        stroke = stroke_between(
            frame,
            self._layer.label(frame),
            after,
            kind,
            rater,
            states_before=self._layer.states(frame),
            states_after=states,
        )
        if stroke is not None:
            self.apply(stroke)
        return stroke

    def set_view(self, view: AssignedView | None, rater: str) -> FactChange | None:
        """Set or remove the view of the cine; None if nothing changes."""
        return self._set_fact((FactKind.VIEW, None), view, rater)

    def set_landmarks(self, frame: int, landmarks: Landmarks | None, rater: str) -> FactChange | None:
        """Set or remove the landmarks of a frame; None if nothing changes."""
        return self._set_fact((FactKind.LANDMARKS, frame), landmarks, rater)

    def set_phase(self, frame: int, mark: PhaseMark | None, rater: str) -> FactChange | None:
        """Mark a frame as end-diastolic or end-systolic, or remove its mark; None if nothing changes."""
        return self._set_fact((FactKind.PHASE, frame), mark, rater)

    def move_phase(self, frame: int, to: int, mark: PhaseMark, rater: str) -> FactEdit | None:
        """Remove the mark of a frame and mark another one, as one step; None if nothing changes."""
        wanted: dict[int, PhaseMark | None] = {frame: None, to: mark}
        found = (self._fact_change((FactKind.PHASE, place), fact, rater) for place, fact in wanted.items())
        changes = tuple(change for change in found if change is not None)
        if not changes:
            return None
        edit = changes[0] if len(changes) == 1 else FactChanges(changes)
        self.apply(edit)
        return edit

    def set_calibration(
        self, region: int | None, calibration: ManualCalibration | None, rater: str
    ) -> FactChange | None:
        """Set or remove the calibration of a region, or of the whole frame; None if nothing changes.

        `region` is an index in `Cine.regions`, or None for the whole frame.
        """
        return self._set_fact((FactKind.CALIBRATION, region), calibration, rater)

    def undo(self) -> Edit | None:
        """Undo the newest edit, write the change, and return the edit; None if there is none."""
        edit = self._layer.undo()
        if edit is not None:
            self._write("undo", edit)
        return edit

    def redo(self) -> Edit | None:
        """Redo the most recently undone edit, write the change, and return it; None if there is none."""
        edit = self._layer.redo()
        if edit is not None:
            self._write("redo", edit)
        return edit

    def retry(self) -> bool:
        """Try to write the pending edits; return True if none is left."""
        while self._queue:
            try:
                self._project.commit(self._cine_id, self._layer.rater, self._queue[0])
            except ProjectError as error:
                if self._last_error is None:
                    _logger.warning("annotations are kept in memory: %s", error)
                self._last_error = error
                return False
            self._queue.popleft()
        self._last_error = None
        return True

    def _set_fact(self, key: FactKey, fact: Fact | None, rater: str) -> FactChange | None:
        change = self._fact_change(key, fact, rater)
        if change is not None:
            self.apply(change)
        return change

    def _fact_change(self, key: FactKey, fact: Fact | None, rater: str) -> FactChange | None:
        before = self._layer.fact(*key)
        return None if before == fact else FactChange(*key, before, fact, rater)

    def _write(self, action: Action, edit: Edit) -> None:
        layer = self._layer
        counters = (layer.revision, layer.sequence)
        if isinstance(edit, Stroke):
            frame = edit.frame
            change = Change.of_frame(action, edit, layer.label(frame), layer.states(frame), counters)
        else:
            content = tuple(FactContent(item.key, layer.fact(*item.key)) for item in edit.changes)
            change = Change.of_facts(action, edit, content, counters)
        self._queue.append(change)
        self.retry()
