"""Letterbox and its inverse preserve position and size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vjepa_core.encoder.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from vjepa_core.letterbox import Letterbox

SHAPES = [(600, 800), (800, 600), (224, 224), (240, 320), (112, 112), (97, 411), (708, 1016)]


def ventricle(height: int, width: int) -> NDArray[np.uint8]:
    """Return a cavity (1) in a wall (2), off centre and tilted."""
    y, x = np.mgrid[:height, :width] + 0.5
    u, v = (y / height - 0.45) * 1.0, (x / width - 0.55) * 1.0
    radius = np.hypot(u + 0.3 * v, 1.4 * v)
    return np.where(radius < 0.22, 1, np.where(radius < 0.32, 2, 0)).astype(np.uint8)


def centroid(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.argwhere(mask).mean(0) + 0.5


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_labels_are_preserved_by_letterbox_and_inverse(height: int, width: int) -> None:
    labels = ventricle(height, width)
    box = Letterbox.for_image(height, width)
    square = box.apply_labels(labels)
    back = box.invert(np.stack([square == c for c in range(3)]).astype(np.float32)).argmax(0)
    # At 224 pixels over the long side, a thin wall of a very wide image is only a few pixels across.
    least = 0.98 if min(height, width) / max(height, width) > 0.5 else 0.95
    for c in (1, 2):
        assert dice(back == c, labels == c) > least
        moved = (centroid(back == c) - centroid(labels == c)) * np.array(box.scale)
        assert np.abs(moved).max() < 0.2  # half a pixel would be 0.5


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_images_and_labels_are_aligned(height: int, width: int) -> None:
    labels = ventricle(height, width)
    box = Letterbox.for_image(height, width)
    image = box.apply((labels == 1).astype(np.uint8)[None] * 255)[0]
    assert dice(image > 127, box.apply_labels(labels) == 1) > 0.99


def test_a_ramp_is_preserved_by_letterbox_and_inverse() -> None:
    box = Letterbox.for_image(300, 400)
    y, x = np.mgrid[:224, :224] + 0.5
    back = box.invert(np.stack((y, x)))
    expected_y = box.top + (np.arange(300) + 0.5) * box.scale[0]
    expected_x = box.left + (np.arange(400) + 0.5) * box.scale[1]
    # The outermost row and column repeat the border.
    np.testing.assert_allclose(back[0, 2:-2, 200], expected_y[2:-2], atol=1e-3)
    np.testing.assert_allclose(back[1, 150, 2:-2], expected_x[2:-2], atol=1e-3)


def test_the_image_is_centred_and_the_bars_are_filled() -> None:
    box = Letterbox.for_image(600, 800)
    assert (box.inner_height, box.inner_width, box.top, box.left) == (168, 224, 28, 0)
    squares = box.apply(np.full((2, 600, 800), 200, np.uint8))
    assert squares.shape == (2, 224, 224)
    assert (squares[:, 28:196] == 200).all()
    assert not squares[:, :28].any()
    assert not squares[:, 196:].any()
    labels = box.apply_labels(np.zeros((600, 800), np.uint8), fill=255)
    assert (labels[:28] == 255).all()
    assert (labels[28:196] == 0).all()


def test_unlabelled_pixels_stay_unlabelled() -> None:
    labels = np.full((300, 300), 255, np.uint8)
    labels[:150] = 3
    square = Letterbox.for_image(300, 300).apply_labels(labels)
    assert set(np.unique(square)) == {3, 255}


def test_probabilities_still_sum_to_one() -> None:
    box = Letterbox.for_image(333, 500)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), (224, 224)).transpose(2, 0, 1)
    np.testing.assert_allclose(box.invert(probabilities).sum(0), 1, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 1000), (1000, 1)])
def test_images_with_a_side_of_one_pixel(height: int, width: int) -> None:
    box = Letterbox.for_image(height, width)
    assert box.apply(np.full((1, height, width), 9, np.uint8)).max() == 9
    assert box.invert(np.ones((1, 224, 224))).shape == (1, height, width)


def test_invalid_arrays_are_rejected() -> None:
    box = Letterbox.for_image(30, 40)
    with pytest.raises(ValueError, match="cannot fit"):
        Letterbox.for_image(0, 40)
    with pytest.raises(ValueError, match="30 x 40"):
        box.apply(np.zeros((1, 40, 30), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        box.apply(np.zeros((1, 30, 40), np.uint16))
    with pytest.raises(ValueError, match="30 x 40"):
        box.apply_labels(np.zeros((1, 30, 40), np.uint8))
    with pytest.raises(ValueError, match="cover the square"):
        box.invert(np.zeros((2, 30, 40), np.float32))


def test_normalised_frames_are_grey_in_three_channels() -> None:
    frames = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    tensor = normalise(frames)
    assert tensor.shape == (3, 2, 4, 4)
    assert tensor.dtype == torch.float32
    back = tensor * torch.tensor(IMAGENET_STD).view(3, 1, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1, 1)
    np.testing.assert_allclose(back * 255, np.broadcast_to(frames, (3, 2, 4, 4)), atol=1e-4)
    assert normalise(torch.from_numpy(frames)[None]).shape == (1, 3, 2, 4, 4)
    with pytest.raises(ValueError, match="uint8"):
        normalise(frames.astype(np.float32))
