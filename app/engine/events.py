"""Events of a learning session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.cine import Frame
from vjepa_core.service.messages import CancelReceived, Progress, Ready, Suggested, ViewRecognised


@dataclass(frozen=True, eq=False)
class PredictedMasks:
    """Predicted masks of some frames of a cine.

    Attributes
    ----------
    cine_id : int
    revision : int
        Revision of the annotations that they belong to.
    masks : mapping of int to ndarray of uint8, shape (height, width)
        Label image by frame.
    expected_dice : mapping
        Expected Dice, 0 to 1, by frame.
    final : bool
        True if the fit to this revision is complete.
    draft : bool
        True if the starter head predicted them.
    doubts : mapping
        Doubt by frame: probability of a wrong label, times 255, (112, 112) uint8 over the letterboxed region.
    findings : mapping
        Findings by frame, as texts for the user.
    structure_dice : mapping
        By frame, the Dice of each structure expected from the softmax, by label value.
    """

    cine_id: int
    revision: int
    masks: Mapping[int, Frame]
    expected_dice: Mapping[int, float]
    final: bool
    draft: bool = False
    doubts: Mapping[int, Frame] = field(default_factory=dict)
    findings: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    structure_dice: Mapping[int, Mapping[int, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class HeadFitted:
    """A fit is complete.

    Attributes
    ----------
    blob : bytes or None
        File of the head; None if it could not be read.
    encoder, encoder_checksum : str
    revisions : mapping
        Revision of the annotations of each cine that it was fitted to.
    """

    blob: bytes | None
    encoder: str
    encoder_checksum: str
    revisions: Mapping[int, int]


@dataclass(frozen=True)
class EngineDied:
    """The engine process ended unexpectedly; `restarted` is True if a new one is starting."""

    exit_code: int | None
    restarted: bool


@dataclass(frozen=True)
class EngineNotStarted:
    """The engine cannot work until `LearningSession.resume`; `text` is a sentence with the reason."""

    text: str


@dataclass(frozen=True)
class LearningFailure:
    """An operation of the engine failed.

    Attributes
    ----------
    text : str
        A sentence with the cause and the remedy.
    cine_id : int or None
        The cine that the failure concerns, if any.
    """

    text: str
    cine_id: int | None = None


Event = (
    PredictedMasks
    | HeadFitted
    | EngineDied
    | EngineNotStarted
    | LearningFailure
    | Ready
    | CancelReceived
    | Progress
    | Suggested
    | ViewRecognised
)
