"""Masks from brush strokes and outlines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.workspace.painting import polygon_mask, stamp_segment


def circle(cx: float, cy: float, radius: float, n: int = 360) -> list[tuple[float, float]]:
    turns = [2 * math.pi * i / n for i in range(n)]
    return [(cx + radius * math.cos(t), cy + radius * math.sin(t)) for t in turns]


def test_a_dot_has_the_area_and_the_centre_of_its_circle() -> None:
    mask = np.zeros((100, 100), bool)
    stamp_segment(mask, (50.0, 40.0), (50.0, 40.0), 20.0)
    assert mask.sum() == pytest.approx(math.pi * 400, rel=0.01)
    rows, columns = np.nonzero(mask)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((50.0, 40.0))


@pytest.mark.parametrize("radius", [0.1, 0.5, 1.0, 3.0])
def test_a_fast_stroke_has_no_gaps(radius: float) -> None:
    mask = np.zeros((60, 200), bool)
    stamp_segment(mask, (5.0, 7.0), (190.0, 50.0), radius)
    assert mask[:, 6:190].any(axis=0).all()


@pytest.mark.parametrize("point", [(-3.0, 5.0), (500.0, 500.0), (5.0, -2.0)])
def test_a_stroke_outside_is_clipped(point: tuple[float, float]) -> None:
    mask = np.zeros((10, 12), bool)
    stamp_segment(mask, point, point, 2.0)
    assert not mask.any()
    stamp_segment(mask, point, (6.0, 5.0), 2.0)
    assert mask[5, 6]


def test_polygon_area_has_no_half_pixel_bias() -> None:
    for radius in (10.0, 40.0, 80.0):
        mask = polygon_mask((200, 200), circle(100.3, 99.6, radius))
        assert mask.sum() == pytest.approx(math.pi * radius**2, rel=0.01)


def test_a_rectangle_on_pixel_borders_is_exact_and_direction_does_not_matter() -> None:
    corners = [(2.0, 3.0), (7.0, 3.0), (7.0, 9.0), (2.0, 9.0)]
    expected = np.zeros((12, 10), bool)
    expected[3:9, 2:7] = True
    np.testing.assert_array_equal(polygon_mask((12, 10), corners), expected)
    np.testing.assert_array_equal(polygon_mask((12, 10), corners[::-1]), expected)


def test_an_outline_traced_twice_has_no_hole() -> None:
    once = circle(30, 30, 20)
    np.testing.assert_array_equal(polygon_mask((60, 60), once + once), polygon_mask((60, 60), once))


def test_a_polygon_reaching_outside_is_clipped_and_a_degenerate_one_is_empty() -> None:
    assert polygon_mask((8, 9), [(-50, -50), (50, -50), (50, 50), (-50, 50)]).all()
    assert not polygon_mask((8, 9), [(20, 20), (30, 20), (30, 30)]).any()
    assert not polygon_mask((8, 9), [(1, 1), (5, 5)]).any()
    assert not polygon_mask((8, 9), [(1, 1), (1, 1), (1, 1)]).any()
    assert not polygon_mask((8, 9), []).any()
