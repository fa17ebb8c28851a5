"""Augmentation of a frame together with its cached features, label and carried label.

Random numbers are drawn on the CPU, so that a seed gives the same augmentation on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def random_affine(n: int, generator: Generator) -> Tensor:
    """Draw small rotations, scalings and shifts (n, 2, 3) in the normalised coordinates of `affine_grid`.

    There is no left-right flip, because it would mirror the anatomy.
    """
    angle = _uniform(n, -0.21, 0.21, generator)
    scale = torch.exp(_uniform(n, -0.16, 0.16, generator))
    aspect = torch.exp(_uniform(n, -0.08, 0.08, generator))
    theta = torch.zeros(n, 2, 3)
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta[:, 0, 0], theta[:, 0, 1] = cos * scale * aspect, -sin * scale
    theta[:, 1, 0], theta[:, 1, 1] = sin * scale, cos * scale / aspect
    theta[:, :, 2] = _uniform(2 * n, -0.14, 0.14, generator).reshape(n, 2)
    return theta


def warp_affine(x: Tensor, theta: Tensor, padding: str = "border") -> Tensor:
    """Resample maps (B, C, h, w) with the affine transforms `theta` (B, 2, 3).

    The transforms are independent of the resolution of the maps.
    """
    grid = _positions(theta.to(x), *x.shape[-2:])
    return functional.grid_sample(x, grid, padding_mode=padding, align_corners=False)


def _positions(theta: Tensor, h: int, w: int) -> Tensor:
    """Compute the same as `affine_grid(theta, (n, 1, h, w), align_corners=False)`, but faster on a CPU."""
    x, y = ((2 * torch.arange(size, device=theta.device) + 1.0) / size - 1 for size in (w, h))
    across, down, shift = theta[:, :, None, None, :].unbind(-1)
    grid = across * x + (down * y[:, None] + shift)
    return grid.permute(0, 2, 3, 1)


def deform(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Apply a smooth random deformation to each sample.

    It imitates the errors of a carried label, so that the fitted head corrects them.

    Parameters
    ----------
    x : Tensor
        Maps, shape (B, C, h, w).
    strength : float
        Approximate maximum displacement as a fraction of the side.
    generator : torch.Generator
        Source of random numbers, on the CPU.
    """
    n, _, h, w = x.shape
    coarse = torch.randn(n, 2, 5, 5, generator=generator)
    # Add a common shift, because flow errors are strongly correlated along a wall.
    coarse = coarse + torch.randn(n, 2, 1, 1, generator=generator)
    amount = strength * _uniform(n, 0.0, 1.0, generator).reshape(n, 1, 1, 1)
    offset = functional.interpolate(coarse.to(x), (h, w), mode="bicubic", align_corners=True) * amount.to(x)
    identity = _positions(torch.eye(2, 3).to(x)[None], h, w)
    return functional.grid_sample(
        x, identity + offset.permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    )


def augment_image(image: Tensor, generator: Generator) -> Tensor:
    """Apply random gain, offset, gamma-like curve, depth attenuation and noise to images (B, 3, h, w)."""
    n, _, h, _ = image.shape

    def each(low: float, high: float) -> Tensor:
        return _uniform(n, low, high, generator).to(image.device).reshape(n, 1, 1, 1)

    gain, offset, bend = torch.exp(each(-0.3, 0.3)), each(-0.25, 0.25), each(-0.12, 0.12)
    depth = torch.linspace(-1, 1, h, device=image.device).reshape(1, 1, h, 1) * each(-0.3, 0.3)
    noise = torch.randn(image.shape, generator=generator).to(image.device)
    noise = functional.avg_pool2d(noise, 3, 1, 1)
    level = each(0.0, 0.5)
    varied = image * gain * (1 + depth) + offset + bend * image.square().clamp_max(9.0)
    return varied + level * noise * (1 + image.clamp(-1, 2)) / math.sqrt(2)
