"""Every edit is kept in memory and put on the disk at once; what the disk refuses waits in order."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

from app.domain.annotation_layer import AnnotationLayer
from app.domain.cine import Frame
from app.domain.errors import ProjectError
from app.domain.provenance import States, StrokeKind
from app.domain.strokes import Stroke, stroke_between
from app.storage.project import Project
from app.storage.records import Action, Change

_logger = logging.getLogger(__name__)


class Recorder:
    """Edits one cine of a project.

    No edit ever fails because of the disk: it is drawn, and `pending` says how many edits wait to be
    written. Each further edit tries again; so does `retry`. Use it from one thread.

    Parameters
    ----------
    project
        The open project.
    cine_id
        `CineRecord.id` of a cine in it.
    """

    def __init__(self, project: Project, cine_id: int) -> None:
        self._project = project
        self._cine_id = cine_id
        self._layer = project.layer(cine_id)
        self._queue: deque[Change] = deque()
        self._last_error: ProjectError | None = None

    @property
    def project(self) -> Project:
        return self._project

    @property
    def cine_id(self) -> int:
        return self._cine_id

    @property
    def layer(self) -> AnnotationLayer:
        """The annotations as drawn; change them through this recorder only."""
        return self._layer

    @property
    def pending(self) -> int:
        """Edits that are in memory and not yet on the disk."""
        return len(self._queue)

    @property
    def last_error(self) -> ProjectError | None:
        """Why edits are pending, in one sentence with a way out; None when all is written."""
        return self._last_error

    def apply(self, stroke: Stroke) -> None:
        """Draw a stroke and write it; IndexError or ValueError, as `AnnotationLayer.apply`, for a bad one."""
        self._layer.apply(stroke)
        self._write("apply", stroke)

    def draw(
        self, frame: int, after: Frame, kind: StrokeKind, rater: str, states: States | None = None
    ) -> Stroke | None:
        """Make a frame's label image equal to `after`, as one stroke; None if nothing changes.

        `states` are the states of its structures from then on; derived from the pixels by default.
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

    def undo(self) -> Stroke | None:
        """Take back the newest stroke, write that, and return the stroke; None if there is none."""
        stroke = self._layer.undo()
        if stroke is not None:
            self._write("undo", stroke)
        return stroke

    def redo(self) -> Stroke | None:
        """Draw again the stroke undone last, write that, and return it; None if there is none."""
        stroke = self._layer.redo()
        if stroke is not None:
            self._write("redo", stroke)
        return stroke

    def retry(self) -> bool:
        """Try to write what is pending; True when nothing is left."""
        while self._queue:
            try:
                self._project.commit(self._cine_id, self._queue[0])
            except ProjectError as error:
                if self._last_error is None:
                    _logger.warning("annotations wait in memory: %s", error)
                self._last_error = error
                return False
            self._queue.popleft()
        self._last_error = None
        return True

    def move_to(self, path: Path | str) -> None:
        """Go on in another project file that gets everything, the pending edits included.

        The project object itself moves, so the recorders of its other cines go on there too: call
        their `retry`.

        Raises
        ------
        ProjectError
            If that file cannot be written either; all that was drawn is still in memory.
        """
        self._project.move_to(path)
        if not self.retry() and self._last_error is not None:
            raise self._last_error

    def _write(self, action: Action, stroke: Stroke) -> None:
        label, states = self._layer.label(stroke.frame), self._layer.states(stroke.frame)
        self._queue.append(Change.of(action, stroke, label, self._layer.revision, states))
        self.retry()
