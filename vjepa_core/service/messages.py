"""Messages between the program and the engine process: frozen dataclasses without arrays or torch.

Pixels are exchanged in files that both sides map into memory (`SharedArray`). Every result contains the
cine and the revision of its labels. Texts for the user are composed by the program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SharedArray:
    """A uint8 array in a file that both sides map; the side that created it deletes the file.

    Attributes
    ----------
    path : str
        Path of the file.
    shape : tuple of int
        Shape of the array.
    """

    path: str
    shape: tuple[int, ...]

    @classmethod
    def create(cls, path: Path, shape: tuple[int, ...]) -> SharedArray:
        """Create the file, filled with zeros; raise OSError if it cannot be written."""
        # Seeking alone would allocate nothing, and a full disk would crash the process at a later write.
        size = int(np.prod(shape))
        with path.open("wb") as file:
            for start in range(0, size, 1 << 22):
                file.write(bytes(min(1 << 22, size - start)))
        return cls(str(path), shape)

    def open(self, *, writable: bool = False) -> NDArray[np.uint8]:
        """Map the array; it stays valid if the file is deleted, which Windows allows after unmapping only."""
        return np.memmap(self.path, dtype=np.uint8, mode="r+" if writable else "r", shape=self.shape)

    def delete(self) -> None:
        """Delete the file if it exists; errors, such as for a mapped file on Windows, are ignored."""
        try:
            Path(self.path).unlink(missing_ok=True)
        except OSError:
            return


DOUBT_SIZE = 112
"""Side of the grid of doubts, which is the grid of the head."""


# Requests


@dataclass(frozen=True)
class OpenCine:
    """Open a cine.

    Attributes
    ----------
    cine_id : int
    frames : SharedArray
        (T, 224, 224) letterboxed grey frames. The engine copies them and reports `CineReceived`.
    masks : SharedArray
        (T, h, w) label images of the region, written by the engine.
    region_height, region_width : int
        h and w, pixels.
    fps : float
        Frame rate, Hz; 0 if unknown.
    classes : tuple of int
        Label values of the structures.
    left_heart : bool
        True if the classes are those of the starter head, which then predicts a draft before anything is
        outlined.
    doubts : SharedArray, optional
        (T, 112, 112) over the letterboxed square, written by the engine: probability that the label of a
        pixel is wrong, times 255.
    pixel_aspect : float
        Height of the region's pixels divided by their width.
    damaged : tuple of int
        Frames that could not be decoded; `frames` repeats a neighbour there.
    """

    cine_id: int
    frames: SharedArray
    masks: SharedArray
    region_height: int
    region_width: int
    fps: float
    classes: tuple[int, ...]
    left_heart: bool = False
    doubts: SharedArray | None = None
    pixel_aspect: float = 1.0
    damaged: tuple[int, ...] = ()


@dataclass(frozen=True)
class CloseCine:
    """Remove a cine and its labels."""

    cine_id: int


@dataclass(frozen=True)
class SetLabels:
    """Replace all labels of a cine.

    Attributes
    ----------
    cine_id, revision : int
    frames : tuple of int
        Annotated frames.
    labels : SharedArray or None
        (len(frames), h, w) label images of the region; the engine copies them and reports `LabelsReceived`.
    is_fitted : bool
        True if the current head was fitted to exactly these labels and predicted the masks of this cine that
        the program has, so that no job is needed.
    stated : tuple, optional
        For each frame, the label values for which it is annotated; default: those that occur in the image.
    """

    cine_id: int
    revision: int
    frames: tuple[int, ...]
    labels: SharedArray | None
    is_fitted: bool = False
    stated: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class SetVisibleFrame:
    """Set the visible frame, which is predicted first."""

    cine_id: int
    frame: int


@dataclass(frozen=True)
class PredictAgain:
    """Predict every frame of a cine again, because the program lacks its doubts and findings."""

    cine_id: int


@dataclass(frozen=True)
class RestoreHead:
    """Use a saved head; `revisions` are the (cine, revision) pairs to which it was fitted."""

    path: str
    revisions: tuple[tuple[int, int], ...] = field(default=(), compare=False)  # the path identifies the head


@dataclass(frozen=True)
class Cancel:
    """Stop all work and keep the previous head."""


@dataclass(frozen=True)
class Resume:
    """Continue after `Cancel`; with `retry_failed`, include cines that were excluded after an error."""

    retry_failed: bool = True


@dataclass(frozen=True)
class Shutdown:
    """End the process."""


Request = (
    OpenCine
    | CloseCine
    | SetLabels
    | SetVisibleFrame
    | PredictAgain
    | RestoreHead
    | Cancel
    | Resume
    | Shutdown
)

# Reports


class Stage(StrEnum):
    """Activity of the engine."""

    STARTING = "starting"
    MOTION = "motion"
    FEATURES = "features"
    FITTING = "fitting"
    PREDICTING = "predicting"
    WAITING = "waiting"  # for labels
    DRAFT = "draft"  # predicted by the starter head; nothing is outlined yet
    NOT_RECOGNISED = "not recognised"  # by any head; also waiting for labels
    UP_TO_DATE = "up to date"
    CANCELLED = "cancelled"


RESTING = (Stage.WAITING, Stage.DRAFT, Stage.NOT_RECOGNISED, Stage.UP_TO_DATE, Stage.CANCELLED)
"""Stages in which the engine is idle."""


@dataclass(frozen=True)
class Ready:
    """The engine has loaded its encoder."""

    device: str
    encoder: str
    encoder_checksum: str
    encoder_trained: bool


@dataclass(frozen=True)
class CineReceived:
    """The frames of a cine were copied; their file can be deleted."""

    cine_id: int


@dataclass(frozen=True)
class LabelsReceived:
    """Labels were copied; their file can be deleted."""

    labels: SharedArray


@dataclass(frozen=True)
class CancelReceived:
    """`Cancel` was received; the engine stops after the current step."""


@dataclass(frozen=True)
class Progress:
    """Progress of a stage; `total` is 0 if unknown."""

    cine_id: int
    revision: int
    stage: Stage
    done: int = 0
    total: int = 0
    loss: float | None = None


@dataclass(frozen=True)
class Predicted:
    """Masks of frames were written.

    Attributes
    ----------
    cine_id, revision : int
    frames : tuple of int
    expected_dice : tuple of float
        Expected mean Dice of each frame.
    final : bool
        True if the masks stay until the next fit; False for previews and carried labels.
    draft : bool
        True if the starter head predicted them.
    findings : tuple of tuple of str
        Values of `vjepa_core.fewshot.findings.Finding` for each frame.
    structure_dice : tuple of dict
        For each frame, the Dice of each structure expected from the softmax, by label value.
    """

    cine_id: int
    revision: int
    frames: tuple[int, ...]
    expected_dice: tuple[float, ...]
    final: bool
    draft: bool = False
    findings: tuple[tuple[str, ...], ...] = ()
    structure_dice: tuple[dict[int, float], ...] = ()


@dataclass(frozen=True)
class Suggested:
    """The frame of a cine to outline next.

    Attributes
    ----------
    cine_id, revision : int
    frame : int or None
        None if no further label is expected to help much.
    next_cine_id : int or None
        A cine in which a label is expected to help more than in this one.
    """

    cine_id: int
    revision: int
    frame: int | None
    next_cine_id: int | None


@dataclass(frozen=True)
class ViewRecognised:
    """The view of a cine was recognised, or could not be; sent once, after the cine is prepared.

    It is not sent if no left heart is outlined, or if there is no view recogniser for the encoder.

    Attributes
    ----------
    cine_id : int
    view : str or None
        "A4C" or "A2C"; None if the cine shows neither, or if it is undecided.
    probability : float
        Probability of the more likely of the two views; 0 if the cine shows no apical view.
    """

    cine_id: int
    view: str | None
    probability: float


@dataclass(frozen=True)
class HeadReady:
    """A fit is complete.

    Attributes
    ----------
    path : str
        File of the head.
    encoder, encoder_checksum : str
    revisions : tuple of (int, int)
        The (cine, revision) pairs to which the head was fitted.
    steps : int
    loss : float
        Loss of the last step.
    """

    path: str
    encoder: str
    encoder_checksum: str
    revisions: tuple[tuple[int, int], ...]
    steps: int
    loss: float


class FailureKind(StrEnum):
    """Operation that failed."""

    ENGINE = "engine"  # the engine cannot work at all; the detail is a sentence for the user
    ENCODER = "encoder"  # the encoder cannot be loaded
    LEARNING = "learning"  # all jobs stop until `Resume`
    CINE = "cine"  # the cine is excluded until `Resume` or new labels
    OPEN_CINE = "open cine"  # the request has to be sent again
    SET_LABELS = "set labels"  # the request has to be sent again
    REQUEST = "request"


@dataclass(frozen=True)
class Failed:
    """An operation failed; the engine continues.

    Attributes
    ----------
    kind : FailureKind
    detail : str
        Cause in one line, without a full stop.
    out_of_memory : bool
    cine_id : int or None
        Cine that is affected.
    """

    kind: FailureKind
    detail: str = ""
    out_of_memory: bool = False
    cine_id: int | None = None

    @property
    def is_request_lost(self) -> bool:
        """True if a request about the cine has to be sent again."""
        return self.kind in (FailureKind.OPEN_CINE, FailureKind.SET_LABELS)


Report = (
    Ready
    | CineReceived
    | LabelsReceived
    | CancelReceived
    | Progress
    | Predicted
    | Suggested
    | ViewRecognised
    | HeadReady
    | Failed
)
