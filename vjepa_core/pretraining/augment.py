"""Augmentations that imitate differences between ultrasound machines, patients and operators.

They run on the device of the clips. Each effect is drawn once per clip and is equal in all its frames,
except speckle and haze, which change slowly with time. There is no left-right flip, because it would mirror
the heart. The strengths are design choices of this project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vjepa_core.pretraining.sampling import CHUNK, to_uint8, uniform


@dataclass(frozen=True)
class Augment:
    """Ultrasound augmentations of clips (B, T, H, W) uint8.

    Each attribute is the maximum strength of one effect. Each effect is applied to half of the clips, with a
    strength drawn uniformly between 0 and the maximum. 0 disables an effect.

    Attributes
    ----------
    attenuation : float
        Gain that decreases or increases with depth, and gain that varies in depth bands, in nepers over the
        image.
    gain : float
        Overall gain in nepers.
    gamma : float
        Logarithm of the exponent of the grey levels.
    speckle : float
        Standard deviation of multiplicative noise, in nepers.
    shadow : float
        Fraction of the brightness lost behind a rib or lung.
    haze : float
        Grey level added in clouds, as a fraction of white.
    sector : float
        Fraction of the sector angle removed at its sides.
    """

    attenuation: float = 0.6
    gain: float = 0.3
    gamma: float = 0.35
    speckle: float = 0.12
    shadow: float = 0.8
    haze: float = 0.12
    sector: float = 0.35

    def __post_init__(self) -> None:
        if any(getattr(self, f.name) < 0 for f in fields(self)):
            raise ValueError(f"strengths must not be negative: {self}")

    @classmethod
    def none(cls) -> Augment:
        """Return augmentations with every effect disabled."""
        return cls(*(0.0 for _ in fields(cls)))

    def __call__(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """Augment clips (B, T, H, W) uint8; `generator` must be on their device."""
        if clips.dtype != torch.uint8 or clips.ndim != 4:
            raise ValueError(f"expected clips (B, T, H, W) uint8, got {clips.dtype} {tuple(clips.shape)}")
        if not any(getattr(self, f.name) for f in fields(self)):
            return clips
        return torch.cat([self._apply(part, generator) for part in clips.split(CHUNK)])

    def _apply(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        n, frames, height, width = clips.shape
        device = clips.device
        grey = clips.float() / 255
        lit = grey.amax(1, keepdim=True)  # letterbox bars and pixels outside the sector stay black
        angle, radius = beam_coordinates(n, height, width, generator, device)

        loss = self.attenuation * _half(n, generator, device) * _sign(n, generator, device)
        fade = _column(loss) * (radius - 0.5) + depth_bands(
            self.attenuation / 4 * _half(n, generator, device), radius, generator
        )
        fade = fade + _column(self.gain * _half(n, generator, device) * _sign(n, generator, device))
        gain = fade.exp()
        gain = gain * acoustic_shadow(self.shadow * _half(n, generator, device), angle, radius, generator)
        gain = gain * sector_window(self.sector * _half(n, generator, device), angle, lit, generator)

        exponent = (self.gamma * _half(n, generator, device) * _sign(n, generator, device)).exp()
        out = (grey.clamp(min=1e-4) ** _column(exponent) - 1e-4).clamp_(min=0).mul_(gain)
        if self.speckle:
            strength = self.speckle * _half(n, generator, device)
            out = out.mul_(speckle(strength, (frames, height, width), generator).exp_())
        if self.haze:
            clouds = haze(self.haze * _half(n, generator, device), (frames, height, width), generator)
            out = out.add_(clouds.mul_((lit > 0.02) * gain.clamp(max=1)))
        return to_uint8(out.mul_(255))


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _half(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw strengths (n,): 0 for half of the clips, uniform in 0..1 for the others."""
    return (uniform(n, -1.0, 1.0, generator, device)).clamp(min=0)


def _sign(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.where(torch.rand(n, generator=generator, device=device) < 0.5, -1.0, 1.0)


def beam_coordinates(
    n: int, height: int, width: int, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the polar coordinates of every pixel about a random probe position.

    The probe is placed near the middle of the upper edge, its usual position in echo images.

    Returns
    -------
    angle : Tensor
        Angle of the beam from the vertical in radians, shape (n, 1, H, W).
    radius : Tensor
        Distance from the probe, 1 at the lower edge, shape (n, 1, H, W).
    """
    x0 = _column(0.5 + 0.08 * uniform(n, -1, 1, generator, device))
    y0 = _column(-0.15 * uniform(n, 0, 1, generator, device))
    x = ((torch.arange(width, device=device) + 0.5) / width).view(1, 1, 1, -1) - x0
    y = ((torch.arange(height, device=device) + 0.5) / height).view(1, 1, -1, 1) - y0
    return torch.atan2(x, y), (x.square() + y.square()).sqrt() / (1 - y0)


def depth_bands(strength: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
    """Return a smooth gain over depth in nepers (n, 1, H, W), like random time-gain compensation."""
    sliders = torch.randn(len(strength), 8, generator=generator, device=radius.device) * strength[:, None]
    position = radius.clamp(0, 1) * 7
    low = position.long().clamp(max=6)
    fraction = position - low
    flat = low.flatten(1)
    below, above = (sliders.gather(1, flat + k).view_as(radius) for k in (0, 1))
    return torch.lerp(below, above, fraction)


def acoustic_shadow(strength: Tensor, angle: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
    """Return the gain (n, 1, H, W) of an acoustic shadow: a wedge of beams that is dark below some depth."""
    n, device = len(strength), angle.device
    middle = uniform(n, -0.6, 0.6, generator, device)
    half = uniform(n, 0.04, 0.2, generator, device)
    start = uniform(n, 0.1, 0.6, generator, device)
    across = torch.sigmoid((_column(half) - (angle - _column(middle)).abs()) / 0.025)
    along = torch.sigmoid((radius - _column(start)) / 0.03)
    return 1 - _column(strength) * across * along


def sector_window(strength: Tensor, angle: Tensor, lit: Tensor, generator: torch.Generator) -> Tensor:
    """Return a gain of 0 or 1 (n, 1, H, W) that narrows the sector by a fraction of its half angle."""
    visible = torch.where(lit > 0.05, angle.abs(), torch.zeros_like(angle))
    widest = visible.flatten(1).amax(1).clamp(min=0.2, max=math.pi / 2)
    left, right = (
        widest * (1 - strength * uniform(len(strength), 0.3, 1.0, generator, angle.device)) for _ in range(2)
    )
    return ((angle > -_column(left) - 1e-3) & (angle < _column(right) + 1e-3)).float()


def speckle(
    strength: Tensor, shape: tuple[int, int, int], generator: torch.Generator, keep: Tensor | None = None
) -> Tensor:
    """Return speckle noise (n, T, H, W) in nepers, wider across the beam than along it.

    Parameters
    ----------
    strength : Tensor
        Standard deviation, shape (n,).
    shape : tuple of int
        T, H, W.
    generator : torch.Generator
        Source of random numbers, on the device of `strength`.
    keep : Tensor, optional
        Fraction of the variance that is common to all frames, shape (n,); default: uniform in 0.2..1.
    """
    n, device = len(strength), strength.device
    frames, height, width = shape
    grain = (math.ceil(height / 2), math.ceil(width / 3))
    if keep is None:
        keep = uniform(n, 0.2, 1.0, generator, device)
    common = torch.randn(n, 1, *grain, generator=generator, device=device)
    varying = torch.randn(n, frames, *grain, generator=generator, device=device)
    noise = _column(keep.sqrt()) * common + _column((1 - keep).sqrt()) * varying
    noise = functional.interpolate(noise, (height, width), mode="bilinear", align_corners=False)
    return noise * _column(strength / _GRAIN_DEVIATION)


_GRAIN_DEVIATION = 0.68  # of white noise after interpolation from cells of 2 x 3 pixels, measured


def haze(strength: Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Return slowly moving clouds (n, T, H, W) between 0 and `strength` (n,), brighter near the probe."""
    n, device = len(strength), strength.device
    frames, height, width = shape
    clouds = torch.rand(n, 1, 3, 5, 5, generator=generator, device=device)
    near = torch.linspace(1.0, 0.4, 5, device=device).view(1, 1, 1, 5, 1)
    clouds = functional.interpolate(clouds * near, (frames, 28, 28), mode="trilinear", align_corners=True)[
        :, 0
    ]
    clouds = functional.interpolate(clouds, (height, width), mode="bilinear", align_corners=False)
    return clouds * _column(strength)


def contact_sheet(clips: Tensor, *, columns: int = 8, side: int = 160) -> NDArray[np.uint8]:
    """Return one image of clips (B, T, H, W) uint8: one row per clip with `columns` frames."""
    frame_numbers = torch.linspace(0, clips.shape[1] - 1, min(columns, clips.shape[1])).round().long()
    shown = clips[:, frame_numbers.to(clips.device)].float()
    shown = functional.interpolate(shown, (side, side), mode="area")
    rows = functional.pad(to_uint8(shown), (1, 1, 1, 1), value=90).cpu().numpy()
    return np.ascontiguousarray(rows.transpose(0, 2, 1, 3).reshape(len(clips) * (side + 2), -1))


def save_contact_sheet(path: Path | str, *clips: Tensor, columns: int = 8, side: int = 160) -> None:
    """Write a PNG of clips; several tensors of the same shape are placed side by side for comparison."""
    sheets = [contact_sheet(group, columns=columns, side=side) for group in clips]
    ok, data = cv2.imencode(".png", np.hstack(sheets))
    if not ok:
        raise ValueError("the contact sheet cannot be written as PNG")
    Path(path).write_bytes(data.tobytes())
