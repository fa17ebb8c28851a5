"""Biplane volumes and ejection fraction of the left ventricle from an A4C and an A2C view."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.domain.measure.caveats import Caveat, CaveatKind
from app.domain.measure.disks import Disks, biplane_ml, camus_volumes_ml
from app.domain.measure.view_measurement import ejection_fraction_percent

LARGEST_LENGTH_DIFFERENCE = 0.1
"""Two long axes that differ by more than this share of the longer one suggest foreshortening."""


class Method(StrEnum):
    """Variant of the method of disks."""

    ASE = "ase"
    """ASE/EACVI 2015, Lang et al., 10.1016/j.echo.2014.10.003."""
    CAMUS = "camus"
    """The script of the CAMUS data, for comparison with its released values: see `camus_volumes_ml`."""


@dataclass(frozen=True)
class BiplaneMeasurement:
    """Biplane measurements; None where a number cannot be given."""

    edv_ml: float | None = None
    esv_ml: float | None = None
    ef_percent: float | None = None
    caveats: tuple[Caveat, ...] = ()


def measure_biplane(
    ed: tuple[Disks, Disks], es: tuple[Disks, Disks], *, in_mm: bool, method: Method = Method.ASE
) -> BiplaneMeasurement:
    """Measure the left ventricle in two views.

    Parameters
    ----------
    ed, es : (Disks, Disks)
        Disks of both views at end-diastole and at end-systole. For `Method.CAMUS` they are cut with
        ``offset=0.0``.
    in_mm : bool
        Whether both views are in mm; views in pixels of unknown size cannot be paired.
    method : Method
    """
    if not in_mm:
        return BiplaneMeasurement(caveats=(Caveat(CaveatKind.NO_CALIBRATION),))
    edv, esv = camus_volumes_ml(ed, es) if method is Method.CAMUS else (biplane_ml(*ed), biplane_ml(*es))
    caveats = []
    for pair in (ed, es):
        lengths = sorted(plane.length_mm for plane in pair)
        if lengths[1] - lengths[0] > LARGEST_LENGTH_DIFFERENCE * lengths[1]:
            caveats.append(Caveat(CaveatKind.FORESHORTENED))
            break
    ef = ejection_fraction_percent(edv, esv)
    if ef is None:
        caveats.append(Caveat(CaveatKind.ESV_EXCEEDS_EDV))
    return BiplaneMeasurement(edv, esv, ef, tuple(caveats))
