"""Size of the left atrium over a beat."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.measure.disks import area_length_ml, biplane_ml
from app.domain.measure.heart import HeartGeometry


@dataclass(frozen=True)
class AtrialVolumes:
    """Volumes of the left atrium; None where one cannot be given.

    Attributes
    ----------
    es_ml : float or None
        At end-systole, by the method of disks.
    es_area_length_ml : float or None
        At end-systole, by the area-length method.
    min_ml : float or None
        Smallest volume of the beat, by the method of disks.
    reservoir_percent : float or None
        Total emptying fraction, 100 * (largest - smallest) / largest, with the volume at end-systole as the
        largest (Lang et al. 2015, 10.1016/j.echo.2014.10.003).
    """

    es_ml: float | None = None
    es_area_length_ml: float | None = None
    min_ml: float | None = None
    reservoir_percent: float | None = None


def single_plane_atrium(es: HeartGeometry, smallest: HeartGeometry | None) -> AtrialVolumes:
    """Measure the atrium in one view, in ml.

    Parameters
    ----------
    es : HeartGeometry
        At end-systole.
    smallest : HeartGeometry or None
        On the frame of the beat with the smallest atrium; None if it is unknown.
    """
    if es.atrium is None or es.atrial_length_mm is None:
        return AtrialVolumes()
    return _with_minimum(
        es.atrial_volume_ml,
        area_length_ml(es.atrium.area_mm2, es.atrial_length_mm),
        None if smallest is None else smallest.atrial_volume_ml,
    )


def biplane_atrium(
    es: tuple[HeartGeometry, HeartGeometry], smallest: tuple[HeartGeometry, HeartGeometry] | None
) -> AtrialVolumes:
    """Measure the atrium in two views, in ml; parameters as in `single_plane_atrium`.

    The area-length method divides by the shorter of the two long axes.
    """
    one, other = es
    if one.atrium is None or other.atrium is None:
        return AtrialVolumes()
    lengths = [geometry.atrial_length_mm for geometry in es if geometry.atrial_length_mm is not None]
    return _with_minimum(
        _biplane_ml(es),
        area_length_ml(one.atrium.area_mm2, min(lengths), other.atrium.area_mm2),
        None if smallest is None else _biplane_ml(smallest),
    )


def _biplane_ml(pair: tuple[HeartGeometry, HeartGeometry]) -> float | None:
    one, other = (geometry.atrial_disks for geometry in pair)
    return None if one is None or other is None else biplane_ml(one, other)


def _with_minimum(es_ml: float | None, area_length: float, min_ml: float | None) -> AtrialVolumes:
    if es_ml is None or min_ml is None or not 0.0 < min_ml <= es_ml:
        return AtrialVolumes(es_ml, area_length)
    return AtrialVolumes(es_ml, area_length, min_ml, 100.0 * (es_ml - min_ml) / es_ml)
