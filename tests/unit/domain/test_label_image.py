"""Masks that follow from label images."""

from __future__ import annotations

import numpy as np
import pytest

from vjepa_core.label_image import (
    UNLABELLED,
    has_unlabelled,
    is_outlined,
    structure_mask,
    structures_in,
    values_mask,
)

LABEL = np.array([[0, 1, 254], [UNLABELLED, 3, 3]], np.uint8)


def test_structures_are_neither_background_nor_unlabelled() -> None:
    assert structure_mask(LABEL).tolist() == [[False, True, True], [False, True, True]]
    assert structures_in(LABEL) == (1, 3, 254)


@pytest.mark.parametrize("values", [(), (0,), (3, 254), (UNLABELLED,)])
def test_values_mask_equals_isin(values: tuple[int, ...]) -> None:
    assert np.array_equal(values_mask(LABEL, values), np.isin(LABEL, values))


def test_scribbles_are_not_outlined() -> None:
    outline = np.zeros((20, 20), np.uint8)
    assert not is_outlined(outline)
    outline[5:9, 5:9] = 2
    assert is_outlined(outline)
    assert not has_unlabelled(outline)
    outline[:, 10:] = UNLABELLED
    assert not is_outlined(outline)
    assert has_unlabelled(outline)
