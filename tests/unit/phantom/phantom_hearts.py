"""Hearts at given contractions on a fine grid, for tests of the phantom."""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_core.phantom.beat import Beat
from vjepa_core.phantom.draw import RandomValues
from vjepa_core.phantom.geometry import Heart, draw_heart
from vjepa_core.phantom.motion import MaterialPosition, locate

MM = 0.75
"""Spacing of the grid."""


def hearts(n: int, seed: int, view: int | None = None) -> Heart:
    return draw_heart(RandomValues(n, torch.Generator().manual_seed(seed), torch.device("cpu")), view)


def at_contractions(n: int, contractions: list[float]) -> Beat:
    """Return constant contractions with closed valves."""
    c = torch.tensor(contractions).view(1, -1, 1, 1).expand(n, -1, 1, 1)
    zero, one = torch.zeros_like(c), torch.ones(n, 1, 1, 1)
    return Beat(c, zero, zero, zero, zero, 30.0 * one, 60.0 * one)


def on_grid(heart: Heart, beat: Beat) -> MaterialPosition:
    """Return material positions of the heart and its surroundings on a grid without a sector."""
    x, z = torch.arange(-100.0, 100.0, MM), torch.arange(0.0, 220.0, MM)
    return locate(heart, beat, x.view(1, 1, 1, -1), z.view(1, 1, -1, 1))


def disk_volume(mask: Tensor, angle: float) -> float:
    """Compute the single-plane disk sum in ml of a mask (H, W) along an axis at `angle`."""
    row, column = torch.nonzero(mask, as_tuple=True)
    along = column * MM * torch.sin(torch.tensor(angle)) + row * MM * torch.cos(torch.tensor(angle))
    disk = ((along - along.min()) / (2 * MM)).long()
    diameter = torch.bincount(disk) * MM * MM / (2 * MM)
    return float(torch.pi / 4 * (diameter**2).sum() * 2 * MM / 1000)
