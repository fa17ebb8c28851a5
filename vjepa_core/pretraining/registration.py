"""Register the outlines of two label images with a stationary velocity field.

For any fraction of the deformation, the exponential of the field is invertible and consistent in both
directions: scaling and squaring after Arsigny et al., MICCAI 2006; log-domain demons after Vercauteren et
al., MICCAI 2008, here on signed distance maps instead of grey levels.
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
"""Labels inside each registered outline: inner and outer wall of the ventricle, atrium."""
_REACH = 12.0
"""Distance from an outline at which its influence ends, in pixels of an image of 224 pixels."""
_SQUARINGS = 4


def signed_distance(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute distance maps (3, H, W) of the outlines of a label image (H, W).

    The maps contain the tanh of the scaled distance to an outline, positive inside.
    """
    reach = _REACH * mask.shape[0] / 224
    out = np.full((len(SHAPES), *mask.shape), -1, np.float32)
    for target, classes in zip(out, SHAPES, strict=True):
        inside = np.isin(mask, classes).astype(np.uint8)
        if inside.any():
            inner = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
            outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
            target[...] = np.tanh((inner - outer) / reach)
    return out


def pixel_grid(height: int, width: int, device: torch.device) -> Tensor:
    """Return the pixel centres (1, H, W, 2) in -1..1, x before y."""
    eye = torch.eye(2, 3, device=device)[None]
    grid: Tensor = functional.affine_grid(eye, [1, 1, height, width], align_corners=False)
    return grid


def warp(maps: Tensor, shift: Tensor, base: Tensor) -> Tensor:
    """Sample maps (n, C, h, w) at ``base + shift``.

    `base` has the shape (., H, W, 2) and `shift` (n, 2, H, W), both in -1..1.
    """
    positions = base + shift.permute(0, 2, 3, 1)
    sampled: Tensor = functional.grid_sample(maps, positions, padding_mode="border", align_corners=False)
    return sampled


def exponential(velocity: Tensor, base: Tensor) -> Tensor:
    """Compute the displacement (n, 2, g, g) of a velocity field after one unit of time."""
    shift: Tensor = velocity / 2**_SQUARINGS
    for _ in range(_SQUARINGS):
        shift = shift + warp(shift, shift, base)
    return shift


def register(ed: Tensor, es: Tensor, *, grid: int = 56, steps: Sequence[int] = (30, 8)) -> Tensor:
    """Compute the velocity field that deforms ED outlines to ES outlines.

    Parameters
    ----------
    ed, es : Tensor
        Signed distance maps, shape (n, C, H, W).
    grid : int
        Side of the field; it is refined from coarser fields, each with half the side.
    steps : sequence of int
        Iterations from the coarsest to the finest field.

    Returns
    -------
    Tensor
        Shape (n, 2, grid, grid), in -1..1: sampling ED at ``x + exp(velocity)(x)`` gives ES at x, and
        sampling ES at ``x + exp(-velocity)(x)`` gives ED.
    """
    velocity = ed.new_zeros((len(ed), 2, grid >> (len(steps) - 1), grid >> (len(steps) - 1)))
    for level, count in enumerate(steps):
        side = grid >> (len(steps) - 1 - level)
        first, second = (functional.interpolate(m, (side, side), mode="area") for m in (ed, es))
        velocity = functional.interpolate(velocity, (side, side), mode="bilinear", align_corners=False)
        base = pixel_grid(side, side, ed.device)
        for _ in range(count):
            update = _demons_step(first, second, velocity, base) - _demons_step(
                second, first, -velocity, base
            )
            velocity = smooth(velocity + update / 2, 1.0)
    return velocity


def _demons_step(moving: Tensor, fixed: Tensor, velocity: Tensor, base: Tensor) -> Tensor:
    """Compute the demons step (n, 2, g, g) in -1..1 that moves `moving` closer to `fixed`."""
    moved = warp(moving, exponential(velocity, base), base)
    padded = functional.pad(moved, (1, 1, 1, 1), mode="replicate")
    gradient = torch.stack(
        [padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]], 1
    )  # (n, 2, C, g, g): central differences
    gradient = gradient / 2
    error = (fixed - moved)[:, None]
    norm = gradient.square().sum((1, 2)) + error.square().sum(2)[:, 0] + 1e-3
    step: Tensor = (error * gradient).sum(2) / norm[:, None]
    return step * (2 / base.shape[1])


def smooth(field: Tensor, sigma: float) -> Tensor:
    """Blur a field (n, C, h, w) with a Gaussian; edges are replicated."""
    reach = max(1, round(3 * sigma))
    x = torch.arange(-reach, reach + 1, device=field.device, dtype=field.dtype)
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(field.shape[1], 1, -1)
    field = functional.pad(field, (reach,) * 4, mode="replicate")
    field = functional.conv2d(field, kernel[..., None, :], groups=field.shape[1])
    return functional.conv2d(field, kernel[..., :, None], groups=field.shape[1])
