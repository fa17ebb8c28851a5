"""What the window and the engine say to each other: small frozen dataclasses, no arrays, no torch.

Pixels travel beside the messages, in files that both sides map into memory (`SharedArray`).
A result always names the cine and the annotation revision that it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SharedArray:
    """A uint8 array in a file mapped by both sides; whoever created it deletes the file."""

    path: str
    shape: tuple[int, ...]

    @classmethod
    def create(cls, path: Path, shape: tuple[int, ...]) -> SharedArray:
        """Make the file, all zeros; raises OSError where the disk refuses."""
        # Writing it out (not only seeking) makes a full disk an error here and not a crash later.
        size = int(np.prod(shape))
        with path.open("wb") as file:
            for start in range(0, size, 1 << 22):
                file.write(bytes(min(1 << 22, size - start)))
        return cls(str(path), shape)

    def open(self, *, writable: bool = False) -> NDArray[np.uint8]:
        """Map the array; it stays valid after the file is deleted (on Windows: until it is closed)."""
        return np.memmap(self.path, dtype=np.uint8, mode="r+" if writable else "r", shape=self.shape)

    def delete(self) -> None:
        """Remove the file; a file that is gone, or still mapped on Windows, is no error."""
        try:
            Path(self.path).unlink(missing_ok=True)
        except OSError:
            return


DOUBT_SIZE = 112
"""Edge of the grid on which the engine tells how likely a pixel's label is wrong: the head's."""


# To the engine


@dataclass(frozen=True)
class OpenCine:
    """Learn to know a cine.

    `frames` holds (T, 224, 224) letterboxed grey frames; the engine copies them and says `CineReceived`.
    `masks` holds (T, h, w) label images of the region, written by the engine. `left_heart` says that the
    classes are those of the starter head, which then makes a draft before anything is outlined. `doubts`
    holds (T, 112, 112) over the letterboxed square, written by the engine beside the masks: the probability
    that the label of a pixel is wrong, times 255. `pixel_aspect` is the height of the region's pixels divided
    by their width. `damaged` are frames that could not be decoded.
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
    """Forget a cine and its labels."""

    cine_id: int


@dataclass(frozen=True)
class SetLabels:
    """All labels of a cine at a revision: `labels` holds (len(frames), h, w) label images of the region.

    `is_fitted` is true if the present head was fitted to exactly these and predicted the masks that the
    client has of this cine: there is nothing to do. `stated` holds, for each frame, the label values that
    were outlined on it or stated to be absent; None if that follows from the pixels.
    """

    cine_id: int
    revision: int
    frames: tuple[int, ...]
    labels: SharedArray | None
    is_fitted: bool = False
    stated: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class Look:
    """The frame that the user sees: it is predicted first."""

    cine_id: int
    frame: int


@dataclass(frozen=True)
class Redraw:
    """Predict every frame of a cine once more: its masks were kept, the doubts about them were not."""

    cine_id: int


@dataclass(frozen=True)
class RestoreHead:
    """Take up a head that was saved earlier; `revisions` are (cine, revision) pairs that it was fitted to."""

    path: str
    revisions: tuple[tuple[int, int], ...] = field(default=(), compare=False)  # the path identifies the head


@dataclass(frozen=True)
class Cancel:
    """Stop what is under way and keep the previous head."""


@dataclass(frozen=True)
class Resume:
    """Go on after `Cancel`; with `failed_too`, try cines again that were left out because of an error."""

    failed_too: bool = True


@dataclass(frozen=True)
class Shutdown:
    """End the process."""


Request = OpenCine | CloseCine | SetLabels | Look | Redraw | RestoreHead | Cancel | Resume | Shutdown

# From the engine


class Stage(StrEnum):
    """What the engine is at."""

    STARTING = "starting"
    MOTION = "motion"
    FEATURES = "features"
    FITTING = "fitting"
    PREDICTING = "predicting"
    WAITING = "waiting for labels"
    DRAFT = "draft made"  # by the starter head: nothing is outlined yet
    NOT_RECOGNISED = "picture not recognised"  # no head knows it; waiting for labels as well
    UP_TO_DATE = "up to date"
    CANCELLED = "cancelled"


RESTING = (Stage.WAITING, Stage.DRAFT, Stage.NOT_RECOGNISED, Stage.UP_TO_DATE, Stage.CANCELLED)
"""Nothing is under way."""


@dataclass(frozen=True)
class Ready:
    """The engine can work."""

    device: str
    encoder: str
    encoder_checksum: str
    encoder_trained: bool


@dataclass(frozen=True)
class CineReceived:
    """The frames of a cine were copied; their file may go."""

    cine_id: int


@dataclass(frozen=True)
class LabelsReceived:
    """The labels were copied; their file may go."""

    labels: SharedArray


@dataclass(frozen=True)
class CancelReceived:
    """The engine is alive and has heard `Cancel`: it stops when the step under way is done."""


@dataclass(frozen=True)
class Progress:
    """How far a stage has come; `total` 0 where that is unknown."""

    cine_id: int
    revision: int
    stage: Stage
    done: int = 0
    total: int = 0
    loss: float | None = None


@dataclass(frozen=True)
class Predicted:
    """Masks of these frames are in the cine's `masks`; `confidence` is the mean Dice to expect of each.

    `final` says that the fit to this revision is over and these masks will not change until the next one.
    `findings` are reasons to look at a frame, in words, for each of `frames`.
    """

    cine_id: int
    revision: int
    frames: tuple[int, ...]
    confidence: tuple[float, ...]
    final: bool
    draft: bool = False
    findings: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Suggested:
    """The frame of a cine to outline next, None where no further label would help much.

    `next_cine_id` is a cine in which a label would teach more than in this one, None where there is none.
    """

    cine_id: int
    revision: int
    frame: int | None
    next_cine_id: int | None


@dataclass(frozen=True)
class HeadReady:
    """A fit ended: the head lies in `path`; `revisions` are (cine, revision) pairs that it was fitted to."""

    path: str
    encoder: str
    encoder_checksum: str
    revisions: tuple[tuple[int, int], ...]
    steps: int
    loss: float


@dataclass(frozen=True)
class Failed:
    """Something went wrong; one sentence for the user. The engine goes on.

    `cine_id` names the cine that is left out of learning until `Resume`, None where it is not one alone.
    `lost` says that a request about this cine was not taken, so that it has to be sent again.
    """

    text: str
    cine_id: int | None = None
    lost: bool = False


Report = (
    Ready
    | CineReceived
    | LabelsReceived
    | CancelReceived
    | Progress
    | Predicted
    | Suggested
    | HeadReady
    | Failed
)
