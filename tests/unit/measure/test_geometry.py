"""Geometry on shapes whose area, length and volume are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.measure.contour import Contour, contour
from app.domain.measure.disks import (
    Disks,
    area_length_ml,
    biplane_ml,
    camus_volumes_ml,
    disks,
    single_plane_ml,
)
from app.domain.measure.landmarks import AxisPoints, Source, derive
from app.domain.measure.strain import (
    annular_excursion_mm,
    free_border,
    midwall,
    strain_percent,
    wall_thickness_mm,
)

LENGTH, RADIUS = 80.0, 25.0
VOLUME = 2.0 / 3.0 * np.pi * RADIUS**2 * LENGTH / 1000.0
SPACINGS = [(0.4, 0.4), (0.31, 0.15), (0.3, 0.6)]
ANGLES = [0.0, 0.3, -0.5]


def half_ellipse(
    spacing: tuple[float, float] = (0.4, 0.4),
    *,
    angle: float = 0.0,
    length: float = LENGTH,
    radius: float = RADIUS,
    base: tuple[float, float] = (100.3, 80.2),
    slant: float = 0.0,
) -> NDArray[np.bool_]:
    """Longitudinal section of a half-ellipsoid with its apex up, as a mask; angles in radians."""
    shape = tuple(int(160 / size) for size in spacing)
    y, x = np.mgrid[: shape[0], : shape[1]]
    y, x = y * spacing[0] - base[0], x * spacing[1] - base[1]
    along = np.cos(angle) * y + np.sin(angle) * x
    across = -np.sin(angle) * y + np.cos(angle) * x
    return ((along / length) ** 2 + (across / radius) ** 2 < 1) & (along <= np.tan(slant) * across)


def traced(mask: NDArray[np.bool_], spacing: tuple[float, float] = (0.4, 0.4)) -> Contour:
    """Contour of a mask that is not empty."""
    found = contour(mask, spacing)
    assert found is not None
    return found


def cut(
    mask: NDArray[np.bool_], spacing: tuple[float, float] = (0.4, 0.4), *, n: int = 20, offset: float = 0.5
) -> Disks:
    """Disks of a mask without neighbours."""
    points = traced(mask, spacing).points
    axis = derive(points)
    return disks(points, axis.base, axis.apex, n, offset=offset)


@pytest.mark.parametrize("radius", [8.0, 20.0, 40.0])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_area_and_perimeter_of_a_disc(radius: float, spacing: tuple[float, float]) -> None:
    y, x = np.mgrid[: int(120 / spacing[0]), : int(120 / spacing[1])]
    found = traced((y * spacing[0] - 60.1) ** 2 + (x * spacing[1] - 59.7) ** 2 < radius**2, spacing)
    assert found.area_mm2 == pytest.approx(np.pi * radius**2, rel=0.01)
    assert found.perimeter_mm == pytest.approx(2 * np.pi * radius, rel=0.015)
    assert found.fragment_share == 0.0


def test_the_largest_part_is_measured_and_the_rest_is_reported() -> None:
    mask = np.zeros((200, 200), bool)
    mask[20:120, 20:120] = True
    mask[150:170, 150:170] = True
    found = traced(mask, (1.0, 1.0))
    assert found.area_mm2 == pytest.approx(10_000, rel=0.005)
    assert found.fragment_share == pytest.approx(400 / 10_400, rel=0.05)


def test_a_hole_is_not_taken_off_the_contour() -> None:
    mask = np.zeros((120, 120), bool)
    mask[10:110, 10:110] = True
    mask[50:70, 50:70] = False
    assert traced(mask, (1.0, 1.0)).area_mm2 == pytest.approx(10_000, rel=0.005)


def test_nothing_to_trace() -> None:
    assert contour(np.zeros((50, 50), bool), (1.0, 1.0)) is None


def test_a_structure_at_the_edge_of_the_frame_is_closed_along_it() -> None:
    mask = np.zeros((100, 100), bool)
    mask[:40, :30] = True
    assert traced(mask, (1.0, 1.0)).area_mm2 == pytest.approx(1200, rel=0.01)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_half_ellipsoid_volume_and_length(angle: float, spacing: tuple[float, float]) -> None:
    mask, outer = half_ellipse(spacing, angle=angle), half_ellipse(spacing, angle=angle, length=89, radius=34)
    cavity, wall = traced(mask, spacing), traced(outer & ~mask, spacing)
    axis = derive(cavity.points, wall=wall.points)
    found = disks(cavity.points, axis.base, axis.apex)
    assert axis.source is Source.WALL
    assert single_plane_ml(found) == pytest.approx(VOLUME, rel=0.01)
    assert found.length_mm == pytest.approx(LENGTH, abs=0.5 * max(spacing))
    assert axis.annulus_mm == pytest.approx(2 * RADIUS, abs=3.0)
    assert area_length_ml(cavity.area_mm2, found.length_mm) == pytest.approx(VOLUME, rel=0.01)


def test_hinge_points_come_from_the_border_with_the_atrium_where_there_is_one() -> None:
    spacing = (0.4, 0.4)
    cavity, outer = half_ellipse(), half_ellipse(length=89, radius=34)
    y, x = np.mgrid[: cavity.shape[0], : cavity.shape[1]]
    atrium = ((y * 0.4 - 118) / 19.0) ** 2 + ((x * 0.4 - 80.2) / 18.0) ** 2 < 1
    atrium &= ~(cavity | outer)
    points = traced(cavity).points
    axis = derive(points, atrium=traced(atrium, spacing).points, wall=traced(outer & ~cavity).points)
    assert axis.source is Source.ATRIUM
    assert axis.left[1] < axis.right[1]
    assert axis.annulus_mm < 2 * RADIUS
    assert axis.base == pytest.approx([100.3, 80.2], abs=1.0)


def test_an_atrium_far_away_is_no_neighbour() -> None:
    cavity = traced(half_ellipse()).points
    assert derive(cavity, atrium=cavity + np.array([60.0, 0.0])).source is Source.SHAPE


@pytest.mark.parametrize("angle", ANGLES)
def test_noise_on_the_border_does_not_move_the_volume(angle: float) -> None:
    generator = np.random.default_rng(5)
    mask = half_ellipse(angle=angle)
    border = np.pad(mask, 1)
    inner = border[:-2, 1:-1] & border[2:, 1:-1] & border[1:-1, :-2] & border[1:-1, 2:]
    ring = mask & ~inner
    noisy = mask & ~(ring & (generator.random(mask.shape) < 0.5))
    lost = noisy.sum() / mask.sum()
    assert single_plane_ml(cut(noisy)) == pytest.approx(VOLUME * lost**1.5, rel=0.02)


def test_over_and_under_tracing_change_the_volume_as_theory_predicts() -> None:
    for margin in (-3.0, -1.0, 1.0, 3.0):
        expected = 2 / 3 * np.pi * (RADIUS + margin) ** 2 * (LENGTH + margin) / 1000
        mask = half_ellipse(length=LENGTH + margin, radius=RADIUS + margin)
        assert single_plane_ml(cut(mask)) == pytest.approx(expected, rel=0.01)


def test_a_slanted_base_costs_volume() -> None:
    straight, slanted = (single_plane_ml(cut(half_ellipse(slant=slant))) for slant in (0.0, np.deg2rad(12)))
    assert slanted == pytest.approx(straight, rel=0.06)
    assert slanted < straight


def test_foreshortening_shortens_the_axis_and_the_volume() -> None:
    full, short = cut(half_ellipse()), cut(half_ellipse(length=0.8 * LENGTH))
    assert short.length_mm / full.length_mm == pytest.approx(0.8, abs=0.01)
    # The disks of the short view are summed over the longer axis of the pair.
    assert biplane_ml(full, short) == pytest.approx(VOLUME, rel=0.01)
    assert single_plane_ml(short) == pytest.approx(0.8 * VOLUME, rel=0.01)


def test_biplane_of_an_elliptical_section() -> None:
    expected = 2 / 3 * np.pi * 25.0 * 20.0 * LENGTH / 1000
    assert biplane_ml(cut(half_ellipse()), cut(half_ellipse(radius=20.0))) == pytest.approx(
        expected, rel=0.01
    )


def test_ejection_fraction_of_half_ellipsoids() -> None:
    ed, es = (
        single_plane_ml(cut(half_ellipse())),
        single_plane_ml(cut(half_ellipse(length=70.0, radius=18.0))),
    )
    expected = 100 * (1 - 70.0 * 18.0**2 / (LENGTH * RADIUS**2))
    assert 100 * (ed - es) / ed == pytest.approx(expected, abs=0.5)


def test_pairs_need_the_same_number_of_disks() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        biplane_ml(cut(half_ellipse()), cut(half_ellipse(), n=10))


def test_the_camus_variant_uses_one_length_and_reads_smaller_ejection_fractions() -> None:
    """A true EF of 60 with lengths 80 and 70 mm reads about 54 there: the ESV is summed over 80 mm."""
    ed, es = half_ellipse(), half_ellipse(length=70.0, radius=16.9)
    first, second = cut(ed, offset=0.0), cut(es, offset=0.0)
    edv, esv = camus_volumes_ml((first, first), (second, second))
    ase = [single_plane_ml(cut(mask)) for mask in (ed, es)]
    assert edv / ase[0] == pytest.approx(1.037, abs=0.015)
    assert esv / ase[1] == pytest.approx(1.037 * 80 / 70, abs=0.03)
    assert 100 * (1 - ase[1] / ase[0]) == pytest.approx(60.0, abs=0.7)
    assert 100 * (1 - esv / edv) == pytest.approx(54.3, abs=1.0)


def axis_of(mask: NDArray[np.bool_]) -> tuple[Contour, AxisPoints]:
    """Contour and axis points of a mask."""
    found = traced(mask)
    return found, derive(found.points)


def test_strain_of_a_shape_that_shrinks_evenly() -> None:
    lines = []
    for factor in (1.0, 0.8):
        found, axis = axis_of(half_ellipse(length=factor * LENGTH, radius=factor * RADIUS))
        lines.append(free_border(found.points, axis))
    assert strain_percent(*lines) == pytest.approx(-20.0, abs=0.7)


def test_thickness_of_a_wall() -> None:
    found, axis = axis_of(half_ellipse())
    outer = traced(half_ellipse(length=LENGTH + 9, radius=RADIUS + 9))
    endocardium = free_border(found.points, axis)
    assert wall_thickness_mm(endocardium, midwall(endocardium, outer.points)) == pytest.approx(8.4, abs=0.6)


def test_excursion_of_the_annulus() -> None:
    ed, es = axis_of(half_ellipse())[1], axis_of(half_ellipse(length=68.0, base=(88.3, 80.2)))[1]
    left, right = annular_excursion_mm(ed, es)
    assert (left, right) == (pytest.approx(12.0, abs=1.0), pytest.approx(12.0, abs=1.0))
