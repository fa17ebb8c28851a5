"""Reasons to doubt or to withhold a measurement, and their sentences."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CaveatKind(StrEnum):
    """Kind of a caveat."""

    NO_CALIBRATION = "no calibration"
    CALIBRATIONS_DIFFER = "calibrations differ"
    PAIR_CALIBRATIONS = "pair calibrated differently"
    CALIBRATED_BY_HAND = "calibrated by hand"
    NO_VENTRICLE = "no left ventricle"
    NO_BEAT = "no complete beat"
    SAME_FRAME = "same frame"
    ESV_EXCEEDS_EDV = "ESV exceeds EDV"
    FORESHORTENED = "foreshortened"
    CLIPPED = "clipped"
    ATRIUM_CLIPPED = "atrium clipped"
    FRAGMENTED = "fragmented"
    BASE_FROM_SHAPE = "base from shape"
    COLOUR_DOPPLER = "colour Doppler"
    ASSUMED_FRAME_RATE = "assumed frame rate"
    UNKNOWN_VIEW = "unknown view"
    LOW_CONFIDENCE = "low confidence"
    UNCHECKED = "unchecked prediction"


_TEXTS = {
    CaveatKind.NO_CALIBRATION: "The file states no pixel size: volumes and lengths are not given.",
    CaveatKind.CALIBRATIONS_DIFFER: (
        "The structures lie in regions of different pixel sizes: volumes and lengths are not given."
    ),
    CaveatKind.PAIR_CALIBRATIONS: (
        "Only one of the two views has a pixel size, so biplane volumes are not given: calibrate the other."
    ),
    CaveatKind.CALIBRATED_BY_HAND: (
        "The pixel size was set by hand: volumes and lengths are as accurate as that calibration."
    ),
    CaveatKind.NO_VENTRICLE: (
        "No left ventricle is labelled: label the LV cavity at end-diastole and end-systole."
    ),
    CaveatKind.NO_BEAT: "The cine contains no complete beat: set the frames of end-diastole and end-systole.",
    CaveatKind.SAME_FRAME: "End-diastole and end-systole are the same frame: choose two frames.",
    CaveatKind.ESV_EXCEEDS_EDV: (
        "The left ventricle is larger at end-systole than at end-diastole: check both frames and their masks."
    ),
    CaveatKind.FORESHORTENED: (
        "The long axes of the two views differ by more than 10 %: one view is foreshortened."
    ),
    CaveatKind.CLIPPED: "The left ventricle reaches the edge of the sector: volumes may be too small.",
    CaveatKind.ATRIUM_CLIPPED: "The left atrium reaches the edge of the sector: its size may be too small.",
    CaveatKind.FRAGMENTED: "The LV cavity consists of several parts: only the largest one is measured.",
    CaveatKind.BASE_FROM_SHAPE: (
        "Neither wall nor atrium adjoins the LV cavity: the hinge points were derived from its shape."
    ),
    CaveatKind.COLOUR_DOPPLER: "The image contains colour Doppler, which hides borders.",
    CaveatKind.ASSUMED_FRAME_RATE: "The file states no frame rate: times and heart rate are not given.",
    CaveatKind.LOW_CONFIDENCE: "The expected Dice of the mask is below 0.80: check its outline.",
    CaveatKind.UNCHECKED: "The LV cavity is a prediction that nobody has checked.",
    CaveatKind.UNKNOWN_VIEW: "The view is unknown: the method assumes an apical view.",
}


@dataclass(frozen=True)
class Caveat:
    """One reason to doubt or to withhold a measurement.

    Attributes
    ----------
    kind : CaveatKind
    frame : int or None
        Zero-based frame that it concerns; None for the whole cine or pair.
    """

    kind: CaveatKind
    frame: int | None = None

    @property
    def text(self) -> str:
        """One sentence for the user."""
        text = _TEXTS[self.kind]
        return text if self.frame is None else f"Frame {self.frame}: {text[0].lower()}{text[1:]}"


def unique(caveats: list[Caveat]) -> tuple[Caveat, ...]:
    """Drop repeated caveats and keep their order."""
    return tuple(dict.fromkeys(caveats))
