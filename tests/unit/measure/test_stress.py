"""Faults of outlines on half-ellipsoids: the numbers change as closed formulas predict."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bench.measured_views import VALUES, measure, view_input
from app.domain.measure.caveats import CaveatKind
from app.domain.measure.heart import HeartGeometry, heart_geometry

MM = 0.4
ED, ES = (80.0, 25.0), (70.0, 18.0)
"""Length and radius of a half-ellipsoid in mm."""

WALL_MM = 9.0


def half_width(
    depth: NDArray[np.float64], length: float, radius: float, margin: float
) -> NDArray[np.float64]:
    """Half-width of a half-ellipse whose curved border is moved outwards by `margin` along its normals.

    `depth` is the distance from the base, in mm.
    """
    angle = np.linspace(0.0, np.pi / 2.0, 4000)
    along, across = length * np.sin(angle), radius * np.cos(angle)
    normal = np.stack([np.sin(angle) / length, np.cos(angle) / radius])
    normal /= np.linalg.norm(normal, axis=0)
    width = np.interp(depth, along + margin * normal[0], across + margin * normal[1], left=0.0, right=0.0)
    return np.where(depth < 0, 0.0, width)


def label_image(
    size: tuple[float, float],
    *,
    margin: float = 0.0,
    angle: float = 0.0,
    spacing: tuple[float, float] = (MM, MM),
    slant: float = 0.0,
    pivot: float = 0.0,
) -> NDArray[np.uint8]:
    """Section of a half-ellipsoid with a wall, apex up.

    The border is traced `margin` mm too far outside. The base is slanted by `slant` radians about the point
    `pivot` mm right of its middle: what lies below it is cut off.
    """
    y, x = np.mgrid[: int(160 / spacing[0]), : int(160 / spacing[1])].astype(float)
    y, x = y * spacing[0] - 110.2, x * spacing[1] - 80.3
    depth = -(np.cos(angle) * y + np.sin(angle) * x)
    across = -np.sin(angle) * y + np.cos(angle) * x
    above = depth >= np.maximum(0.0, (across - pivot) * np.tan(slant))
    cavity = (np.abs(across) < half_width(depth, *size, margin)) & above
    wall = (np.abs(across) < half_width(depth, *size, margin + WALL_MM)) & above & ~cavity
    return (cavity + 2 * wall).astype(np.uint8)


def heart(
    size: tuple[float, float], *, spacing: tuple[float, float] = (MM, MM), **more: float
) -> HeartGeometry:
    """Geometry of `label_image`."""
    found = heart_geometry(label_image(size, spacing=spacing, **more), VALUES, spacing)
    assert found is not None
    return found


def volume_ml(length: float, radius: float) -> float:
    """Volume of a half-ellipsoid of revolution."""
    return 2.0 / 3.0 * np.pi * radius**2 * length / 1000.0


def parallel_volume_ml(length: float, radius: float, margin: float) -> float:
    """Volume of a half-ellipsoid whose surface is moved by `margin` along its normals.

    Half of Steiner's formula V + S d + M d^2 + 4/3 pi d^3 for the whole prolate spheroid, with its surface S
    and its integral of the mean curvature M.
    """
    a, b = length, radius
    e = np.sqrt(1.0 - (b / a) ** 2)
    surface = 2.0 * np.pi * b**2 * (1.0 + a / (b * e) * np.arcsin(e))
    curvature = 2.0 * np.pi * a * (1.0 + (1.0 - e**2) / (2.0 * e) * np.log((1.0 + e) / (1.0 - e)))
    whole = 4.0 / 3.0 * np.pi * (a * b**2 + margin**3) + surface * margin + curvature * margin**2
    return float(whole / 2000.0)


def ef(ed: float, es: float) -> float:
    return 100.0 * (1.0 - es / ed)


@pytest.mark.parametrize("pixels", [-3, -2, -1, 1, 2, 3])
def test_over_and_under_tracing(pixels: int) -> None:
    margin = pixels * MM
    expected = [parallel_volume_ml(*size, margin) for size in (ED, ES)]
    found = [heart(size, margin=margin).volume_ml for size in (ED, ES)]
    assert found == pytest.approx(expected, rel=0.01)
    assert ef(*found) == pytest.approx(ef(*expected), abs=0.5)
    # Over-tracing lowers the ejection fraction: the smaller ventricle grows by more.
    assert np.sign(ef(*found) - ef(volume_ml(*ED), volume_ml(*ES))) == -np.sign(pixels)


@pytest.mark.parametrize("spacing", [(MM, MM), (0.31, 0.15), (0.3, 0.6)])
@pytest.mark.parametrize("degrees", [-40.0, -15.0, 25.0])
def test_rotation_in_the_image_changes_nothing(degrees: float, spacing: tuple[float, float]) -> None:
    ed, es = (heart(size, angle=np.deg2rad(degrees), spacing=spacing) for size in (ED, ES))
    assert ed.volume_ml == pytest.approx(volume_ml(*ED), rel=0.01)
    assert ed.axis.length_mm == pytest.approx(ED[0], abs=0.5 * max(spacing))
    assert ef(ed.volume_ml, es.volume_ml) == pytest.approx(ef(volume_ml(*ED), volume_ml(*ES)), abs=0.5)


@pytest.mark.parametrize("degrees", [6.0, 9.0])
def test_a_base_that_is_slanted_about_a_hinge_point_costs_volume(degrees: float) -> None:
    """Loss 17 pi / 12 R^3 tan(slant): 7 ml for 6 degrees and R = 25 mm, 10 ml for R = 28 mm.

    The other hinge point moves up by 2 R tan(slant), the middle of the base by half of it: disks begin there,
    which costs pi R^3 tan(slant). Up to the upper hinge point the chords, of length h / tan(slant) at the
    height h, are shorter than 2 R, which costs 5 pi / 12 R^3 tan(slant).
    """
    slant, radius = np.deg2rad(degrees), ED[1]
    found = heart(ED, slant=slant, pivot=-radius)
    expected = 17.0 * np.pi / 12.0 * radius**3 * np.tan(slant) / 1000.0
    assert volume_ml(*ED) - found.volume_ml == pytest.approx(expected, rel=0.15)
    assert found.axis.length_mm == pytest.approx(ED[0] - radius * np.tan(slant), abs=0.8)


def test_a_slanted_base_changes_the_ejection_fraction_if_only_one_phase_has_it() -> None:
    slant = np.deg2rad(6.0)
    lost = [17.0 * np.pi / 12.0 * size[1] ** 3 * np.tan(slant) / 1000.0 for size in (ED, ES)]
    slanted = [heart(size, slant=slant, pivot=-size[1]).volume_ml for size in (ED, ES)]
    straight = [heart(size).volume_ml for size in (ED, ES)]
    at_ed = ef(volume_ml(*ED) - lost[0], volume_ml(*ES))
    at_both = ef(volume_ml(*ED) - lost[0], volume_ml(*ES) - lost[1])
    assert ef(slanted[0], straight[1]) == pytest.approx(at_ed, abs=1.0)
    assert ef(*slanted) == pytest.approx(at_both, abs=1.0)


def beside(size: tuple[float, float], distance: float) -> tuple[float, float]:
    """Section of a half-ellipsoid parallel to its axis, at a distance: smaller by k = sqrt(1 - (d / R)^2)."""
    k = np.sqrt(1.0 - (distance / size[1]) ** 2)
    return k * size[0], k * size[1]


def test_a_foreshortened_plane_underestimates_volumes_and_overestimates_ejection() -> None:
    """Single plane: V k^3. The plane stays where it is, so that k is smaller at end-systole."""
    distance = 8.0
    full, short = (ED, ES), [beside(size, distance) for size in (ED, ES)]
    found = [heart(size) for size in short]
    k = [part[0] / whole[0] for part, whole in zip(short, full, strict=True)]
    expected = [volume_ml(*size) * factor**3 for size, factor in zip(full, k, strict=True)]
    assert [one.volume_ml for one in found] == pytest.approx(expected, rel=0.01)
    assert found[0].axis.length_mm == pytest.approx(k[0] * ED[0], abs=0.75 * MM)
    true = ef(volume_ml(*ED), volume_ml(*ES))
    measured = ef(found[0].volume_ml, found[1].volume_ml)
    assert measured == pytest.approx(ef(*expected), abs=0.5)
    assert measured > true


@pytest.mark.parametrize(("distance", "warns"), [(6.0, False), (13.0, True)])
def test_one_foreshortened_view_of_a_pair_is_reported(distance: float, warns: bool) -> None:
    """Biplane: V k, because the disks are summed over the longer axis."""
    sections = {"A4C": [ED, ES], "A2C": [beside(size, distance) for size in (ED, ES)]}
    found = measure(
        [
            view_input(view, np.stack([label_image(size) for size in sizes]), (MM, MM))
            for view, sizes in sections.items()
        ]
    ).biplane
    assert found is not None
    k = sections["A2C"][0][0] / ED[0]
    assert found.edv_ml == pytest.approx(k * volume_ml(*ED), rel=0.01)
    assert (CaveatKind.FORESHORTENED in {caveat.kind for caveat in found.caveats}) is warns
