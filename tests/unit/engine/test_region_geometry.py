"""Frames, their region, the letterboxed square, and the replacement of damaged frames."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain.errors import CineError
from app.engine.region_geometry import RegionGeometry, decode_frames
from tests.unit.engine.conftest import FRAMES, HEIGHT, WIDTH, make_cine


def decoded(damaged: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...], list[str]]:
    cine, errors = make_cine(damaged=damaged), list[str]()
    out = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    found = decode_frames(cine, out, lambda frame: frame, on_damaged=lambda e: errors.append(str(e)))
    return out, found, errors


def test_a_damaged_frame_repeats_the_readable_one_before_it_or_the_first() -> None:
    out, damaged, errors = decoded((0, 1, 4, 5))
    whole, _, _ = decoded(())
    assert damaged == (0, 1, 4, 5)
    assert len(errors) == 4
    for frame, source in {0: 2, 1: 2, 2: 2, 3: 3, 4: 3, 5: 3}.items():
        assert np.array_equal(out[frame], whole[source])


def test_a_cine_without_a_readable_frame_is_refused() -> None:
    with pytest.raises(CineError, match="damaged"):
        decoded(tuple(range(FRAMES)))


def test_an_image_of_the_region_is_placed_on_the_frame() -> None:
    cine = make_cine()
    geometry = RegionGeometry.of(cine)
    region = np.full((cine.region.height, cine.region.width), 7, np.uint8)
    full = geometry.on_frame(region)
    assert full.shape == (HEIGHT, WIDTH)
    assert (full[cine.region.slices] == 7).all()
    assert full.sum() == 7 * region.size
    doubt = geometry.doubt_on_frame(np.full((112, 112), 9, np.uint8))
    assert (doubt[cine.region.slices] == 9).all()
    assert doubt.sum() == 9 * region.size
