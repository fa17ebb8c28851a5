"""Places told by sines and cosines that are added to the tokens: V-JEPA 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vjepa_core.encoder.rope import Grid


def sincos_table(grid: Grid, dim: int) -> Tensor:
    """Table for every token of a grid, in token order (time, height, width).

    Each axis has d = 2 ceil(dim / 6) channels, sin(p w_k) and then cos(p w_k), w_k = 10000^(-k / (d / 2));
    depth, height and width stand side by side and are cut to `dim` ("uniform power"). Source:
    facebookresearch/jepa, `src/models/utils/pos_embs.py`.

    Returns
    -------
    Tensor
        (1, tokens, dim) float32.
    """
    half = math.ceil(dim / 6)
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    axes = [torch.arange(n, dtype=torch.float64) for n in grid]
    angles = [place.reshape(-1, 1) * frequency for place in torch.meshgrid(*axes, indexing="ij")]
    groups = [part for angle in angles for part in (angle.sin(), angle.cos())]
    return torch.cat(groups, -1)[None, :, :dim].float()


def resized(table: Tensor, stored: Grid, grid: Grid) -> Tensor:
    """A table for another grid, trilinear between the stored places, as V-JEPA 1 has it."""
    if grid == stored:
        return table
    volume = table.unflatten(1, stored).movedim(-1, 1)
    return interpolate(volume, size=grid, mode="trilinear").movedim(1, -1).flatten(1, 3)
