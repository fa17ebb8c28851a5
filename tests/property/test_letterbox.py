"""The letterbox keeps proportions, and its inverse returns to the source pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.domain.cine import Frame
from tests.property.label_images import label_images
from vjepa_core.letterbox import Letterbox

letterboxes = st.builds(
    lambda height, width, size, aspect: Letterbox.for_image(height, width, size, pixel_aspect=aspect),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from((28, 56, 112, 224)),
    st.floats(0.25, 4.0),
)


@given(letterboxes)
def test_the_picture_fits_the_square_and_is_centred(box: Letterbox) -> None:
    assert 1 <= box.inner_height <= box.size
    assert 1 <= box.inner_width <= box.size
    assert max(box.inner_height, box.inner_width) == box.size
    assert abs(box.size - box.inner_height - 2 * box.top) <= 1
    assert abs(box.size - box.inner_width - 2 * box.left) <= 1


@given(letterboxes, st.floats(0.25, 4.0))
def test_proportions_are_kept_to_half_a_pixel(box: Letterbox, aspect: float) -> None:
    fitted = Letterbox.for_image(box.height, box.width, box.size, pixel_aspect=aspect)
    sides = box.height * aspect, box.width
    longest = max(sides)
    for inner, side in zip((fitted.inner_height, fitted.inner_width), sides, strict=True):
        assert abs(inner - max(1.0, side / longest * box.size)) <= 0.5


@given(letterboxes, st.integers(0, 255))
def test_a_flat_picture_stays_flat_between_black_bars(box: Letterbox, grey: int) -> None:
    square = box.apply(np.full((2, box.height, box.width), grey, np.uint8))
    assert square.shape == (2, box.size, box.size)
    assert (square[:, box.inner[0], box.inner[1]] == grey).all()
    outside = np.ones((box.size, box.size), bool)
    outside[box.inner] = False
    assert not square[:, outside].any()


@given(letterboxes, st.sampled_from((14, 28, 56)))
def test_probabilities_still_sum_to_one_at_the_source_pixels(box: Letterbox, grid: int) -> None:
    raw = np.random.default_rng(grid).random((4, grid, grid))
    maps = box.invert(raw / raw.sum(0))
    assert maps.shape == (4, box.height, box.width)
    assert maps.min() >= 0
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-4)


@given(letterboxes)
def test_positions_return_to_their_source_pixel(box: Letterbox) -> None:
    # Maps that hold the square's own coordinates give each source pixel its own position.
    rows, columns = np.meshgrid(np.arange(box.size), np.arange(box.size), indexing="ij")
    y, x = box.invert(np.stack([rows, columns]).astype(np.float64))
    sy, sx = box.scale
    expected_y = (np.arange(box.height)[:, None] + 0.5) * sy + box.top - 0.5
    expected_x = (np.arange(box.width)[None] + 0.5) * sx + box.left - 0.5
    # The centre of a pixel of a reduced picture may lie outside the centres of the square's border.
    for actual, expected in ((y, expected_y), (x, expected_x)):
        clipped = np.broadcast_to(expected.clip(0, box.size - 1), actual.shape)
        np.testing.assert_allclose(actual, clipped, atol=0.05)


@given(label_images(st.integers(1, 12), st.integers(1, 12)), st.floats(0.25, 4.0))
def test_labels_of_the_square_are_labels_of_the_picture(label: Frame, aspect: float) -> None:
    height, width = label.shape
    box = Letterbox.for_image(height, width, 56, pixel_aspect=aspect)
    square = box.apply_labels(label, fill=255)
    assert set(np.unique(square[box.inner])) <= set(np.unique(label))
    outside = np.ones(square.shape, bool)
    outside[box.inner] = False
    assert (square[outside] == 255).all()
    if min(box.scale) >= 2:  # at least two pixels of the square for each label: none is lost
        centres = [
            (start + (np.arange(n) + 0.5) * scale).astype(int)
            for start, n, scale in zip((box.top, box.left), label.shape, box.scale, strict=True)
        ]
        assert np.array_equal(square[np.ix_(*centres)], label)
