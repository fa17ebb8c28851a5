"""True contours of the phantom, and hearts in two views."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.unit.phantom.phantom_hearts import at_contractions, hearts
from vjepa_core.phantom import make_cines
from vjepa_core.phantom.motion import CAVITY, locate, scanner_coordinates
from vjepa_core.phantom.pairs import make_pairs
from vjepa_core.phantom.truth import N_POINTS, endocardium


def area_mm2(line: Tensor) -> float:
    """Area between a line and the straight connection of its ends."""
    y, x = line.double().numpy().T
    return abs(float(0.5 * np.sum(y * np.roll(x, -1) - np.roll(y, -1) * x)))


def filled(line: Tensor, mm_per_px: Tensor, side: int) -> NDArray[np.uint8]:
    """Mask of a line's inside, by OpenCV with 8 bits of sub-pixel position."""
    pixels = (line / mm_per_px - 0.5).flip(-1).numpy()
    mask = np.zeros((side, side), np.uint8)
    return cv2.fillPoly(mask, [np.round(pixels * 256).astype(np.int32)], 1, shift=8)  # type: ignore[return-value]


def test_scanner_coordinates_are_the_inverse_of_the_map_into_the_heart() -> None:
    heart, beat = hearts(20, seed=4), at_contractions(20, [0.0, 0.6, 1.0])
    u = torch.linspace(-30.0, 30.0, 13).view(1, 1, 1, -1)
    s = torch.linspace(2.0, 80.0, 9).view(1, 1, -1, 1)
    x, z = scanner_coordinates(heart, beat, u, s)
    position = locate(heart, beat, x, z)
    torch.testing.assert_close(position.now_u, u.expand_as(position.now_u), atol=2e-3, rtol=0.0)
    torch.testing.assert_close(position.now_s, s.expand_as(position.now_s), atol=2e-3, rtol=0.0)


def test_the_line_follows_the_closed_form_where_nothing_is_bent_or_turned() -> None:
    heart, beat = hearts(5, seed=1), at_contractions(5, [0.0, 1.0])
    zero = torch.zeros_like(heart.length)
    plain = type(heart)(
        **{**heart.__dict__, **dict.fromkeys(("tilt", "bend", "annulus_tilt", "swing"), zero)}
    )
    line = endocardium(plain, beat)
    s, u = line[..., 1] - plain.apex_z[..., 0], line[..., 0] - plain.apex_x[..., 0]
    length = plain.length[:, 0, 0, 0]
    torch.testing.assert_close(s[:, 0, 0], length)
    torch.testing.assert_close(s[:, 1, -1], length * (1 - plain.shortening[:, 0, 0, 0]))
    annulus = (plain.width.right * (1 - plain.narrowing))[:, 0, 0, 0]
    torch.testing.assert_close(u[:, 0, -1], annulus)
    stiff = plain.squeeze.right * plain.strength(plain.length)
    torch.testing.assert_close(u[:, 1, -1], annulus * (1 - stiff[:, 0, 0, 0]))
    assert float(u[:, :, N_POINTS // 2].abs().max()) < 1e-5


@pytest.mark.parametrize("stretch", [False, True])
def test_the_line_encloses_the_label(stretch: bool) -> None:
    cines = make_cines(
        6, frames=4, fps=(4.0, 8.0), stretch=stretch, generator=torch.Generator().manual_seed(5)
    )
    for i in range(6):
        for t in range(4):
            line, cavity = cines.endocardium[i, t], cines.masks[i, t].numpy() == CAVITY
            drawn = filled(line, cines.mm_per_px[i], 224)  # with the pixels on the line
            core = cv2.erode(drawn, np.ones((3, 3), np.uint8), borderValue=1) > 0
            assert (cavity & (drawn == 0)).sum() <= 0.002 * cavity.sum()
            assert (core & ~cavity).sum() <= 0.002 * cavity.sum()
            pixels = float(cavity.sum() * cines.mm_per_px[i].prod())
            inside = bool((line >= 0).all() and (line <= 224 * cines.mm_per_px[i]).all())
            if inside:  # otherwise the image cuts the cavity off
                assert area_mm2(line) == pytest.approx(pixels, rel=0.01)


def test_two_views_of_a_heart_share_axis_and_phases() -> None:
    pairs = list(make_pairs(4, torch.Generator().manual_seed(2)))
    again = list(make_pairs(4, torch.Generator().manual_seed(2)))
    for pair, same in zip(pairs, again, strict=True):
        torch.testing.assert_close(pair.a2c.endocardium, same.a2c.endocardium)
        assert pair.a4c.masks.shape == pair.a2c.masks.shape == (2, 224, 224)
        assert float(pair.volume[0]) > float(pair.volume[1])
        one, two = pair.a4c.volume, pair.a2c.volume
        # Elliptical sections: between both circular bodies, at most their geometric mean (Cauchy-Schwarz).
        assert bool((pair.volume <= (one * two).sqrt() * 1.0001).all())
        assert bool((pair.volume > torch.minimum(one, two)).all())
        axes = []
        for view in (pair.a4c, pair.a2c):
            hinges = (view.endocardium[:, 0] + view.endocardium[:, -1]) / 2
            axes.append((view.endocardium[:, N_POINTS // 2] - hinges).norm(dim=-1))
        torch.testing.assert_close(axes[0], axes[1], rtol=0.03, atol=0.0)
