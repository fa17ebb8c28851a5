"""Pieces of the atrium inside the ventricle become cavity; plausible atria stay."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vjepa_core.fewshot.enclosed_atrium import relabel_enclosed_atrium
from vjepa_core.fewshot.heart_shape import LA, LV, MYO


def heart() -> NDArray[np.uint8]:
    """A wall around a cavity that opens to an atrium below."""
    label = np.zeros((112, 112), np.uint8)
    label[10:80, 30:80] = MYO
    label[20:80, 40:70] = LV
    label[80:105, 42:68] = LA
    return label


def probabilities(label: NDArray[np.uint8]) -> torch.Tensor:
    maps = torch.nn.functional.one_hot(torch.from_numpy(label).long(), 4).permute(2, 0, 1).float()
    return (0.8 * maps + 0.05)[None]


def test_an_atrium_between_two_pieces_of_the_cavity_becomes_cavity() -> None:
    label = heart()
    label[40:55, 40:70] = LA
    before = probabilities(label)
    after = relabel_enclosed_atrium(before)
    assert np.array_equal(after[0].argmax(0).numpy(), heart())
    assert torch.allclose(after.sum(1), before.sum(1))
    assert (before[0].argmax(0).numpy() == label).all()  # the input is unchanged


def test_plausible_hearts_and_other_images_are_not_changed() -> None:
    clipped = heart()
    clipped[84:] = 0  # a few rows of atrium at the edge of the sector
    clipped[76:84, 38:42] = clipped[76:84, 68:72] = MYO
    two_cavities = heart()
    two_cavities[45:50, 40:70] = MYO
    for label in (heart(), clipped, two_cavities, np.zeros((112, 112), np.uint8)):
        maps = probabilities(label)
        assert relabel_enclosed_atrium(maps) is maps
