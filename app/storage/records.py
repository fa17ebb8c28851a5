"""Rows of a project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.domain.facts import Fact, FactEdit, FactKey
from app.domain.history import PackedEdit
from app.domain.label_packing import pack_pixels
from app.domain.provenance import States, states_to_json
from app.domain.strokes import PackedStroke, Stroke
from app.domain.study import salted_hash
from vjepa_core.label_image import LabelImage


@dataclass(frozen=True)
class Location:
    """Salted hash of the path of a cine relative to the folder of its project.

    It identifies a cine that was moved together with its project, and does not reveal its name.
    """

    folder: Path
    salt: str
    digest: str

    @staticmethod
    def hash(salt: str, folder: Path, path: Path) -> str | None:
        """Hash the path of a cine; None if the cine is not in or below the folder."""
        relative = relative_path(folder, path)
        return None if relative is None else salted_hash(salt, relative.as_posix())

    def matches(self, path: Path) -> bool:
        """Return True if a file is where the cine was."""
        return self.hash(self.salt, self.folder, path) == self.digest


def relative_path(folder: Path, path: Path) -> Path | None:
    """Return a path relative to a folder; None if it is not in or below the folder."""
    if path.is_relative_to(folder):
        return path.relative_to(folder)
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return None
    return target.relative_to(folder) if target.is_relative_to(folder) else None


@dataclass(frozen=True)
class CineRecord:
    """A cine that the project refers to; its pixels stay in its file.

    Attributes
    ----------
    id : int
        Row in the project.
    content_hash : str
        SHA-256 of the pixel data.
    n_frames, height, width : int
    path : Path or None
        Last known path on this machine, from the user's index; None if it is unknown.
    study_hash : str or None
        Salted hash of the StudyInstanceUID; None if the file states none.
    location : Location or None
        None for a cine that was not in or below the folder of the project.
    """

    id: int
    content_hash: str
    n_frames: int
    height: int
    width: int
    path: Path | None = None
    study_hash: str | None = None
    location: Location | None = None

    @property
    def name(self) -> str:
        """Name for the user: the file name, or a number if the path is unknown."""
        return f"Cine {self.id}" if self.path is None else self.path.name


@dataclass(frozen=True)
class CineSummary:
    """Entry of a list of cines, with frame counts of one layer.

    Attributes
    ----------
    record : CineRecord
    n_annotated, n_predicted : int
        Annotated frames, and frames with a prediction.
    """

    record: CineRecord
    n_annotated: int
    n_predicted: int


@dataclass(frozen=True)
class LayerRecord:
    """An annotation layer without its label images.

    Attributes
    ----------
    cine_id : int
    rater : str
    revision : int
        Number of changes of label images.
    n_annotated : int
        Annotated frames.
    """

    cine_id: int
    rater: str
    revision: int
    n_annotated: int


@dataclass(frozen=True)
class HeadRecord:
    """A fitted head and its origin.

    Attributes
    ----------
    blob : bytes
        Weights as a safetensors file.
    encoder, encoder_checksum : str
        The frozen encoder whose features the head reads.
    label_set : str
        The structures that it predicts, as `structures_to_json` returns them; in older projects the name of
        the label set.
    revisions : mapping of int to int
        Revision of the annotation layer by cine id.
    created : str
        ISO 8601 time, UTC.
    id : int or None
        Row in the project; None before it is saved.
    """

    blob: bytes
    encoder: str
    encoder_checksum: str
    label_set: str
    revisions: Mapping[int, int]
    created: str
    id: int | None = None


Action = Literal["apply", "undo", "redo"]


@dataclass(frozen=True)
class FrameContent:
    """Annotation of a frame after a change.

    Attributes
    ----------
    frame : int
    label : bytes or None
        Compressed label image; None if the frame is no longer annotated.
    states : str
        As `states_to_json` returns them.
    """

    frame: int
    label: bytes | None
    states: str


@dataclass(frozen=True)
class FactContent:
    """Value of a fact after a change; None if it is no longer set."""

    key: FactKey
    fact: Fact | None


@dataclass(frozen=True)
class Change:
    """One change of an annotation layer, ready to be written as one transaction.

    Attributes
    ----------
    action : Action
        A new edit, or undo or redo of the newest one.
    edit : PackedEdit or None
        The edit if `action` is "apply"; None for one that the project has already.
    rater : str
        Author.
    content : FrameContent or tuple of FactContent
        State after the change.
    revision, sequence : int
        Counters of the layer after the change.
    """

    action: Action
    edit: PackedEdit | None
    rater: str
    content: FrameContent | tuple[FactContent, ...]
    revision: int
    sequence: int

    @classmethod
    def of_facts(
        cls, action: Action, edit: FactEdit, content: tuple[FactContent, ...], counters: tuple[int, int]
    ) -> Change:
        """Create a change of facts; `counters` are revision and sequence."""
        return cls(action, edit if action == "apply" else None, edit.rater, content, *counters)

    @classmethod
    def of_frame(
        cls,
        action: Action,
        stroke: Stroke,
        label: LabelImage | None,
        states: States,
        counters: tuple[int, int],
    ) -> Change:
        """Create the change of a frame by a stroke; `counters` are revision and sequence."""
        logged = PackedStroke.of(stroke) if action == "apply" else None
        pixels = None if label is None else pack_pixels(label)
        content = FrameContent(stroke.frame, pixels, states_to_json(states))
        return cls(action, logged, stroke.rater, content, *counters)
