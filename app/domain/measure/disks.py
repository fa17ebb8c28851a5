"""Volumes of a chamber by the method of disks and the area-length method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.measure.contour import Points

N_DISKS = 20
MM3_PER_ML = 1000.0
_INSIDE_MM = 1.0  # a chord on the annulus itself runs along the contour


@dataclass(frozen=True, eq=False)
class Disks:
    """Disks of one view: chords of a contour perpendicular to its long axis.

    Attributes
    ----------
    diameters_mm : (n,) float
        From the base to the apex.
    ends : (n, 2, 2) float
        Both ends (y, x) of each chord in mm; nan where the contour has no chord.
    length_mm : float
        Length of the long axis.
    """

    diameters_mm: NDArray[np.float64]
    ends: NDArray[np.float64]
    length_mm: float


def disks(points: Points, base: Points, apex: Points, n: int = N_DISKS, *, offset: float = 0.5) -> Disks:
    """Cut a closed contour into chords at (i + offset) / n of its long axis.

    Where a chord leaves and enters the contour again, only the parts inside count towards its diameter.

    Parameters
    ----------
    points : (m, 2) float
        Closed contour (y, x) in mm.
    base, apex : (2,) float
        Ends of the long axis, (y, x) in mm: the middle of the annulus and the apex.
    n : int
        Number of disks.
    offset : float
        Place of the chord in its disk: 0.5 is the middle, as ASE/EACVI 2015 has it.
    """
    axis = apex - base
    length = float(np.linalg.norm(axis))
    along = axis / length
    across = np.array([-along[1], along[0]])
    local = points - base
    s, t = local @ along, local @ across
    s_next, t_next = np.roll(s, -1), np.roll(t, -1)
    diameters, ends = np.zeros(n), np.full((n, 2, 2), np.nan)
    for index in range(n):
        level = max((index + offset) / n * length, _INSIDE_MM)
        crossing = (s <= level) != (s_next <= level)
        share = (level - s[crossing]) / (s_next[crossing] - s[crossing])
        cuts = np.sort(t[crossing] + share * (t_next[crossing] - t[crossing]))
        if not cuts.size:
            continue
        diameters[index] = (cuts[1::2] - cuts[::2]).sum()
        ends[index] = base + level * along + np.outer(cuts[[0, -1]], across)
    return Disks(diameters, ends, length)


def single_plane_ml(plane: Disks) -> float:
    """Volume in ml from one view whose disks are taken to be circular.

    V = pi/4 * sum(d_i ** 2) * L / n (ASE/EACVI 2015, Lang et al., 10.1016/j.echo.2014.10.003).
    """
    return biplane_ml(plane, plane)


def biplane_ml(one: Disks, other: Disks) -> float:
    """Volume in ml from two perpendicular views whose disks are taken to be elliptical.

    V = pi/4 * sum(a_i * b_i) * L / n with L the longer of the two long axes
    (ASE/EACVI 2015, Lang et al., 10.1016/j.echo.2014.10.003).

    Raises
    ------
    ValueError
        If the views have different numbers of disks.
    """
    if one.diameters_mm.shape != other.diameters_mm.shape:
        raise ValueError(f"{len(one.diameters_mm)} and {len(other.diameters_mm)} disks cannot be paired")
    return summed_ml(one, other, max(one.length_mm, other.length_mm))


def summed_ml(one: Disks, other: Disks, length_mm: float) -> float:
    """Sum elliptical disks over an axis of the given length; returns ml."""
    areas = np.pi / 4.0 * one.diameters_mm * other.diameters_mm
    return float(areas.mean() * length_mm / MM3_PER_ML)


def area_length_ml(area_mm2: float, length_mm: float, other_area_mm2: float | None = None) -> float:
    """Volume in ml by the area-length method, V = 8 A1 A2 / (3 pi L).

    Parameters
    ----------
    area_mm2 : float
    length_mm : float
        Long axis; with two views the shorter one.
    other_area_mm2 : float, optional
        Area in the second view; default the same area.
    """
    second = area_mm2 if other_area_mm2 is None else other_area_mm2
    return 8.0 * area_mm2 * second / (3.0 * np.pi * length_mm) / MM3_PER_ML


def camus_volumes_ml(ed: tuple[Disks, Disks], es: tuple[Disks, Disks]) -> tuple[float, float]:
    """EDV and ESV in ml as the script of the CAMUS data computes them, for comparison with released values.

    It differs from `biplane_ml` in one point that belongs here: the height of all disks follows from the
    longest of the four axes, so that the end-systolic volume is computed over the end-diastolic length and
    ejection fractions are smaller. Its disks begin on the annulus: cut them with `offset=0.0`.
    After vitalab/vital, scripts/script_camus_ef.ipynb.
    """
    length = max(plane.length_mm for plane in (*ed, *es))
    return summed_ml(*ed, length), summed_ml(*es, length)
