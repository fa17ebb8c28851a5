"""Random choice of cines, frames and crops for a whole batch on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 64
"""Maximum number of clips that are resampled together, to limit the memory of float copies."""


def cine_weights(groups: Sequence[str], frames: Sequence[int], shares: Mapping[str, float]) -> Tensor:
    """Compute the probability of each cine.

    The fraction of a group is divided among its cines in proportion to the square root of their lengths: a
    long cine contains more information, but its frames are similar.

    Parameters
    ----------
    groups : sequence of str
        Group of each cine.
    frames : sequence of int
        Number of frames of each cine.
    shares : mapping of str to float
        Fraction of each group; a missing group is never drawn.

    Returns
    -------
    Tensor
        Shape (C,), float64; sums to 1.

    Raises
    ------
    ValueError
        If a fraction is negative or no cine can be drawn.
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


def draw_indices(upper: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw `n` indices (n,), int64, with replacement; `upper` (C,) is the cumulative probability."""
    draws = torch.rand(n, generator=generator, device=upper.device, dtype=upper.dtype)
    return torch.searchsorted(upper, draws * upper[-1], right=True).clamp(max=len(upper) - 1)


def uniform(n: int, low: float, high: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw uniform numbers (n,), float32, between two bounds."""
    return low + (high - low) * torch.rand(n, generator=generator, device=device)


def sample_frames(
    lengths: Tensor, fps: Tensor, clip: int, rates: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Draw the frame numbers of clips with a random start and a random frame rate.

    Parameters
    ----------
    lengths : Tensor
        Number of frames of the cine of each clip, shape (n,), int64.
    fps : Tensor
        Frame rate of the cine in Hz, shape (n,), float32; 0 if unknown or for a still image.
    clip : int
        Frames T of a clip.
    rates : (float, float)
        Minimum and maximum frame rate of a clip in Hz. If the rate of the cine is lower, its frames are used
        consecutively, because repeated frames would look like a pause.
    generator : torch.Generator
        Source of random numbers.

    Returns
    -------
    Tensor
        Nearest frames, shape (n, T), int64; a cine that is too short is played back and forth.
    """
    rate = uniform(len(lengths), *rates, generator, lengths.device)
    step = torch.where(fps > 0, (fps / rate).clamp(min=1), torch.ones_like(rate))
    last = (lengths - 1).to(step.dtype)
    room = last - step * (clip - 1)
    # A short cine may start at any frame and is reversed at its end.
    room = torch.where(room >= 0, room, last)
    start = room * torch.rand(len(lengths), generator=generator, device=lengths.device)
    frame_numbers = start[:, None] + step[:, None] * torch.arange(clip, device=lengths.device)
    return reflect(frame_numbers.round().long(), lengths[:, None])


def reflect(index: Tensor, lengths: Tensor) -> Tensor:
    """Map an index >= 0 to 0..length-1 by reflection at both ends, without repeating the end frames."""
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
    """Draw random resized crops of a square as affine transforms for `resample`.

    Parameters
    ----------
    n : int
        Number of crops.
    generator : torch.Generator
        Source of random numbers, on `device`.
    device : torch.device
        Device of the result.
    scale : (float, float)
        Range of the area as a fraction of the square.
    aspect : (float, float)
        Range of width divided by height.
    degrees : float
        Maximum rotation about the centre of the crop.

    Returns
    -------
    Tensor
        Transforms from output to input coordinates, both -1..1, x before y; shape (n, 2, 3), float32.
    """
    area = uniform(n, *scale, generator, device)
    # Log-uniform, so that w:h is as likely as h:w.
    ratio = uniform(n, math.log(aspect[0]), math.log(aspect[1]), generator, device).exp()
    half = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    centre = (1 - half) * (2 * torch.rand(n, 2, generator=generator, device=device) - 1)
    angle = uniform(n, -degrees, degrees, generator, device).deg2rad()
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    return torch.cat([turn * half[:, None, :], centre[:, :, None]], 2)


def resample(clips: Tensor, theta: Tensor, size: int) -> Tensor:
    """Resample all frames of each clip with its affine transform.

    Parameters
    ----------
    clips : Tensor
        Shape (n, T, H, W), uint8.
    theta : Tensor
        Transforms from `crop_affine`, shape (n, 2, 3).
    size : int
        Side of the result in pixels.

    Returns
    -------
    Tensor
        Shape (n, T, size, size), uint8, bilinear; 0 outside the image.
    """
    out = clips.new_empty((len(clips), clips.shape[1], size, size))
    for first in range(0, len(clips), CHUNK):
        part = slice(first, first + CHUNK)
        # Frames take the place of channels in grid_sample, because they share the grid.
        shape = [len(clips[part]), clips.shape[1], size, size]
        grid = functional.affine_grid(theta[part], shape, align_corners=False)
        sampled = functional.grid_sample(clips[part].float(), grid, align_corners=False)
        out[part] = to_uint8(sampled)
    return out


def to_uint8(grey: Tensor) -> Tensor:
    """Round grey levels and clamp them to uint8."""
    return grey.round().clamp(0, 255).to(torch.uint8)
