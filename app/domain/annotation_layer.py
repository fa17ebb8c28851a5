"""What a human drew on one cine, in memory, with undo and redo by stroke across frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from app.domain.cine import Frame
from app.domain.history import MAX_BYTES, MAX_STEPS, History
from app.domain.provenance import Provenance, States, StrokeKind
from app.domain.strokes import PackedStroke, Stroke, frozen, stroke_between
from vjepa_core.label_image import structures_in

__all__ = ["AnnotationLayer", "Stroke", "StrokeKind", "stroke_between"]


class AnnotationLayer:
    """Label images of one cine, the state of each structure on them, and the history that made them.

    A frame is annotated where a human has stated something about it: a structure has a state, or a pixel
    is non-zero. A structure with a state and without a pixel is stated to be absent, so that a frame can be
    annotated as empty. Label images are never changed in place: what `label` once returned stays as it was.

    Parameters
    ----------
    n_frames, height, width
        Size of the cine.
    labels
        Label images to start from, by frame, shape (height, width), uint8.
    states
        States of the structures on these frames; default drawn, for every structure that has a pixel.
    revision
        Number of changes made so far.
    done, undone
        History to start from, as in `History`.
    max_steps, max_bytes
        Bounds of the history.
    """

    def __init__(
        self,
        n_frames: int,
        height: int,
        width: int,
        *,
        labels: Mapping[int, Frame] | None = None,
        states: Mapping[int, States] | None = None,
        revision: int = 0,
        done: Iterable[PackedStroke] = (),
        undone: Iterable[PackedStroke] = (),
        max_steps: int = MAX_STEPS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._n_frames = n_frames
        self._shape = (height, width)
        self._labels: dict[int, Frame] = {}
        self._states: dict[int, dict[int, Provenance]] = {}
        self._revision = revision
        self._history = History(done, undone, max_steps, max_bytes)
        for frame, label in (labels or {}).items():
            self._check_frame(frame)
            if label.shape != self._shape:
                raise ValueError(f"label image of shape {label.shape} on a cine of {self._shape}")
            self._set(frame, frozen(label), (states or {}).get(frame, {}))

    @property
    def n_frames(self) -> int:
        return self._n_frames

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._shape

    @property
    def revision(self) -> int:
        """Rises by one with every change, undo and redo included."""
        return self._revision

    @property
    def annotated_frames(self) -> tuple[int, ...]:
        """Annotated frames, ascending."""
        return tuple(sorted(self._labels))

    @property
    def drawn_frames(self) -> tuple[int, ...]:
        """Annotated frames on which something was drawn, and not only predictions accepted; ascending."""
        accepted_only = {f for f, s in self._states.items() if s and Provenance.DRAWN not in s.values()}
        return tuple(frame for frame in self.annotated_frames if frame not in accepted_only)

    @property
    def labels(self) -> dict[int, Frame]:
        """Label image of every annotated frame, read-only arrays in a dict of the caller's own."""
        return {frame: self._labels[frame] for frame in self.annotated_frames}

    @property
    def can_undo(self) -> bool:
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        return self._history.can_redo

    def label(self, frame: int) -> Frame | None:
        """Label image of a frame, shape (height, width), read-only; None where nothing is drawn.

        Raises
        ------
        IndexError
            If the cine has no such frame.
        """
        self._check_frame(frame)
        return self._labels.get(frame)

    def states(self, frame: int) -> dict[int, Provenance]:
        """Provenance of every structure that was stated on a frame, in a dict of the caller's own.

        Raises
        ------
        IndexError
            If the cine has no such frame.
        """
        self._check_frame(frame)
        return dict(self._states.get(frame, {}))

    @property
    def states_by_frame(self) -> dict[int, dict[int, Provenance]]:
        """`states` of every annotated frame."""
        return {frame: self.states(frame) for frame in self.annotated_frames}

    def apply(self, stroke: Stroke) -> None:
        """Draw a stroke; what could have been redone is gone.

        Raises
        ------
        IndexError
            If the cine has no such frame.
        ValueError
            If the stroke leaves the picture or starts from other pixels or states than those that are
            there, which would make its undo wrong. Nothing has changed then.
        """
        current = self._patch_under(stroke)
        if stroke.before.shape != stroke.after.shape or not np.array_equal(current, stroke.before):
            raise ValueError(f"the stroke on frame {stroke.frame} starts from other pixels than those drawn")
        if stroke.states_before != self._states.get(stroke.frame, {}):
            raise ValueError(
                f"the stroke on frame {stroke.frame} starts from other states than those recorded"
            )
        self._history.push(stroke)
        self._paint(stroke, stroke.after, stroke.states_after)

    def undo(self) -> Stroke | None:
        """Take back the newest stroke, on whatever frame it is, and return it; None if there is none."""
        stroke = self._history.undo()
        if stroke is not None:
            self._paint(stroke, stroke.before, stroke.states_before)
        return stroke

    def redo(self) -> Stroke | None:
        """Draw again the stroke undone last and return it; None if there is none."""
        stroke = self._history.redo()
        if stroke is not None:
            self._paint(stroke, stroke.after, stroke.states_after)
        return stroke

    def _check_frame(self, frame: int) -> None:
        if not 0 <= frame < self._n_frames:
            raise IndexError(f"frame {frame} of a cine with {self._n_frames} frames")

    def _patch_under(self, stroke: Stroke) -> Frame:
        self._check_frame(stroke.frame)
        height, width = stroke.after.shape
        inside = 0 <= stroke.y0 <= self._shape[0] - height and 0 <= stroke.x0 <= self._shape[1] - width
        if not inside:
            raise ValueError(f"the stroke on frame {stroke.frame} leaves the picture")
        label = self._labels.get(stroke.frame)
        return np.zeros_like(stroke.after) if label is None else label[stroke.slices]

    def _paint(self, stroke: Stroke, patch: Frame, states: States) -> None:
        label = self._labels.get(stroke.frame)
        image = np.zeros(self._shape, np.uint8) if label is None else label.copy()
        image[stroke.slices] = patch
        image.setflags(write=False)
        self._set(stroke.frame, image, states)
        self._revision += 1

    def _set(self, frame: int, image: Frame, states: States) -> None:
        if states or image.any():
            self._labels[frame] = image
            self._states[frame] = dict.fromkeys(structures_in(image), Provenance.DRAWN) | dict(states)
        else:
            self._labels.pop(frame, None)
            self._states.pop(frame, None)
