"""Scatterers that move with the tissue: fixed random fields, sampled at material positions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vjepa_core.phantom.draw import RandomValues
from vjepa_core.phantom.motion import MaterialPosition

CELL_MM = 0.7
"""Cell size of the fields, smaller than the pulse, so that a resolution cell contains several cells."""
_U_MM, _S_MM = (-110.0, 110.0), (-60.0, 160.0)


@dataclass(frozen=True)
class Scatterers:
    """Random fields over the material coordinates u and s.

    Attributes
    ----------
    field : Tensor
        Shape (B, 6, S, U): two complex white noise fields (channels 0-3), smooth noise of 3 x 8 mm (4) and of
        14-45 mm (5).
    renewal : Tensor
        Rate in rad/s at which the second white field replaces the first, with correlation cos(renewal t), as
        when tissue moves slowly through the imaging plane.
    """

    field: Tensor
    renewal: Tensor

    def at(self, position: MaterialPosition, seconds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sample the fields.

        Parameters
        ----------
        position : MaterialPosition
            Material positions.
        seconds : Tensor
            Time, (B, T, 1, 1).

        Returns
        -------
        speckle : Tensor
            Real and imaginary part with a standard deviation of about 1, shape (2, B, T, H, W).
        fine, broad : Tensor
            Smooth noise, shape (B, T, H, W).
        """
        b, t, h, w = position.u.shape
        grid = torch.stack([_unit(position.u, _U_MM), _unit(position.s, _S_MM)], -1).view(b, t * h, w, 2)
        sampled = functional.grid_sample(
            self.field, grid.to(self.field.dtype), padding_mode="reflection", align_corners=False
        )
        sampled = sampled.view(b, 6, t, h, w)
        angle = self.renewal * seconds
        # Bilinear interpolation reduces the variance of white noise to 4/9 on average.
        now = 1.5 * (
            torch.cos(angle).unsqueeze(1) * sampled[:, 0:2] + torch.sin(angle).unsqueeze(1) * sampled[:, 2:4]
        )
        return now.transpose(0, 1), sampled[:, 4], sampled[:, 5]


def draw_scatterers(draw: RandomValues) -> Scatterers:
    """Draw random fields."""
    h, w = (round((high - low) / CELL_MM) for low, high in (_S_MM, _U_MM))
    white = draw.noise(4, h, w)
    # The finest field is elongated along the axis, like fibres and trabeculae.
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
