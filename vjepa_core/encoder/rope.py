"""3D rotary position embeddings of the V-JEPA family.

The queries and keys of a token at grid position p on an axis are rotated by the angles p w_k, with w_k =
10000^(-k / (d/2)), in the planes of two neighbouring channels. Each head has three groups of d = 2 *
((head_dim // 3) // 2) channels, for time, height and width in this order; the remaining channels are not
rotated. Source: facebookresearch/vjepa2, `src/models/utils/modules.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Rope = Literal["interleaved", "tiled"]
"""Assignment of frequencies to the channels of a group.

`interleaved` (V-JEPA 2.1): f0 f0 f1 f1 ...; vertical and horizontal positions are scaled to a 16 x 16 grid.
`tiled` (V-JEPA 2): f0 f1 ... f0 f1 ..., without scaling. This is not a rotation, but these weights were
trained with it.
"""

Grid = tuple[int, int, int]
"""Tokens along time, height and width."""

REFERENCE_GRID = 16


@lru_cache(maxsize=16)
def rope_table(grid: Grid, head_dim: int, kind: Rope, device: torch.device) -> Tensor:
    """Compute sine and cosine for every token of a grid, ordered by time, height, width.

    Returns
    -------
    Tensor
        Shape (2, tokens, head_dim), float32: sines, then cosines. Cached and shared: do not modify.
    """
    per_axis = 2 * ((head_dim // 3) // 2)
    k = torch.arange(per_axis // 2, dtype=torch.float64)
    frequency = 10000.0 ** (-k / (per_axis / 2))
    axes = [torch.arange(n, dtype=torch.float64) for n in grid]
    if kind == "interleaved":
        axes[1:] = [axis * (REFERENCE_GRID - 1) / max(len(axis) - 1, 1) for axis in axes[1:]]
    groups = []
    for position in torch.meshgrid(*axes, indexing="ij"):
        angle = position.reshape(-1, 1) * frequency
        groups.append(angle.repeat_interleave(2, -1) if kind == "interleaved" else angle.repeat(1, 2))
    angles = torch.cat(groups, -1)
    angles = torch.nn.functional.pad(angles, (0, head_dim - angles.shape[-1]))
    # A table that is created under inference_mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.stack((angles.sin(), angles.cos())).to(device, torch.float32, copy=True)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Apply the rotary embedding to queries or keys.

    Parameters
    ----------
    x : Tensor
        Shape (B, N, heads, head_dim).
    table : Tensor
        Shape (2, N, head_dim) for all samples, or (2, B, N, head_dim).

    Returns
    -------
    Tensor
        Shape and dtype of `x`.
    """
    sin, cos = table.unsqueeze(-2)
    if torch.is_grad_enabled():
        partner = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
        rotated: Tensor = (x * cos + partner * sin).to(x.dtype)
        return rotated
    # The same in place, which takes a third of the time on a CPU.
    wide = x.float()
    rotated = wide * cos
    out, pairs, sin = (part.unflatten(-1, (-1, 2)) for part in (rotated, wide, sin))
    out[..., 0].addcmul_(pairs[..., 1], sin[..., 0], value=-1)
    out[..., 1].addcmul_(pairs[..., 0], sin[..., 1])
    return rotated.to(x.dtype)
