"""Shape model of the left heart: small distances for outlined hearts, large ones for damaged shapes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vjepa_core.fewshot.heart_shape import LA, LV, MYO, N_DESCRIPTORS, ShapeModel, shape_descriptors
from vjepa_core.phantom import make_cines


@pytest.fixture(scope="module")
def masks() -> NDArray[np.uint8]:
    made = make_cines(24, frames=1, size=112, generator=torch.Generator().manual_seed(3))
    return np.asarray(made.masks[:, 0].numpy(), np.uint8)


@pytest.fixture(scope="module")
def shapes(masks: NDArray[np.uint8]) -> ShapeModel:
    return ShapeModel.fit(masks[:16])


def test_other_hearts_have_small_distances(shapes: ShapeModel, masks: NDArray[np.uint8]) -> None:
    distances = [shapes.distance(mask) for mask in masks[16:]]
    assert np.median(distances) < 1.5 * shapes.limit  # fitted to 16 hearts only
    assert shapes.distance(masks[0]) < 2


def test_the_distance_is_invariant_to_scale(shapes: ShapeModel, masks: NDArray[np.uint8]) -> None:
    grown = cv2.resize(masks[0], (224, 224), interpolation=cv2.INTER_NEAREST)
    assert shapes.distance(grown) == pytest.approx(shapes.distance(masks[0]), abs=0.3)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_rotated_heart_has_a_large_distance(
    shapes: ShapeModel, masks: NDArray[np.uint8], turns: int
) -> None:
    assert shapes.distance(np.ascontiguousarray(np.rot90(masks[0], turns))) > 3 * shapes.limit


def test_a_fragmented_wall_and_an_open_cavity_have_large_distances(
    shapes: ShapeModel, masks: NDArray[np.uint8]
) -> None:
    torn = masks[0].copy()
    torn[:, :56][torn[:, :56] == MYO] = 0
    assert shapes.distance(torn) > shapes.distance(masks[0]) + shapes.limit
    spotted = np.zeros_like(torn)
    for value, x in ((LV, 10), (MYO, 40), (LA, 80)):
        spotted[5::20, x : x + 15] = value
    assert shapes.distance(spotted) > 3 * shapes.limit


@pytest.mark.parametrize("gone", [LV, MYO, LA])
def test_a_missing_structure_has_an_infinite_distance(
    shapes: ShapeModel, masks: NDArray[np.uint8], gone: int
) -> None:
    assert shapes.distance(np.where(masks[0] == gone, 0, masks[0]).astype(np.uint8)) == float("inf")


def test_descriptors_of_small_structures_are_finite() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2, 2:14], mask[4, 2:14], mask[6, 2:14] = LV, MYO, LA  # lines: no width, no hull
    row = shape_descriptors(mask)
    assert row is not None
    assert row.shape == (N_DESCRIPTORS,)
    assert np.isfinite(row).all()
