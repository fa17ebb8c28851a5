"""Reasons to doubt or to withhold a measurement, and their sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class CaveatKind(StrEnum):
    """Kind of a caveat."""

    NO_CALIBRATION = "no calibration"
    CALIBRATIONS_DIFFER = "calibrations differ"
    CALIBRATED_BY_HAND = "calibrated by hand"
    PAIR_CALIBRATIONS = "one of the pair calibrated"
    PAIR_DISAGREES = "calibrations of the pair disagree"
    NO_VENTRICLE = "no left ventricle"
    NO_BEAT = "no complete beat"
    ONE_FRAME = "one frame"
    FEW_LABELS = "few labels"
    SAME_FRAME = "same frame"
    ES_BEFORE_ED = "end-systole before end-diastole"
    ESV_EXCEEDS_EDV = "ESV exceeds EDV"
    ATRIUM_REVERSED = "atrium not largest at end-systole"
    FORESHORTENED = "foreshortened"
    CLIPPED = "clipped"
    ATRIUM_CLIPPED = "atrium clipped"
    FRAGMENTED = "fragmented"
    BASE_FROM_SHAPE = "base from shape"
    LANDMARKS_IGNORED = "landmarks ignored"
    UNCHECKED = "unchecked"
    LOW_CONFIDENCE = "low confidence"
    COLOUR_DOPPLER = "colour Doppler"
    ASSUMED_FRAME_RATE = "assumed frame rate"
    UNKNOWN_VIEW = "unknown view"
    NOT_APICAL = "not apical"
    NOT_BIPLANE = "views not biplane"


_TEXTS = {
    CaveatKind.NO_CALIBRATION: (
        "The file states no pixel size: volumes and lengths are not given; calibrate the picture."
    ),
    CaveatKind.CALIBRATIONS_DIFFER: (
        "The structures lie in regions of different pixel sizes: volumes and lengths are not given."
    ),
    CaveatKind.CALIBRATED_BY_HAND: (
        "The pixel size was calibrated by hand: an error of 1 % in it changes volumes by 3 %."
    ),
    CaveatKind.PAIR_CALIBRATIONS: (
        "Only one of the two views has a pixel size, so biplane volumes are not given: calibrate the other."
    ),
    CaveatKind.PAIR_DISAGREES: (
        "The long axes differ by {value:.0f} % and the pixel sizes differ too, so biplane volumes are not "
        "given: check the calibration of both views."
    ),
    CaveatKind.NO_VENTRICLE: (
        "No left ventricle is labelled: label the LV cavity at end-diastole and end-systole."
    ),
    CaveatKind.NO_BEAT: "The cine contains no complete beat: set the frames of end-diastole and end-systole.",
    CaveatKind.ONE_FRAME: (
        "The cine has one frame only and thus no complete beat: volumes of both phases need a moving cine."
    ),
    CaveatKind.FEW_LABELS: (
        "Only {value:.0f} % of the frames show a labelled left ventricle, too few to find a complete beat: "
        "set the frames of end-diastole and end-systole."
    ),
    CaveatKind.ES_BEFORE_ED: (
        "End-systole lies before end-diastole, so the two frames belong to different beats: check both."
    ),
    CaveatKind.SAME_FRAME: "End-diastole and end-systole are the same frame: choose two frames.",
    CaveatKind.ESV_EXCEEDS_EDV: (
        "The left ventricle is larger at end-systole than at end-diastole: check both frames and their masks."
    ),
    CaveatKind.ATRIUM_REVERSED: (
        "The left atrium is not largest at end-systole: its reservoir fraction is not given."
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
    CaveatKind.LANDMARKS_IGNORED: (
        "The landmarks set by hand do not fit the LV cavity and are not used: move or remove them."
    ),
    CaveatKind.UNCHECKED: "The LV cavity is a prediction that nobody has checked.",
    CaveatKind.LOW_CONFIDENCE: (
        "The expected Dice of the mask is {value:.2f}, which is below 0.80: check its outline."
    ),
    CaveatKind.COLOUR_DOPPLER: "The image contains colour Doppler, which hides borders.",
    CaveatKind.ASSUMED_FRAME_RATE: "The file states no frame rate: times and heart rate are not given.",
    CaveatKind.UNKNOWN_VIEW: "The view is unknown: the method assumes an apical view.",
    CaveatKind.NOT_APICAL: (
        "The view is not A4C, A2C or A3C, which the method of disks needs: nothing is measured."
    ),
    CaveatKind.NOT_BIPLANE: "Biplane volumes need an A4C and an A2C view: pair two such cines.",
}


@dataclass(frozen=True)
class Caveat:
    """One reason to doubt or to withhold a measurement.

    Attributes
    ----------
    kind : CaveatKind
    frame : int or None
        Zero-based frame that it concerns; None for the whole cine or pair.
    value : float or None
        Number in the sentence, such as the expected Dice.
    """

    kind: CaveatKind
    frame: int | None = None
    value: float | None = None

    @property
    def text(self) -> str:
        """One sentence for the user."""
        text = self._sentence
        return text if self.frame is None else f"Frame {self.frame}: {_continued(text)}"

    @property
    def _sentence(self) -> str:
        return _TEXTS[self.kind].format(value=self.value)


def unique(caveats: Iterable[Caveat]) -> tuple[Caveat, ...]:
    """Drop repeated caveats and keep their order."""
    return tuple(dict.fromkeys(caveats))


def sentences(caveats: Iterable[Caveat]) -> list[str]:
    """Return one sentence per reason; frames with the same reason share one."""
    frames: dict[str, list[int]] = {}
    for caveat in unique(caveats):
        listed = frames.setdefault(caveat._sentence, [])
        if caveat.frame is not None:
            listed.append(caveat.frame)
    found = []
    for text, numbers in frames.items():
        if len(numbers) > 1:
            listed_frames = ", ".join(map(str, numbers[:-1]))
            found.append(f"Frames {listed_frames} and {numbers[-1]}: {_continued(text)}")
        else:
            found.append(f"Frame {numbers[0]}: {_continued(text)}" if numbers else text)
    return found


def _continued(text: str) -> str:
    """Return a sentence as it follows a colon; abbreviations such as "LV" keep their capitals."""
    return text if text[:2].isupper() else text[0].lower() + text[1:]
