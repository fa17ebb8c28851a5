"""Content of the curve: size of the left ventricle of the visible cine, beats and marks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.domain.facts import Phase, PhaseMark
from app.ui.volume_curve import Curve, Flag
from app.workspace.measuring.shown_views import ShownView


def curve_of(view: ShownView) -> Curve:
    """Return the curve of a view with its beats, R waves and flags."""
    measured, cine = view.measured, view.opened.cine
    times = cine.timing.times_ms
    waves: tuple[float, ...] = ()
    if cine.r_waves_ms and cine.n_frames > 1:
        inside = [wave for wave in cine.r_waves_ms if times[0] <= wave <= times[-1]]
        waves = tuple(float(x) for x in np.interp(inside, times, np.arange(cine.n_frames)))
    values, name, unit = measured.areas, "LV area", "cm²" if measured.in_mm else "px"
    geometries = measured.geometries
    if all(geometries.is_examined(frame) for frame in geometries.frames) and measured.volumes is not None:
        values, name, unit = measured.volumes, "LV volume", "ml"
    return Curve(
        values,
        name,
        unit,
        tuple((beat.ed, beat.end) for beat in measured.cycle.beats),
        waves,
        flags_of(view, view.opened.recorder.layer.phases),
    )


def flags_of(view: ShownView, marks: Mapping[int, PhaseMark]) -> tuple[Flag, ...]:
    """Return the flags of all measured beats, and of marks that belong to none."""
    flags = {
        (phase, frame): Flag(phase, frame, _is_marked(marks, frame, phase), is_measured=beat is view.beat)
        for beat in view.measured.beats
        for phase, frame in ((Phase.ED, beat.ed_frame), (Phase.ES, beat.es_frame))
        if frame is not None
    }
    for frame, mark in marks.items():
        flags.setdefault((mark.phase, frame), Flag(mark.phase, frame, True, is_measured=False))
    return tuple(sorted(flags.values(), key=lambda flag: flag.frame))


def _is_marked(marks: Mapping[int, PhaseMark], frame: int, phase: Phase) -> bool:
    mark = marks.get(frame)
    return mark is not None and mark.phase is phase
