"""Frames of end-diastole and end-systole that follow from marks by hand and from the beats of a cine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from app.domain.facts import Phase
from app.domain.measure.cine_measurement import CineMeasurement, measure_cine
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import ViewInput


def with_marked_frames(view: ViewInput, marks: Mapping[Phase, int], values: Values) -> ViewInput:
    """Return an input with the frames of end-diastole and end-systole that follow from marks by hand.

    Parameters
    ----------
    view : ViewInput
    marks : mapping of Phase to int
        Frame of each phase that was marked by hand; without any, the input is returned as it is.
    values : Values
    """
    if not marks:
        return view
    if len(marks) == len(Phase):
        return replace(view, frames=(marks[Phase.ED], marks[Phase.ES]))
    unmarked = measure_cine(
        view.cine,
        view.labels,
        values,
        checked=view.is_human,
        landmarks=view.landmarks,
        inside=view.inside,
        known=view.known,
    )
    return replace(view, frames=_chosen_frames(marks, unmarked))


def _chosen_frames(marks: Mapping[Phase, int], measured: CineMeasurement) -> tuple[int, int]:
    """Return the frames of end-diastole and end-systole if one of them is marked.

    The other one is that of the beat whose marked phase is nearest; without a
    beat, it is the frame with the largest or the smallest cavity.

    Parameters
    ----------
    marks : mapping of Phase to int
        Frame of the phase that was marked by hand.
    measured : CineMeasurement
        Measured without marks.
    """
    ed, es = marks.get(Phase.ED), marks.get(Phase.ES)
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
