"""Strokes: the changes that one user action makes to the label image of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from app.domain.label_packing import pack_pixels, unpack_pixels
from app.domain.provenance import (
    States,
    StrokeKind,
    derived_states,
    states_from_json,
    states_to_json,
)
from vjepa_core.label_image import LabelImage


@dataclass(frozen=True, eq=False)
class Stroke:
    """One user action on one frame, stored as the smallest box that contains all changed pixels.

    Attributes
    ----------
    frame : int
        Zero-based frame number.
    y0, x0 : int
        Top left pixel of the box.
    before, after : ndarray of uint8, shape (h, w)
        Label values in the box, read-only.
    kind : StrokeKind
    rater : str
        Author: a short name chosen by the user, never the patient.
    states_before, states_after : States
        State of each structure that a human has stated on this frame, before and after the stroke.
    """

    frame: int
    y0: int
    x0: int
    before: LabelImage
    after: LabelImage
    kind: StrokeKind
    rater: str
    states_before: States = field(default_factory=dict)
    states_after: States = field(default_factory=dict)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the box: ``label[stroke.slices]``."""
        height, width = self.after.shape
        return slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width)


def stroke_between(
    frame: int,
    before: LabelImage | None,
    after: LabelImage,
    kind: StrokeKind,
    rater: str,
    *,
    states_before: States | None = None,
    states_after: States | None = None,
) -> Stroke | None:
    """Return the stroke that turns one annotation of a frame into another.

    Parameters
    ----------
    frame : int
        Zero-based frame number.
    before, after : ndarray of uint8, shape (height, width)
        Label images; `before` is None if the frame is not annotated.
    kind, rater
        As in `Stroke`.
    states_before, states_after : States, optional
        As in `Stroke`; derived from the pixels and the kind by default.

    Returns
    -------
    Stroke or None
        None if neither a pixel nor a state changed.

    Raises
    ------
    ValueError
        If the images differ in shape or are not two-dimensional.
    """
    if before is None:
        before = np.zeros_like(after)
    if before.ndim != 2 or before.shape != after.shape:
        raise ValueError(f"label images of shapes {before.shape} and {after.shape} do not match")
    if states_before is None:
        states_before = derived_states(None, {}, before, "brush")
    if states_after is None:
        states_after = derived_states(before, states_before, after, kind)
    changed = before != after
    rows = np.flatnonzero(changed.any(axis=1))
    if rows.size == 0:
        if states_before == states_after:
            return None
        y0, y1, x0, x1 = 0, 1, 0, 1  # one unchanged pixel
    else:
        columns = np.flatnonzero(changed.any(axis=0))
        y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    box = (slice(y0, y1), slice(x0, x1))
    return Stroke(
        frame,
        y0,
        x0,
        read_only_copy(before[box]),
        read_only_copy(after[box]),
        kind,
        rater,
        dict(states_before),
        dict(states_after),
    )


def read_only_copy(image: LabelImage) -> LabelImage:
    """Copy an image into a contiguous, read-only uint8 array."""
    copy = np.array(image, dtype=np.uint8, order="C")
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True)
class PackedStroke:
    """A `Stroke` with compressed pixels, as the history and the project file store it."""

    frame: int
    y0: int
    x0: int
    height: int
    width: int
    before: bytes
    after: bytes
    kind: StrokeKind
    rater: str
    states_before: str = "{}"
    states_after: str = "{}"

    @classmethod
    def of(cls, stroke: Stroke) -> PackedStroke:
        """Compress a stroke."""
        height, width = stroke.after.shape
        return cls(
            stroke.frame,
            stroke.y0,
            stroke.x0,
            height,
            width,
            pack_pixels(stroke.before),
            pack_pixels(stroke.after),
            stroke.kind,
            stroke.rater,
            states_to_json(stroke.states_before),
            states_to_json(stroke.states_after),
        )

    def unpack(self) -> Stroke:
        """Return the stroke; ValueError if its bytes are damaged."""
        shape = (self.height, self.width)
        return Stroke(
            self.frame,
            self.y0,
            self.x0,
            unpack_pixels(self.before, shape),
            unpack_pixels(self.after, shape),
            self.kind,
            self.rater,
            states_from_json(self.states_before),
            states_from_json(self.states_after),
        )

    @property
    def n_bytes(self) -> int:
        """Compressed size of the pixels in bytes."""
        return len(self.before) + len(self.after)
