"""Sine-cosine position embeddings of V-JEPA 1, which are added to the tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vjepa_core.encoder.rope import Grid


def sincos_table(grid: Grid, dim: int) -> Tensor:
    """Compute the embedding of every token of a grid, ordered by time, height, width.

    Each axis has d = 2 ceil(dim / 6) channels, sin(p w_k) and then cos(p w_k), with w_k = 10000^(-k / (d /
    2)). The channels of time, height and width are concatenated and cut to `dim` ("uniform power"). Source:
    facebookresearch/jepa, `src/models/utils/pos_embs.py`.

    Returns
    -------
    Tensor
        Shape (1, tokens, dim), float32.
    """
    half = math.ceil(dim / 6)
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    axes = [torch.arange(n, dtype=torch.float64) for n in grid]
    angles = [position.reshape(-1, 1) * frequency for position in torch.meshgrid(*axes, indexing="ij")]
    groups = [part for angle in angles for part in (angle.sin(), angle.cos())]
    return torch.cat(groups, -1)[None, :, :dim].float()


def resize_table(table: Tensor, stored: Grid, grid: Grid) -> Tensor:
    """Resize a table (1, tokens, dim) from the grid `stored` to `grid` by trilinear interpolation."""
    if grid == stored:
        return table
    volume = table.unflatten(1, stored).movedim(-1, 1)
    return interpolate(volume, size=grid, mode="trilinear").movedim(1, -1).flatten(1, 3)
