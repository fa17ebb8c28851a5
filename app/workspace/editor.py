"""Edits of annotations, each committed as one stroke."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.domain.cine import Frame
from app.domain.edits import accept_predicted, mark_empty, remove_pixels
from app.domain.facts import FactEdit
from app.domain.prediction import Prediction
from app.domain.provenance import States, StrokeKind
from app.domain.shown_mask import FrameMasks
from app.domain.strokes import Stroke
from app.storage.raters import current_user
from app.storage.recorder import Recorder
from app.workspace.islands import islands
from app.workspace.opened_cine import OpenedCine


class AnnotationEditor:
    """Changes annotations; when a method returns, its change is on disk or reported as not saved.

    Parameters
    ----------
    visible_cine : callable
        Returns the visible cine, or None.
    label_values : callable
        Returns the values of the structures of the project.
    changed : callable
        Called after each change, with the cine and with False if only facts changed.

    Attributes
    ----------
    rater : str
        Name of the annotating user.
    """

    def __init__(
        self,
        *,
        visible_cine: Callable[[], OpenedCine | None],
        label_values: Callable[[], tuple[int, ...]],
        changed: Callable[[OpenedCine, bool], object],
    ) -> None:
        self.rater = current_user()
        self._visible_cine = visible_cine
        self._label_values = label_values
        self._changed = changed

    def draw(self, opened: OpenedCine, frame: int, after: Frame, kind: StrokeKind) -> None:
        """Set the label image of a frame; the states of its structures follow from the changed pixels."""
        self._commit(opened, frame, after, kind, states=None)

    def apply(
        self,
        opened: OpenedCine,
        frame: int,
        masks: FrameMasks,
        kind: StrokeKind,
        seen: Prediction | None = None,
    ) -> bool:
        """Set annotation and states of a frame.

        Parameters
        ----------
        opened : OpenedCine
            Cine to change.
        frame : int
            Zero-based frame number.
        masks : FrameMasks
            Content of the frame after the stroke.
        kind : StrokeKind
            Kind of the stroke.
        seen : Prediction, optional
            Prediction that was visible when the stroke began; undo restores it.

        Returns
        -------
        bool
            False if nothing changed.
        """
        if masks.annotation is None:
            return False
        return self._commit(opened, frame, masks.annotation, kind, states=masks.states, seen=seen)

    def change_facts(self, opened: OpenedCine, change: Callable[[Recorder, str], FactEdit | None]) -> bool:
        """Change facts of a cine; return False if nothing changed.

        Parameters
        ----------
        opened : OpenedCine
        change : callable
            Called with the recorder of the cine and the name of the rater; returns the step of the history.
        """
        if change(opened.recorder, self.rater) is None:
            return False
        self._changed(opened, False)
        return True

    def undo(self) -> int | None:
        """Undo the newest edit of the visible cine and return its frame; None if there is none."""
        opened = self._visible_cine()
        edit = None if opened is None else opened.recorder.undo()
        if opened is None or edit is None:
            return None
        is_stroke = isinstance(edit, Stroke)
        if is_stroke:
            opened.undo_predictions()
        self._changed(opened, is_stroke)
        return edit.frame

    def redo(self) -> int | None:
        """Redo the most recently undone edit and return its frame; None if there is none."""
        opened = self._visible_cine()
        edit = None if opened is None else opened.recorder.redo()
        if opened is None or edit is None:
            return None
        is_stroke = isinstance(edit, Stroke)
        if is_stroke:
            opened.redo_predictions()
        self._changed(opened, is_stroke)
        return edit.frame

    def accept(self, frame: int, masks: FrameMasks | None = None, seen: Prediction | None = None) -> bool:
        """Accept the predicted structures of a frame; structures stated by a human do not change.

        Parameters
        ----------
        frame : int
            Frame of the visible cine.
        masks, seen : optional
            Content of the frame and its prediction when the user decided; default the present ones.

        Returns
        -------
        bool
            False if nothing changed.
        """
        opened = self._visible_cine()
        if opened is None:
            return False
        return self.apply(opened, frame, accept_predicted(masks or opened.masks(frame)), "accept", seen)

    def clear(self, frame: int) -> bool:
        """Remove the annotation of a frame; return False if there is none."""
        opened = self._visible_cine()
        if opened is None or opened.recorder.layer.label(frame) is None:
            return False
        background = np.zeros((opened.cine.height, opened.cine.width), np.uint8)
        return self._commit(opened, frame, background, "clear", states={})

    def mark_empty(self, frame: int) -> bool:
        """State that all structures are absent from a frame; return False if nothing changed."""
        opened = self._visible_cine()
        if opened is None:
            return False
        return self.apply(opened, frame, mark_empty(opened.masks(frame), self._label_values()), "empty")

    def remove_islands(self, frame: int) -> bool:
        """Remove the small islands of the shown structures; return False if there are none."""
        opened = self._visible_cine()
        if opened is None:
            return False
        masks = opened.masks(frame)
        after = remove_pixels(masks, islands(masks.shown))
        return after is not masks and self.apply(opened, frame, after, "islands")

    def _commit(
        self,
        opened: OpenedCine,
        frame: int,
        after: Frame,
        kind: StrokeKind,
        *,
        states: States | None,
        seen: Prediction | None = None,
    ) -> bool:
        opened.record_predictions(frame, seen)
        if opened.recorder.draw(frame, after, kind, self.rater, states) is None:
            opened.discard_recorded()
            return False
        self._changed(opened, True)
        return True
