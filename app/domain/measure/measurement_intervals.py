"""90 % intervals of all measurements of a view or of a pair of views, by JSON path."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.domain.measure.biplane import BiplaneMeasurement
from app.domain.measure.cine_measurement import CineMeasurement
from app.domain.measure.intervals import (
    Interval,
    Mask,
    Quantity,
    ef_interval,
    strain_interval,
    volume_interval,
)
from app.domain.measure.view_measurement import ViewMeasurement


def view_intervals(
    name: str, measured: CineMeasurement, mask_of: Callable[[int], Mask]
) -> dict[str, Interval]:
    """Return the intervals of the first beat of a view.

    Parameters
    ----------
    name : str
        Name of the view, the beginning of the paths.
    measured : CineMeasurement
    mask_of : callable
        Returns what is known about the mask of a frame.
    """
    beat = measured.beats[0]
    if beat.ed_frame is None or beat.es_frame is None:
        return {}
    return _intervals(name, beat, [mask_of(beat.ed_frame)], [mask_of(beat.es_frame)])


def biplane_intervals(measured: BiplaneMeasurement, masks: Sequence[Mask]) -> dict[str, Interval]:
    """Return the intervals of a pair of views.

    Parameters
    ----------
    measured : BiplaneMeasurement
    masks : sequence of Mask
        End-diastole and end-systole of the first view, then of the second.
    """
    if len(masks) != 4:
        return {}
    return _intervals("biplane", measured, masks[::2], masks[1::2])


def _intervals(
    name: str, measured: ViewMeasurement | BiplaneMeasurement, ed: Sequence[Mask], es: Sequence[Mask]
) -> dict[str, Interval]:
    """Return the intervals of the numbers that are given; `ed` and `es` have one mask per view."""
    both, biplane = [*ed, *es], len(ed) > 1
    found: dict[str, Interval] = {}
    for key, quantity, masks in (
        ("edv_ml", Quantity.EDV, ed),
        ("esv_ml", Quantity.ESV, es),
        ("sv_ml", Quantity.SV, both),
        ("la_volume_es_ml", Quantity.LA_VOLUME, es),
        ("cardiac_output_l_min", Quantity.SV, both),
    ):
        volume = getattr(measured, key)
        if volume is not None:
            found[f"{name}.{key}"] = volume_interval(volume, quantity, masks, biplane=biplane)
    if measured.ef_percent is not None:
        found[f"{name}.ef_percent"] = ef_interval(measured.ef_percent, both, biplane=biplane)
    for key in ("gls_endo_percent", "gls_midwall_percent"):
        strain = getattr(measured, key, None)  # a pair has no midwall strain
        if strain is not None:
            found[f"{name}.{key}"] = strain_interval(strain, both, biplane=biplane)
    return found
