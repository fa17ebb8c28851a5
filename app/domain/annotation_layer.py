"""Annotation layer: the label images and facts of one rater on one cine, with undo and redo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from app.domain.facts import (
    AssignedView,
    Fact,
    FactKey,
    FactKind,
    Landmarks,
    ManualCalibration,
    PhaseMark,
)
from app.domain.history import MAX_BYTES, MAX_STEPS, Edit, History, PackedEdit
from app.domain.provenance import Provenance, States
from app.domain.strokes import Stroke, read_only_copy
from vjepa_core.label_image import LabelImage, structures_in


class AnnotationLayer:
    """Annotations of one cine by one rater, and the ordered history of the edits that led to them.

    A frame is annotated if a human has stated something about it: a structure has a state, or a pixel is
    non-zero. A structure with a state and without a pixel is stated to be absent, so that a frame can be
    annotated as empty. Label images are never changed in place: an image returned by `label` stays valid.

    Parameters
    ----------
    n_frames, height, width : int
        Size of the cine.
    rater : str
        Name of the layer. Each stroke has its own author, which may differ.
    labels : mapping of int to ndarray of uint8, shape (height, width), optional
        Label images by frame.
    states : mapping of int to States, optional
        States of the structures on these frames; default drawn, for every structure that has a pixel.
    facts : mapping of FactKey to Fact, optional
        View, landmarks, phase marks and calibrations.
    revision : int
        Number of changes of label images so far.
    sequence : int, optional
        Number of all changes so far; default `revision`.
    done, undone : iterable of PackedEdit
        History, as in `History`.
    max_steps, max_bytes : int
        Bounds of the history.

    Raises
    ------
    ValueError
        If a label image has another size than the cine.
    IndexError
        If the cine does not have one of the frames.
    """

    def __init__(
        self,
        n_frames: int,
        height: int,
        width: int,
        rater: str = "",
        *,
        labels: Mapping[int, LabelImage] | None = None,
        states: Mapping[int, States] | None = None,
        facts: Mapping[FactKey, Fact] | None = None,
        revision: int = 0,
        sequence: int | None = None,
        done: Iterable[PackedEdit] = (),
        undone: Iterable[PackedEdit] = (),
        max_steps: int = MAX_STEPS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._n_frames = n_frames
        self._shape = (height, width)
        self._rater = rater
        self._labels: dict[int, LabelImage] = {}
        self._states: dict[int, dict[int, Provenance]] = {}
        self._facts: dict[FactKey, Fact] = dict(facts or {})
        self._revision = revision
        self._sequence = revision if sequence is None else sequence
        self._history = History(done, undone, max_steps, max_bytes)
        for frame, label in (labels or {}).items():
            self._check_frame(frame)
            if label.shape != self._shape:
                raise ValueError(f"label image of shape {label.shape} on a cine of {self._shape}")
            self._set_label(frame, read_only_copy(label), (states or {}).get(frame, {}))

    @property
    def n_frames(self) -> int:
        """Number of frames of the cine."""
        return self._n_frames

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._shape

    @property
    def rater(self) -> str:
        """Name of the layer."""
        return self._rater

    @property
    def revision(self) -> int:
        """Number of changes of label images, including undo and redo; predictions refer to it."""
        return self._revision

    @property
    def sequence(self) -> int:
        """Number of all changes, including those of facts, undo and redo."""
        return self._sequence

    @property
    def annotated_frames(self) -> tuple[int, ...]:
        """Annotated frames, ascending."""
        return tuple(sorted(self._labels))

    @property
    def drawn_frames(self) -> tuple[int, ...]:
        """Annotated frames except those with accepted predictions only, ascending."""
        accepted_only = {f for f, s in self._states.items() if s and Provenance.DRAWN not in s.values()}
        return tuple(frame for frame in self.annotated_frames if frame not in accepted_only)

    @property
    def labels(self) -> dict[int, LabelImage]:
        """Label image of every annotated frame, read-only arrays in a new dict."""
        return {frame: self._labels[frame] for frame in self.annotated_frames}

    @property
    def states_by_frame(self) -> dict[int, dict[int, Provenance]]:
        """`states` of every annotated frame."""
        return {frame: self.states(frame) for frame in self.annotated_frames}

    @property
    def stated_structures(self) -> frozenset[int]:
        """Structures that are stated on at least one frame, so that a head can be fitted to them."""
        return frozenset(value for states in self._states.values() for value in states)

    @property
    def view(self) -> AssignedView | None:
        """View of the cine; None if it was not set."""
        fact = self._facts.get((FactKind.VIEW, None))
        return fact if isinstance(fact, AssignedView) else None

    @property
    def landmarks(self) -> dict[int, Landmarks]:
        """Landmarks by frame, ascending."""
        found = {frame: fact for (_, frame), fact in self._facts.items() if isinstance(fact, Landmarks)}
        return {frame: found[frame] for frame in sorted(f for f in found if f is not None)}

    @property
    def phases(self) -> dict[int, PhaseMark]:
        """End-diastolic and end-systolic frames, ascending."""
        found = {frame: fact for (_, frame), fact in self._facts.items() if isinstance(fact, PhaseMark)}
        return {frame: found[frame] for frame in sorted(f for f in found if f is not None)}

    @property
    def calibrations(self) -> dict[int | None, ManualCalibration]:
        """Calibrations by hand, by index of the region in `Cine.regions`; None for the whole frame."""
        found = self._facts.items()
        return {index: fact for (_, index), fact in found if isinstance(fact, ManualCalibration)}

    @property
    def can_undo(self) -> bool:
        """True if there is an edit to undo."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """True if there is an edit to redo."""
        return self._history.can_redo

    def label(self, frame: int) -> LabelImage | None:
        """Return the label image of a frame, (height, width) uint8, read-only; None if it is not annotated.

        Raises
        ------
        IndexError
            If the cine has no such frame.
        """
        self._check_frame(frame)
        return self._labels.get(frame)

    def states(self, frame: int) -> dict[int, Provenance]:
        """Return the state of every structure that is stated on a frame, in a new dict.

        Raises
        ------
        IndexError
            If the cine has no such frame.
        """
        self._check_frame(frame)
        return dict(self._states.get(frame, {}))

    def fact(self, kind: FactKind, index: int | None = None) -> Fact | None:
        """Return a fact; None if it is not set. `index` is the frame or region, as in `FactKey`."""
        return self._facts.get((kind, index))

    def apply(self, edit: Edit) -> None:
        """Apply an edit; edits that could have been redone are discarded.

        Raises
        ------
        IndexError
            If the cine has no such frame.
        ValueError
            If a stroke leaves the image, or if the pixels, states or fact before the edit differ from the
            present ones, so that its undo would be wrong. The layer is then unchanged.
        """
        if isinstance(edit, Stroke):
            self._check_stroke(edit)
        else:
            for change in edit.changes:
                if change.frame is not None:
                    self._check_frame(change.frame)
                if change.before != self._facts.get(change.key):
                    raise ValueError(f"the change of the {change.kind} does not start from its present value")
        self._history.push(edit)
        self._replace(edit, after=True)

    def undo(self) -> Edit | None:
        """Undo the newest edit, on any frame, and return it; None if there is none."""
        edit = self._history.undo()
        if edit is not None:
            self._replace(edit, after=False)
        return edit

    def redo(self) -> Edit | None:
        """Redo the most recently undone edit and return it; None if there is none."""
        edit = self._history.redo()
        if edit is not None:
            self._replace(edit, after=True)
        return edit

    def _check_frame(self, frame: int) -> None:
        if not 0 <= frame < self._n_frames:
            raise IndexError(f"frame {frame} of a cine with {self._n_frames} frames")

    def _check_stroke(self, stroke: Stroke) -> None:
        self._check_frame(stroke.frame)
        height, width = stroke.after.shape
        inside = 0 <= stroke.y0 <= self._shape[0] - height and 0 <= stroke.x0 <= self._shape[1] - width
        if not inside:
            raise ValueError(f"the stroke on frame {stroke.frame} leaves the image")
        label = self._labels.get(stroke.frame)
        present = np.zeros_like(stroke.after) if label is None else label[stroke.slices]
        if stroke.before.shape != stroke.after.shape or not np.array_equal(present, stroke.before):
            raise ValueError(f"the stroke on frame {stroke.frame} does not start from the present pixels")
        if stroke.states_before != self._states.get(stroke.frame, {}):
            raise ValueError(f"the stroke on frame {stroke.frame} does not start from the present states")

    def _replace(self, edit: Edit, *, after: bool) -> None:
        """Restore the pixels, states or fact of an edit as they were after or before it."""
        self._sequence += 1
        if not isinstance(edit, Stroke):
            for change in edit.changes:
                fact = change.after if after else change.before
                if fact is None:
                    self._facts.pop(change.key, None)
                else:
                    self._facts[change.key] = fact
            return
        label = self._labels.get(edit.frame)
        image = np.zeros(self._shape, np.uint8) if label is None else label.copy()
        image[edit.slices] = edit.after if after else edit.before
        image.setflags(write=False)
        self._set_label(edit.frame, image, edit.states_after if after else edit.states_before)
        self._revision += 1

    def _set_label(self, frame: int, image: LabelImage, states: States) -> None:
        if states or image.any():
            self._labels[frame] = image
            self._states[frame] = dict.fromkeys(structures_in(image), Provenance.DRAWN) | dict(states)
        else:
            self._labels.pop(frame, None)
            self._states.pop(frame, None)
