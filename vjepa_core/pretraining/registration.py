"""Registers the outlines of two label images by one velocity field that does not change with time.

Its exponential, taken for any part of the way, does not fold and agrees with itself from either end: scaling
and squaring after Arsigny et al., MICCAI 2006; demons in the log domain after Vercauteren et al., MICCAI
2008, here on maps of signed distance instead of grey levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

CAVITY, MYOCARDIUM, ATRIUM = 1, 2, 3
SHAPES = ((CAVITY,), (CAVITY, MYOCARDIUM), (ATRIUM,))
"""Outlines that are registered: inner and outer wall of the ventricle, atrium."""
_REACH = 12.0
"""Pixels of 224 from an outline within which it pulls."""
_SQUARINGS = 4


def signed_distance(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Three outlines of a label image (H, W) as maps (3, H, W): tanh of the distance, positive inside."""
    reach = _REACH * mask.shape[0] / 224
    out = np.full((len(SHAPES), *mask.shape), -1, np.float32)
    for target, classes in zip(out, SHAPES, strict=True):
        inside = np.isin(mask, classes).astype(np.uint8)
        if inside.any():
            inner = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
            outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
            target[...] = np.tanh((inner - outer) / reach)
    return out


def grid_of(height: int, width: int, device: torch.device) -> Tensor:
    """Pixel centres (1, H, W, 2) in -1..1, x before y."""
    eye = torch.eye(2, 3, device=device)[None]
    return functional.affine_grid(eye, [1, 1, height, width], align_corners=False)


def warp(maps: Tensor, shift: Tensor, base: Tensor) -> Tensor:
    """Maps (n, C, h, w) read at ``base + shift``; base (., H, W, 2), shift (n, 2, h', w'), both in -1..1."""
    at = base + shift.permute(0, 2, 3, 1)
    return functional.grid_sample(maps, at, padding_mode="border", align_corners=False)


def exponential(velocity: Tensor, base: Tensor) -> Tensor:
    """Displacement (n, 2, g, g) after following a velocity field for one unit of time."""
    shift = velocity / 2**_SQUARINGS
    for _ in range(_SQUARINGS):
        shift = shift + warp(shift, shift, base)
    return shift


def register(ed: Tensor, es: Tensor, *, grid: int = 56, steps: Sequence[int] = (30, 8)) -> Tensor:
    """Velocity that carries ED outlines to ES ones.

    Parameters
    ----------
    ed, es : Tensor
        (n, C, H, W) maps of signed distance.
    grid : int
        Side of the field; coarser fields, each half as wide, go before it.
    steps : sequence of int
        Iterations, from the coarsest field to the finest.

    Returns
    -------
    Tensor
        (n, 2, grid, grid): reading ED at ``x + exp(velocity)(x)`` gives ES at x, and reading ES at
        ``x + exp(-velocity)(x)`` gives ED, in -1..1.
    """
    velocity = ed.new_zeros((len(ed), 2, grid >> (len(steps) - 1), grid >> (len(steps) - 1)))
    for level, count in enumerate(steps):
        side = grid >> (len(steps) - 1 - level)
        first, second = (functional.interpolate(m, (side, side), mode="area") for m in (ed, es))
        velocity = functional.interpolate(velocity, (side, side), mode="bilinear", align_corners=False)
        base = grid_of(side, side, ed.device)
        for _ in range(count):
            pull = _force(first, second, velocity, base) - _force(second, first, -velocity, base)
            velocity = smooth(velocity + pull / 2, 1.0)
    return velocity


def _force(moving: Tensor, fixed: Tensor, velocity: Tensor, base: Tensor) -> Tensor:
    """Demons step (n, 2, g, g) in -1..1 that brings `moving` closer to `fixed`."""
    moved = warp(moving, exponential(velocity, base), base)
    padded = functional.pad(moved, (1, 1, 1, 1), mode="replicate")
    slope = torch.stack(
        [padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]], 1
    )  # (n, 2, C, g, g): twice the change from one cell to the next
    slope = slope / 2
    error = (fixed - moved)[:, None]
    step = (error * slope).sum(2) / (slope.square().sum((1, 2)) + error.square().sum(2)[:, 0] + 1e-3)[:, None]
    return step * (2 / base.shape[1])


def smooth(field: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (n, C, h, w), edges repeated."""
    reach = max(1, round(3 * sigma))
    x = torch.arange(-reach, reach + 1, device=field.device, dtype=field.dtype)
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(field.shape[1], 1, -1)
    field = functional.pad(field, (reach,) * 4, mode="replicate")
    field = functional.conv2d(field, kernel[..., None, :], groups=field.shape[1])
    return functional.conv2d(field, kernel[..., :, None], groups=field.shape[1])
