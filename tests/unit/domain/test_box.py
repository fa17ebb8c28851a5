"""A region is extended to the drawn structures, in steps, and never beyond the frame."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain.cine import Box, Frame
from vjepa_core.label_image import UNLABELLED

HEIGHT, WIDTH = 120, 200
REGION = Box(50, 20, 150, 90)


def drawn(x0: int, y0: int, x1: int, y1: int, value: int = 1) -> Frame:
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[y0:y1, x0:x1] = value
    return label


@pytest.mark.parametrize(
    ("inside", "box"),
    [
        ((50, 20, 150, 90), REGION),
        ((60, 30, 151, 80), Box(50, 20, 160, 90)),
        ((60, 30, 160, 80), Box(50, 20, 160, 90)),
        ((60, 30, 161, 80), Box(50, 20, 192, 90)),
        ((60, 30, 193, 80), Box(50, 20, 200, 90)),
        ((49, 19, 60, 30), Box(32, 0, 150, 90)),
        ((0, 0, 200, 120), Box(0, 0, 200, 120)),
    ],
)
def test_a_side_moves_in_steps(inside: tuple[int, int, int, int], box: Box) -> None:
    assert REGION.extended_to([drawn(*inside)]) == box
    assert box.extended_to([drawn(*inside)]) == box


def test_the_order_of_frames_does_not_matter() -> None:
    labels = [drawn(40, 30, 60, 40), drawn(60, 30, 170, 95)]
    assert REGION.extended_to(labels) == REGION.extended_to(labels[::-1]) == Box(32, 20, 192, 96)


def test_background_and_unlabelled_pixels_do_not_count() -> None:
    assert REGION.extended_to([]) == REGION
    assert REGION.extended_to([drawn(0, 0, 200, 120, 0), drawn(0, 0, 200, 120, UNLABELLED)]) == REGION
