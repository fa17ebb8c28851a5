"""Biplane volumes and ejection fraction of the left ventricle, and biplane volumes of the left atrium."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.domain.cine import Calibration
from app.domain.measure.atrium import AtrialVolumes, biplane_atrium
from app.domain.measure.caveats import Caveat, CaveatKind
from app.domain.measure.disks import Disks, biplane_ml, camus_volumes_ml, disks
from app.domain.measure.heart import HeartGeometry
from app.domain.measure.view_measurement import (
    ViewMeasurement,
    cardiac_output_l_min,
    ejection_fraction_percent,
)

LARGEST_LENGTH_DIFFERENCE = 0.1
"""Two long axes that differ by more than this share of the longer one suggest foreshortening."""

IMPOSSIBLE_LENGTH_DIFFERENCE = 0.35
"""Two long axes that differ by more than this in pictures of different pixel sizes suggest a wrong size."""


class Method(StrEnum):
    """Variant of the method of disks."""

    ASE = "ase"
    """ASE/EACVI 2015, Lang et al., 10.1016/j.echo.2014.10.003."""
    CAMUS = "camus"
    """The script of the CAMUS data, for comparison with its released values: see `camus_volumes_ml`."""


@dataclass(frozen=True)
class BiplaneMeasurement:
    """Biplane measurements; None where a number cannot be given.

    Attributes
    ----------
    edv_ml, esv_ml, sv_ml, ef_percent : float or None
        Left ventricle by the method of disks.
    cardiac_output_l_min : float or None
        Stroke volume times heart rate.
    gls_endo_percent : float or None
        Mean of the endocardial contour strain of both views.
    la_volume_es_ml, la_volume_es_area_length_ml, la_volume_min_ml, la_reservoir_percent : float or None
        Left atrium, as in `AtrialVolumes`.
    caveats : tuple of Caveat
    """

    edv_ml: float | None = None
    esv_ml: float | None = None
    sv_ml: float | None = None
    ef_percent: float | None = None
    cardiac_output_l_min: float | None = None
    gls_endo_percent: float | None = None
    la_volume_es_ml: float | None = None
    la_volume_es_area_length_ml: float | None = None
    la_volume_min_ml: float | None = None
    la_reservoir_percent: float | None = None
    caveats: tuple[Caveat, ...] = ()


@dataclass(frozen=True, eq=False)
class BeatPlane:
    """One beat of one view.

    Attributes
    ----------
    measured : ViewMeasurement
    ed, es : HeartGeometry or None
        Geometry at end-diastole and end-systole; None where no ventricle is labelled.
    smallest_atrium : HeartGeometry or None
        Geometry on the frame with the smallest atrium.
    calibration : Calibration or None
        Pixel size; None if the geometry is in pixels of unknown size.
    """

    measured: ViewMeasurement
    ed: HeartGeometry | None
    es: HeartGeometry | None
    smallest_atrium: HeartGeometry | None = None
    calibration: Calibration | None = None


def measure_biplane(
    one: BeatPlane,
    other: BeatPlane,
    *,
    method: Method = Method.ASE,
    heart_rate: float | None = None,
) -> BiplaneMeasurement:
    """Measure the left heart in one beat of each of two views.

    Parameters
    ----------
    one, other : BeatPlane
        Views in pixels of unknown size cannot be paired.
    method : Method
    heart_rate : float or None
        Measured heart rate per minute.
    """
    strains = [plane.measured.gls_endo_percent for plane in (one, other)]
    strain = None if None in strains else sum(s for s in strains if s is not None) / 2.0
    reason = _obstacle(one, other)
    if one.ed is None or one.es is None or other.ed is None or other.es is None or reason is not None:
        caveat = Caveat(CaveatKind.NO_BEAT) if reason is None else reason
        return BiplaneMeasurement(gls_endo_percent=strain, caveats=(caveat,))
    ed, es = (one.ed, other.ed), (one.es, other.es)
    edv, esv = _volumes(ed, es, method)
    differ = any(_length_difference(pair) > LARGEST_LENGTH_DIFFERENCE for pair in (ed, es))
    caveats = [Caveat(CaveatKind.FORESHORTENED)] if differ else []
    ef = ejection_fraction_percent(edv, esv)
    if ef is None:
        caveats.append(Caveat(CaveatKind.ESV_EXCEEDS_EDV))
    stroke = None if ef is None else edv - esv
    smallest = None
    if one.smallest_atrium is not None and other.smallest_atrium is not None:
        smallest = (one.smallest_atrium, other.smallest_atrium)
    atrium: AtrialVolumes = biplane_atrium(es, smallest)
    return BiplaneMeasurement(
        edv,
        esv,
        stroke,
        ef,
        cardiac_output_l_min(stroke, heart_rate),
        strain,
        atrium.es_ml,
        atrium.es_area_length_ml,
        atrium.min_ml,
        atrium.reservoir_percent,
        tuple(caveats),
    )


def _obstacle(one: BeatPlane, other: BeatPlane) -> Caveat | None:
    """Return why two beats cannot be combined; None if they can."""
    planes = one, other
    if any(plane.measured.ed_frame is None for plane in planes):
        return Caveat(CaveatKind.NO_BEAT)
    if any(plane.measured.ed_frame == plane.measured.es_frame for plane in planes):
        return Caveat(CaveatKind.SAME_FRAME)
    if one.ed is None or one.es is None or other.ed is None or other.es is None:
        return Caveat(CaveatKind.NO_VENTRICLE)
    calibrated = [plane.calibration is not None for plane in planes]
    if not all(calibrated):
        return Caveat(CaveatKind.PAIR_CALIBRATIONS if any(calibrated) else CaveatKind.NO_CALIBRATION)
    shares = [_length_difference(pair) for pair in ((one.ed, other.ed), (one.es, other.es))]
    if _sizes_differ(one, other) and min(shares) > IMPOSSIBLE_LENGTH_DIFFERENCE:
        return Caveat(CaveatKind.PAIR_DISAGREES, value=100.0 * min(shares))
    return None


def _sizes_differ(one: BeatPlane, other: BeatPlane) -> bool:
    """Return True if the pixel sizes differ by over 1 %, or if only one of them was set by hand."""
    first, second = one.calibration, other.calibration
    if first is None or second is None:
        return False
    ratio = first.mm_per_px_y / second.mm_per_px_y
    return abs(ratio - 1.0) > 0.01 or first.source != second.source


def _volumes(
    ed: tuple[HeartGeometry, HeartGeometry], es: tuple[HeartGeometry, HeartGeometry], method: Method
) -> tuple[float, float]:
    """Return EDV and ESV in ml."""
    if method is Method.ASE:
        return biplane_ml(ed[0].disks, ed[1].disks), biplane_ml(es[0].disks, es[1].disks)
    return camus_volumes_ml((_camus(ed[0]), _camus(ed[1])), (_camus(es[0]), _camus(es[1])))


def _camus(geometry: HeartGeometry) -> Disks:
    return disks(geometry.cavity.points, geometry.axis.base, geometry.axis.apex, offset=0.0)


def _length_difference(pair: tuple[HeartGeometry, HeartGeometry]) -> float:
    """Return the difference of two long axes as a share of the longer one."""
    shorter, longer = sorted(geometry.axis.length_mm for geometry in pair)
    return (longer - shorter) / longer
