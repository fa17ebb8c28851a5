"""What differs from one ultrasound machine, patient and sonographer to the next, put on clips on the device.

Everything is drawn once a clip and holds for all its frames; only speckle and haze change slowly with time.
There is no left-right flip: it would mirror the heart. All strengths are choices made here.
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

from vjepa_core.pretraining.sampling import CHUNK, to_bytes, uniform


@dataclass(frozen=True)
class Augment:
    """Ultrasound augmentations of clips (B, T, H, W) uint8.

    Each attribute is the largest strength of one effect; half of the clips get each effect, at a strength
    drawn between nothing and this. 0 switches an effect off.

    Attributes
    ----------
    attenuation : float
        Fading with depth or the reverse, and gain that varies in bands of depth: nepers over the picture.
    gain : float
        Nepers of brightness.
    gamma : float
        Logarithm of the exponent of the grey levels.
    speckle : float
        Standard deviation of multiplicative grain, in nepers.
    shadow : float
        Share of the brightness lost behind a rib or lung.
    haze : float
        Grey added in clouds, as a share of white.
    sector : float
        Share of the fan's angle cut away at its sides.
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
        """Every effect off."""
        return cls(*(0.0 for _ in fields(cls)))

    def __call__(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        """Augmented clips (B, T, H, W) uint8; `generator` must be of their device."""
        if clips.dtype != torch.uint8 or clips.ndim != 4:
            raise ValueError(f"expected clips (B, T, H, W) uint8, got {clips.dtype} {tuple(clips.shape)}")
        if not any(getattr(self, f.name) for f in fields(self)):
            return clips
        return torch.cat([self._apply(part, generator) for part in clips.split(CHUNK)])

    def _apply(self, clips: Tensor, generator: torch.Generator) -> Tensor:
        n, frames, height, width = clips.shape
        device = clips.device
        grey = clips.float() / 255
        lit = grey.amax(1, keepdim=True)  # the bars and the outside of the fan stay black
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
        return to_bytes(out.mul_(255))


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _half(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Strengths (n,): 0 for half of them, between 0 and 1 for the others."""
    return (uniform(n, -1.0, 1.0, generator, device)).clamp(min=0)


def _sign(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.where(torch.rand(n, generator=generator, device=device) < 0.5, -1.0, 1.0)


def beam_coordinates(
    n: int, height: int, width: int, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Angle of the beam from the vertical (radians) and distance from the probe, 0 at the top, 1 at the foot.

    The probe is taken to be somewhere about the middle of the upper edge, where echo pictures have it.

    Returns
    -------
    Tensor, Tensor
        (n, 1, H, W) each.
    """
    x0 = _column(0.5 + 0.08 * uniform(n, -1, 1, generator, device))
    y0 = _column(-0.15 * uniform(n, 0, 1, generator, device))
    x = ((torch.arange(width, device=device) + 0.5) / width).view(1, 1, 1, -1) - x0
    y = ((torch.arange(height, device=device) + 0.5) / height).view(1, 1, -1, 1) - y0
    return torch.atan2(x, y), (x.square() + y.square()).sqrt() / (1 - y0)


def depth_bands(strength: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
    """Nepers (n, 1, H, W) of a smooth gain over depth, as if eight sliders had been moved."""
    sliders = torch.randn(len(strength), 8, generator=generator, device=radius.device) * strength[:, None]
    place = radius.clamp(0, 1) * 7
    low = place.long().clamp(max=6)
    share = place - low
    flat = low.flatten(1)
    below, above = (sliders.gather(1, flat + k).view_as(radius) for k in (0, 1))
    return torch.lerp(below, above, share)


def acoustic_shadow(strength: Tensor, angle: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
    """Gain (n, 1, H, W) of a wedge of beams that is dark from some depth on, with soft edges."""
    n, device = len(strength), angle.device
    middle = uniform(n, -0.6, 0.6, generator, device)
    half = uniform(n, 0.04, 0.2, generator, device)
    start = uniform(n, 0.1, 0.6, generator, device)
    across = torch.sigmoid((_column(half) - (angle - _column(middle)).abs()) / 0.025)
    along = torch.sigmoid((radius - _column(start)) / 0.03)
    return 1 - _column(strength) * across * along


def sector_window(strength: Tensor, angle: Tensor, lit: Tensor, generator: torch.Generator) -> Tensor:
    """Gain (n, 1, H, W), 0 or 1: the fan made narrower by a share of its half angle, unevenly."""
    seen = torch.where(lit > 0.05, angle.abs(), torch.zeros_like(angle))
    widest = seen.flatten(1).amax(1).clamp(min=0.2, max=math.pi / 2)
    left, right = (
        widest * (1 - strength * uniform(len(strength), 0.3, 1.0, generator, angle.device)) for _ in range(2)
    )
    return ((angle > -_column(left) - 1e-3) & (angle < _column(right) + 1e-3)).float()


def speckle(
    strength: Tensor, shape: tuple[int, int, int], generator: torch.Generator, keep: Tensor | None = None
) -> Tensor:
    """Grain (n, T, H, W) in nepers, wider across the beam than along it, partly the same in all frames.

    Parameters
    ----------
    strength : Tensor
        (n,) standard deviation.
    shape : tuple of int
        T, H, W.
    keep : Tensor, optional
        (n,) share of the variance that all frames have in common; default drawn between 0.2 and 1.
    """
    n, device = len(strength), strength.device
    frames, height, width = shape
    grain = (math.ceil(height / 2), math.ceil(width / 3))
    if keep is None:
        keep = uniform(n, 0.2, 1.0, generator, device)
    fixed = torch.randn(n, 1, *grain, generator=generator, device=device)
    loose = torch.randn(n, frames, *grain, generator=generator, device=device)
    noise = _column(keep.sqrt()) * fixed + _column((1 - keep).sqrt()) * loose
    noise = functional.interpolate(noise, (height, width), mode="bilinear", align_corners=False)
    # Interpolation between 2 x 3 pixels loses variance: this much remains, measured on white noise.
    return noise * _column(strength / _GRAIN_DEVIATION)


_GRAIN_DEVIATION = 0.68


def haze(strength: Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Clouds (n, T, H, W) between 0 and `strength` (n,), wide, drifting, thicker close to the probe."""
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
    """Clips (B, T, H, W) uint8 as one picture: a row a clip, `columns` frames spread over it."""
    moments = torch.linspace(0, clips.shape[1] - 1, min(columns, clips.shape[1])).round().long()
    shown = clips[:, moments.to(clips.device)].float()
    shown = functional.interpolate(shown, (side, side), mode="area")
    rows = functional.pad(to_bytes(shown), (1, 1, 1, 1), value=90).cpu().numpy()
    return np.ascontiguousarray(rows.transpose(0, 2, 1, 3).reshape(len(clips) * (side + 2), -1))


def save_contact_sheet(path: Path | str, *clips: Tensor, columns: int = 8, side: int = 160) -> None:
    """Write a PNG of clips; several tensors of one shape stand side by side, such as before and after."""
    sheets = [contact_sheet(group, columns=columns, side=side) for group in clips]
    ok, data = cv2.imencode(".png", np.hstack(sheets))
    if not ok:
        raise ValueError("the contact sheet cannot be written as PNG")
    Path(path).write_bytes(data.tobytes())
