"""What a project holds, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.domain.cine import Frame
from app.domain.provenance import States, states_to_json
from app.domain.strokes import PackedStroke, Stroke, pack_pixels, unpack_pixels


@dataclass(frozen=True)
class CineRecord:
    """A cine that the project refers to; its pixels stay in the file at `path`."""

    id: int
    uid: str
    content_hash: str
    path: Path
    n_frames: int
    height: int
    width: int


@dataclass(frozen=True)
class CineSummary:
    """A cine of a project and the numbers of its annotated and predicted frames."""

    record: CineRecord
    n_annotated: int
    n_predicted: int


@dataclass(frozen=True)
class HeadRecord:
    """A trained head and all that it came from.

    Attributes
    ----------
    blob
        Weights as safetensors bytes.
    encoder, encoder_checksum
        The frozen encoder whose features the head reads.
    label_set
        The structures that it draws, as `structures_to_json` gives them; in older projects the name of the
        label set.
    revisions
        Annotation revision by cine id.
    created
        ISO 8601 time, UTC.
    id
        Row in the project; None before it is saved.
    """

    blob: bytes
    encoder: str
    encoder_checksum: str
    label_set: str
    revisions: Mapping[int, int]
    created: str
    id: int | None = None


@dataclass(frozen=True)
class Prediction:
    """A head's label image of one frame, kept packed: a long cine has thousands of them.

    Attributes
    ----------
    packed, shape
        Label image (height, width) uint8 as `pack_pixels` gives it, and its size.
    confidence
        0..1.
    revision
        Of the annotations that it was learnt from.
    head_id
        The head's row in the project; None for a preview.
    """

    packed: bytes
    shape: tuple[int, int]
    confidence: float
    revision: int
    head_id: int | None = None

    @classmethod
    def of(cls, mask: Frame, confidence: float, revision: int, head_id: int | None = None) -> Prediction:
        """Pack a label image (height, width) uint8."""
        return cls(pack_pixels(mask), (mask.shape[0], mask.shape[1]), confidence, revision, head_id)

    @property
    def mask(self) -> Frame:
        """The label image (height, width) uint8, read-only; ValueError if it is damaged."""
        return unpack_pixels(self.packed, self.shape)


Action = Literal["apply", "undo", "redo"]


@dataclass(frozen=True)
class Change:
    """One change of a cine's annotations, ready to be written as one transaction.

    Attributes
    ----------
    action
        A new stroke, or an undo or redo of the newest one.
    frame, rater
        Where, and by whom.
    stroke
        The stroke where `action` is "apply", else None: the log has it already.
    label
        The frame's label image after the change, packed; None where nothing is drawn any more.
    revision
        The cine's revision after the change.
    states
        States of the frame's structures after the change, as `states_to_json` writes them.
    """

    action: Action
    frame: int
    rater: str
    stroke: PackedStroke | None
    label: bytes | None
    revision: int
    states: str = "{}"

    @classmethod
    def of(cls, action: Action, stroke: Stroke, label: Frame | None, revision: int, states: States) -> Change:
        """Pack a change for the disk."""
        packed = PackedStroke.of(stroke) if action == "apply" else None
        return cls(
            action,
            stroke.frame,
            stroke.rater,
            packed,
            None if label is None else pack_pixels(label),
            revision,
            states_to_json(states),
        )
