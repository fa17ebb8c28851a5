"""What a project holds, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.domain.cine import Frame
from app.domain.history import PackedStroke, Stroke, pack_pixels


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
class HeadRecord:
    """A trained head and all that it came from.

    Attributes
    ----------
    blob
        Weights as safetensors bytes.
    encoder, encoder_checksum
        The frozen encoder whose features the head reads.
    label_set
        Name of the label set.
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


@dataclass(frozen=True, eq=False)
class Prediction:
    """A head's label image of one frame: mask (height, width) uint8, confidence 0..1."""

    mask: Frame
    confidence: float
    revision: int
    head_id: int | None = None


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
    """

    action: Action
    frame: int
    rater: str
    stroke: PackedStroke | None
    label: bytes | None
    revision: int

    @classmethod
    def of(cls, action: Action, stroke: Stroke, label: Frame | None, revision: int) -> Change:
        """Pack a change for the disk."""
        packed = PackedStroke.of(stroke) if action == "apply" else None
        return cls(
            action,
            stroke.frame,
            stroke.rater,
            packed,
            None if label is None else pack_pixels(label),
            revision,
        )
