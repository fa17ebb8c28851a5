"""What a human drew on one cine, in memory, with undo and redo by stroke across frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from app.domain.cine import Frame
from app.domain.history import (
    MAX_BYTES,
    MAX_STEPS,
    History,
    PackedStroke,
    Stroke,
    StrokeKind,
    frozen,
    stroke_between,
)

__all__ = ["AnnotatedCine", "Stroke", "StrokeKind", "stroke_between"]


class AnnotatedCine:
    """Label images of one cine and the history that made them.

    A frame is annotated where any pixel is non-zero; 0 means nothing drawn. Label images are never
    changed in place: what `label` once returned stays as it was.

    Parameters
    ----------
    n_frames, height, width
        Size of the cine.
    labels
        Label images to start from, by frame, shape (height, width), uint8.
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
        revision: int = 0,
        done: Iterable[PackedStroke] = (),
        undone: Iterable[PackedStroke] = (),
        max_steps: int = MAX_STEPS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._n_frames = n_frames
        self._shape = (height, width)
        self._labels: dict[int, Frame] = {}
        self._revision = revision
        self._history = History(done, undone, max_steps, max_bytes)
        for frame, label in (labels or {}).items():
            self._check_frame(frame)
            if label.shape != self._shape:
                raise ValueError(f"label image of shape {label.shape} on a cine of {self._shape}")
            self._set(frame, frozen(label))

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

    def apply(self, stroke: Stroke) -> None:
        """Draw a stroke; what could have been redone is gone.

        Raises
        ------
        IndexError
            If the cine has no such frame.
        ValueError
            If the stroke leaves the picture or starts from other pixels than those that are there,
            which would make its undo wrong. Nothing has changed then.
        """
        current = self._patch_under(stroke)
        if stroke.before.shape != stroke.after.shape or not np.array_equal(current, stroke.before):
            raise ValueError(f"the stroke on frame {stroke.frame} starts from other pixels than those drawn")
        self._history.push(stroke)
        self._paint(stroke, stroke.after)

    def undo(self) -> Stroke | None:
        """Take back the newest stroke, on whatever frame it is, and return it; None if there is none."""
        stroke = self._history.undo()
        if stroke is not None:
            self._paint(stroke, stroke.before)
        return stroke

    def redo(self) -> Stroke | None:
        """Draw again the stroke undone last and return it; None if there is none."""
        stroke = self._history.redo()
        if stroke is not None:
            self._paint(stroke, stroke.after)
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

    def _paint(self, stroke: Stroke, patch: Frame) -> None:
        label = self._labels.get(stroke.frame)
        image = np.zeros(self._shape, np.uint8) if label is None else label.copy()
        image[stroke.slices] = patch
        image.setflags(write=False)
        self._set(stroke.frame, image)
        self._revision += 1

    def _set(self, frame: int, image: Frame) -> None:
        if image.any():
            self._labels[frame] = image
        else:
            self._labels.pop(frame, None)
