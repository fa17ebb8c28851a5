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
    ed, es = mask_of(beat.ed_frame), mask_of(beat.es_frame)
    found: dict[str, Interval] = {}
    for key, value, quantity, masks in (
        ("edv_ml", beat.edv_ml, Quantity.EDV, [ed]),
        ("esv_ml", beat.esv_ml, Quantity.ESV, [es]),
        ("sv_ml", beat.sv_ml, Quantity.SV, [ed, es]),
        ("la_volume_es_ml", beat.la_volume_es_ml, Quantity.LA_VOLUME, [es]),
        ("cardiac_output_l_min", beat.cardiac_output_l_min, Quantity.SV, [ed, es]),
    ):
        if value is not None:
            found[f"{name}.{key}"] = volume_interval(value, quantity, masks)
    if beat.ef_percent is not None:
        found[f"{name}.ef_percent"] = ef_interval(beat.ef_percent, [ed, es])
    for key, strain in (
        ("gls_endo_percent", beat.gls_endo_percent),
        ("gls_midwall_percent", beat.gls_midwall_percent),
    ):
        if strain is not None:
            found[f"{name}.{key}"] = strain_interval(strain, [ed, es])
    return found


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
    found: dict[str, Interval] = {}
    for key, value, quantity, relevant in (
        ("edv_ml", measured.edv_ml, Quantity.EDV, masks[::2]),
        ("esv_ml", measured.esv_ml, Quantity.ESV, masks[1::2]),
        ("sv_ml", measured.sv_ml, Quantity.SV, masks),
        ("la_volume_es_ml", measured.la_volume_es_ml, Quantity.LA_VOLUME, masks[1::2]),
        ("cardiac_output_l_min", measured.cardiac_output_l_min, Quantity.SV, masks),
    ):
        if value is not None:
            found[f"biplane.{key}"] = volume_interval(value, quantity, relevant, biplane=True)
    if measured.ef_percent is not None:
        found["biplane.ef_percent"] = ef_interval(measured.ef_percent, masks, biplane=True)
    if measured.gls_endo_percent is not None:
        found["biplane.gls_endo_percent"] = strain_interval(measured.gls_endo_percent, masks, biplane=True)
    return found
