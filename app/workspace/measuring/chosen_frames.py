"""Frames of end-diastole and end-systole that follow from marks by hand and from the beats of a cine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.domain.facts import Phase
from app.domain.measure.cine_measurement import CineMeasurement


def chosen_frames(marks: Mapping[Phase, int], measured: CineMeasurement) -> tuple[int, int] | None:
    """Return the frames of end-diastole and end-systole; None without marks.

    If only one phase is marked, the other one is that of the beat whose marked phase is nearest; without a
    beat, it is the frame with the largest or the smallest cavity.

    Parameters
    ----------
    marks : mapping of Phase to int
        Frame of each phase that was marked by hand.
    measured : CineMeasurement
        Measured without marks.
    """
    ed, es = marks.get(Phase.ED), marks.get(Phase.ES)
    if ed is None and es is None:
        return None
    if ed is not None and es is not None:
        return ed, es
    beats = measured.cycle.beats
    if beats and ed is not None:
        return ed, min(beats, key=lambda beat: abs(beat.ed - ed)).es
    if beats and es is not None:
        return min(beats, key=lambda beat: abs(beat.es - es)).ed, es
    areas = measured.areas
    if not np.isfinite(areas).any():
        return (ed, ed) if ed is not None else (es or 0, es or 0)
    if ed is not None:
        return ed, int(np.nanargmin(areas))
    return int(np.nanargmax(areas)), es or 0
