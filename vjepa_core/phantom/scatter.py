"""Scatterers that stick to the tissue: fixed random fields, looked up at material places."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vjepa_core.phantom.draw import Draw
from vjepa_core.phantom.motion import Place

CELL_MM = 0.7
"""Size of a cell of the fields: under the pulse's length, so that several share one resolution cell."""
_U_MM, _S_MM = (-110.0, 110.0), (-60.0, 160.0)


@dataclass(frozen=True)
class Scatterers:
    """Fields over u, s: two complex white ones (channels 0-3), smooth noise of 3 x 8 mm (4) and 14-45 mm (5).

    Attributes
    ----------
    field : Tensor
        (B, 6, S, U).
    renewal : Tensor
        Radians a second at which the first white field gives way to the second: correlation cos(renewal t),
        as when tissue passes slowly through the slice.
    """

    field: Tensor
    renewal: Tensor

    def at(self, place: Place, seconds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look up the fields.

        Returns
        -------
        speckle : Tensor
            (2, B, T, H, W), real and imaginary part, deviation about 1.
        fine, broad : Tensor
            (B, T, H, W).
        """
        b, t, h, w = place.u.shape
        grid = torch.stack([_unit(place.u, _U_MM), _unit(place.s, _S_MM)], -1).view(b, t * h, w, 2)
        found = functional.grid_sample(
            self.field, grid.to(self.field.dtype), padding_mode="reflection", align_corners=False
        )
        found = found.view(b, 6, t, h, w)
        turn = self.renewal * seconds
        # Bilinear look-up of white noise keeps 4/9 of its variance on average.
        now = 1.5 * (
            torch.cos(turn).unsqueeze(1) * found[:, 0:2] + torch.sin(turn).unsqueeze(1) * found[:, 2:4]
        )
        return now.transpose(0, 1), found[:, 4], found[:, 5]


def draw_scatterers(draw: Draw) -> Scatterers:
    """Random fields."""
    h, w = (round((high - low) / CELL_MM) for low, high in (_S_MM, _U_MM))
    white = draw.noise(4, h, w)
    # The finest is drawn out along the axis, as fibres and trabeculae are.
    fine, middle, coarse = (
        _smooth(draw.noise(1, round(h * CELL_MM / s_mm), round(w * CELL_MM / u_mm)), h, w)
        for s_mm, u_mm in ((8, 3), (14, 14), (45, 45))
    )
    broad = (middle + coarse) / math.sqrt(2.0)
    return Scatterers(torch.cat([white, fine, broad], 1), draw.uniform(0.3, 2.0))


def _smooth(noise: Tensor, h: int, w: int) -> Tensor:
    wide = functional.interpolate(noise, (h, w), mode="bicubic", align_corners=False)
    return wide / wide.std(dim=(-2, -1), keepdim=True)


def _unit(x: Tensor, bounds: tuple[float, float]) -> Tensor:
    return (x - bounds[0]) * (2.0 / (bounds[1] - bounds[0])) - 1.0
