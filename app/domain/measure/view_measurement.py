"""Measurements of the left heart in one apical view, from its end-diastolic and end-systolic frame."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.measure.atrium import AtrialVolumes, single_plane_atrium
from app.domain.measure.caveats import Caveat, CaveatKind, unique
from app.domain.measure.heart import HeartGeometry
from app.domain.measure.landmarks import Source
from app.domain.measure.strain import annular_excursion_mm, strain_percent

MM2_PER_CM2 = 100.0


@dataclass(frozen=True, eq=False)
class ViewMeasurement:
    """Measurements of one view; None where a number cannot be given, with the reason in `caveats`.

    Attributes
    ----------
    ed_frame, es_frame : int or None
        Zero-based frames of end-diastole and end-systole.
    edv_ml, esv_ml, sv_ml : float or None
        Volumes by the method of disks, ml.
    ef_percent : float or None
        Ejection fraction by the method of disks.
    ef_area_length_percent : float or None
        The same by the area-length method, as a check.
    fac_percent : float or None
        Fractional area change.
    length_ed_mm, length_es_mm : float or None
        Long axis, from the middle of the annulus to the apex.
    gls_endo_percent, gls_midwall_percent : float or None
        Contour strain of the endocardial and of the midwall line; negative where the line shortens.
    mapse_left_mm, mapse_right_mm : float or None
        Excursion of the hinge points, left and right as displayed.
    cardiac_output_l_min : float or None
        Stroke volume times heart rate.
    wall_area_ed_cm2, wall_thickness_ed_mm : float or None
        Area and mean thickness of the wall at end-diastole.
    wall_segments_ed_mm : tuple of float or None
        Thickness of the six segments, see `segment_thickness_mm`; empty if unknown.
    la_area_es_cm2, la_volume_es_ml, la_volume_es_area_length_ml : float or None
        Left atrium at end-systole; volume by the method of disks and by the area-length method.
    la_volume_min_ml, la_reservoir_percent : float or None
        Smallest volume of the beat, and total emptying fraction.
    caveats : tuple of Caveat
    """

    ed_frame: int | None
    es_frame: int | None
    edv_ml: float | None = None
    esv_ml: float | None = None
    sv_ml: float | None = None
    ef_percent: float | None = None
    ef_area_length_percent: float | None = None
    fac_percent: float | None = None
    length_ed_mm: float | None = None
    length_es_mm: float | None = None
    gls_endo_percent: float | None = None
    gls_midwall_percent: float | None = None
    mapse_left_mm: float | None = None
    mapse_right_mm: float | None = None
    cardiac_output_l_min: float | None = None
    wall_area_ed_cm2: float | None = None
    wall_thickness_ed_mm: float | None = None
    wall_segments_ed_mm: tuple[float | None, ...] = ()
    la_area_es_cm2: float | None = None
    la_volume_es_ml: float | None = None
    la_volume_es_area_length_ml: float | None = None
    la_volume_min_ml: float | None = None
    la_reservoir_percent: float | None = None
    caveats: tuple[Caveat, ...] = ()


def measure_view(
    ed: HeartGeometry | None,
    es: HeartGeometry | None,
    *,
    ed_frame: int,
    es_frame: int,
    in_mm: bool,
    smallest_atrium: HeartGeometry | None = None,
    heart_rate: float | None = None,
    caveats: tuple[Caveat, ...] = (),
) -> ViewMeasurement:
    """Measure one view.

    Parameters
    ----------
    ed, es : HeartGeometry or None
        Geometry at end-diastole and end-systole; None where no ventricle is labelled.
    ed_frame, es_frame : int
        Their zero-based frames.
    in_mm : bool
        Whether the geometry is in mm; otherwise only ratios are given.
    smallest_atrium : HeartGeometry or None
        Geometry on the frame of the beat with the smallest atrium.
    heart_rate : float or None
        Measured heart rate per minute.
    caveats : tuple of Caveat
        Caveats that are known already, such as a missing calibration.
    """
    found = list(caveats)
    if ed_frame == es_frame:
        return ViewMeasurement(ed_frame, es_frame, caveats=unique([*found, Caveat(CaveatKind.SAME_FRAME)]))
    if es_frame < ed_frame:
        found.append(Caveat(CaveatKind.ES_BEFORE_ED))
    for geometry, frame in ((ed, ed_frame), (es, es_frame)):
        found.extend(_caveats_of(geometry, frame))
    if ed is None or es is None:
        return ViewMeasurement(ed_frame, es_frame, caveats=unique(found))
    edv, esv = ed.volume_ml, es.volume_ml
    ejects = esv <= edv
    if not ejects:
        found.append(Caveat(CaveatKind.ESV_EXCEEDS_EDV))
    mapse = annular_excursion_mm(ed.axis, es.axis) if in_mm and ejects else (None, None)
    midwall_strain = None
    if ed.midwall is not None and es.midwall is not None and ejects:
        midwall_strain = strain_percent(ed.midwall, es.midwall)
    atrium = es.atrium if in_mm else None
    stroke = edv - esv if in_mm and ejects else None
    atrial = single_plane_atrium(es, smallest_atrium)
    volumes = atrial if in_mm else AtrialVolumes()
    return ViewMeasurement(
        ed_frame,
        es_frame,
        edv_ml=edv if in_mm else None,
        esv_ml=esv if in_mm else None,
        sv_ml=stroke,
        ef_percent=ejection_fraction_percent(edv, esv),
        ef_area_length_percent=ejection_fraction_percent(ed.area_length_ml, es.area_length_ml),
        fac_percent=ejection_fraction_percent(ed.cavity.area_mm2, es.cavity.area_mm2),
        length_ed_mm=ed.axis.length_mm if in_mm else None,
        length_es_mm=es.axis.length_mm if in_mm else None,
        gls_endo_percent=strain_percent(ed.endocardium, es.endocardium) if ejects else None,
        gls_midwall_percent=midwall_strain,
        mapse_left_mm=mapse[0],
        mapse_right_mm=mapse[1],
        cardiac_output_l_min=cardiac_output_l_min(stroke, heart_rate),
        wall_area_ed_cm2=ed.wall_area_mm2 / MM2_PER_CM2 if in_mm and ed.wall_area_mm2 is not None else None,
        wall_thickness_ed_mm=ed.thickness if in_mm else None,
        wall_segments_ed_mm=ed.segments if in_mm else (),
        la_area_es_cm2=None if atrium is None else atrium.area_mm2 / MM2_PER_CM2,
        la_volume_es_ml=volumes.es_ml,
        la_volume_es_area_length_ml=volumes.es_area_length_ml,
        la_volume_min_ml=volumes.min_ml,
        la_reservoir_percent=atrial.reservoir_percent,
        caveats=unique(found),
    )


def ejection_fraction_percent(diastolic: float, systolic: float) -> float | None:
    """Return 100 * (diastolic - systolic) / diastolic; None where the systolic value is the larger one."""
    return 100.0 * (diastolic - systolic) / diastolic if 0.0 <= systolic <= diastolic else None


def cardiac_output_l_min(stroke_ml: float | None, heart_rate: float | None) -> float | None:
    """Return stroke volume times heart rate in litres per minute; None if either is unknown."""
    return None if stroke_ml is None or heart_rate is None else stroke_ml * heart_rate / 1000.0


def _caveats_of(geometry: HeartGeometry | None, frame: int) -> list[Caveat]:
    if geometry is None:
        return [Caveat(CaveatKind.NO_VENTRICLE, frame)]
    kinds = list(geometry.problems)
    if geometry.axis.source is Source.SHAPE:
        kinds.append(CaveatKind.BASE_FROM_SHAPE)
    return [Caveat(kind, frame) for kind in kinds]
