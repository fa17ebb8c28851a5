"""Which cine, which moments, which part of the picture: drawn for a whole batch at once, on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 64
"""Clips resampled at once: bounds the float copies of a large batch."""


def cine_weights(groups: Sequence[str], frames: Sequence[int], shares: Mapping[str, float]) -> Tensor:
    """Chance of each cine, (C,) float64, sums to 1.

    A group's share is split among its cines by the square root of their lengths: a long cine has more to
    show, but its frames resemble each other.

    Parameters
    ----------
    groups : sequence of str
        Group of each cine.
    frames : sequence of int
        Frames of each cine.
    shares : mapping
        Share of each group; a group left out is never drawn.

    Raises
    ------
    ValueError
        If a share is negative or nothing could be drawn.
    """
    if any(share < 0 for share in shares.values()):
        raise ValueError(f"shares must not be negative: {dict(shares)}")
    length = torch.tensor(frames, dtype=torch.float64).sqrt()
    out = torch.zeros_like(length)
    for group in set(groups):
        member = torch.tensor([g == group for g in groups])
        out[member] = length[member] / length[member].sum() * shares.get(group, 0.0)
    if not out.sum() > 0:
        raise ValueError(f"no cine to draw: groups {sorted(set(groups))}, shares {dict(shares)}")
    return out / out.sum()


def pick(upper: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """`n` indices (n,) int64 drawn with replacement; `upper` (C,) is the running sum of their chances."""
    draws = torch.rand(n, generator=generator, device=upper.device, dtype=upper.dtype)
    return torch.searchsorted(upper, draws * upper[-1], right=True).clamp(max=len(upper) - 1)


def uniform(n: int, low: float, high: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """(n,) float32 between two bounds."""
    return low + (high - low) * torch.rand(n, generator=generator, device=device)


def sample_moments(
    lengths: Tensor, fps: Tensor, clip: int, rates: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Frame numbers of clips that start anywhere and run at a rate drawn anew for each.

    Parameters
    ----------
    lengths : Tensor
        (n,) int64: frames of the cine of each clip.
    fps : Tensor
        (n,) float32: its frames a second; 0 where it is not known or there is no time.
    clip : int
        Frames of a clip, T.
    rates : tuple of float
        Lowest and highest frames a second wanted. A cine slower than the rate drawn is taken frame by
        frame: showing a frame twice would teach that nothing moves.

    Returns
    -------
    Tensor
        (n, T) int64, the nearest frames; a cine too short for the clip is played back and forth.
    """
    rate = uniform(len(lengths), *rates, generator, lengths.device)
    step = torch.where(fps > 0, (fps / rate).clamp(min=1), torch.ones_like(rate))
    last = (lengths - 1).to(step.dtype)
    room = last - step * (clip - 1)
    # A short cine may start at any of its frames, and turns round where it ends.
    room = torch.where(room >= 0, room, last)
    start = room * torch.rand(len(lengths), generator=generator, device=lengths.device)
    moments = start[:, None] + step[:, None] * torch.arange(clip, device=lengths.device)
    return reflect(moments.round().long(), lengths[:, None])


def reflect(index: Tensor, lengths: Tensor) -> Tensor:
    """Any index >= 0 as one within 0..length-1, going back and forth without showing an end twice."""
    period = (2 * (lengths - 1)).clamp(min=1)
    folded = index % period
    return torch.minimum(folded, period - folded).where(lengths > 1, torch.zeros_like(index))


def crop_affine(
    n: int,
    generator: torch.Generator,
    device: torch.device,
    *,
    scale: tuple[float, float] = (0.5, 1.0),
    aspect: tuple[float, float] = (0.9, 1.1),
    degrees: float = 0.0,
) -> Tensor:
    """Random resized crops of a square, as affine maps for `resample`.

    Parameters
    ----------
    n : int
        Crops.
    scale : tuple of float
        Share of the area that is kept.
    aspect : tuple of float
        Width over height of the part that is kept.
    degrees : float
        Turned by at most so much either way about the centre of the crop.

    Returns
    -------
    Tensor
        (n, 2, 3) float32: from output to input coordinates, both -1..1, x before y.
    """
    area = uniform(n, *scale, generator, device)
    # Even in the logarithm, so that w:h is as likely as h:w.
    ratio = uniform(n, math.log(aspect[0]), math.log(aspect[1]), generator, device).exp()
    half = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    centre = (1 - half) * (2 * torch.rand(n, 2, generator=generator, device=device) - 1)
    angle = uniform(n, -degrees, degrees, generator, device).deg2rad()
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    return torch.cat([turn * half[:, None, :], centre[:, :, None]], 2)


def resample(clips: Tensor, theta: Tensor, size: int) -> Tensor:
    """Every frame of a clip through the clip's affine map.

    Parameters
    ----------
    clips : Tensor
        (n, T, H, W) uint8.
    theta : Tensor
        (n, 2, 3), see `crop_affine`.
    size : int
        Side of the result in pixels.

    Returns
    -------
    Tensor
        (n, T, size, size) uint8, bilinear; what lies outside the picture is 0.
    """
    out = clips.new_empty((len(clips), clips.shape[1], size, size))
    for first in range(0, len(clips), CHUNK):
        part = slice(first, first + CHUNK)
        # Frames stand where grid_sample has channels: they share one grid.
        shape = [len(clips[part]), clips.shape[1], size, size]
        grid = functional.affine_grid(theta[part], shape, align_corners=False)
        taken = functional.grid_sample(clips[part].float(), grid, align_corners=False)
        out[part] = to_bytes(taken)
    return out


def to_bytes(grey: Tensor) -> Tensor:
    """Grey levels 0..255 of any real type as uint8, rounded."""
    return grey.round().clamp(0, 255).to(torch.uint8)
