"""Scanner model: pulse, attenuation, shadows, clutter, compression and scan conversion.

Imaging is simulated on a grid of beams (rows: range, columns: angle), where the point-spread function is
nearly constant: a diffraction-limited beam has a constant angular width, so its width in millimetres grows
with depth after scan conversion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vjepa_core.phantom.draw import RandomValues, bump, smoothstep

LN10_20 = math.log(10.0) / 20.0


@dataclass(frozen=True)
class Scanner:
    """Settings of B scanners; tensors have the shape (B, 1, 1, 1) unless stated otherwise.

    Attributes
    ----------
    near, depth, half_angle : Tensor
        Range of the first sample (mm), length of a beam (mm), half the sector angle (rad).
    axial, lateral, focus, side_lobe : Tensor
        Standard deviation of the pulse (mm) and of the beam (rad), depth of the focus (mm), relative weight
        of a broad side lobe.
    specular : Tensor
        Weight of reflections at smooth interfaces relative to scatterers.
    loss : Tensor
        Residual attenuation after time-gain compensation (dB), (B, 1, rows, 1).
    beams : Tensor
        Gain of every beam including shadows (dB), (B, 1, rows, columns).
    streaks : Tensor
        Layers of connective tissue and fat across the beams: smooth noise, (B, 1, rows, columns).
    clutter, noise : Tensor
        Level (dB) of clutter that does not move with the heart, (B, 1, rows, columns), and of electronic
        noise, (B, 1, rows, 1).
    span, gain, gamma, compound, persistence : Tensor
        Dynamic range (dB), gain (dB), exponent of the grey map, smoothing of the envelope (samples), weight
        of the previous frame.
    """

    near: Tensor
    depth: Tensor
    half_angle: Tensor
    axial: Tensor
    lateral: Tensor
    focus: Tensor
    side_lobe: Tensor
    specular: Tensor
    loss: Tensor
    beams: Tensor
    streaks: Tensor
    clutter: Tensor
    noise: Tensor
    span: Tensor
    gain: Tensor
    gamma: Tensor
    compound: Tensor
    persistence: Tensor

    def beam_grid(self) -> tuple[Tensor, Tensor]:
        """Return lateral position and depth of every sample in mm, each (B, 1, rows, columns)."""
        rows, columns = self.beams.shape[-2:]
        r = self.near + self.depth * _sample_centres(rows, self.depth.device).view(-1, 1)
        angle = self.half_angle * (2.0 * _sample_centres(columns, self.depth.device) - 1.0)
        return r * torch.sin(angle), r * torch.cos(angle)


def draw_scanner(draw: RandomValues, depth: Tensor, rows: int, columns: int) -> Scanner:
    """Draw random settings for a depth (B, 1, 1, 1) in mm; the ranges were chosen by visual comparison."""
    u, chance = draw.uniform, draw.chance
    half_angle = torch.deg2rad(draw.normal(39.0, 4.0, 30.0, 48.0))
    near = chance(0.3) * u(0.0, 8.0)
    down = _sample_centres(rows, draw.device).view(-1, 1)
    r = near + depth * down
    theta = 2.0 * _sample_centres(columns, draw.device) - 1.0  # -1..1 across the sector
    slope, sag = draw.normal(0.0, 5.0, -12.0, 10.0), draw.normal(0.0, 3.0, -7.0, 7.0)
    loss = slope * (down - 0.5) + sag * torch.sin(math.pi * (down * u(0.7, 1.4) + u(0.0, 1.0)))
    rings = u(2.5, 6.0)
    ringing = 5.0 * torch.cos(2.0 * math.pi * r / rings) * torch.exp(-r / 9.0)
    clutter = torch.maximum(u(-26.0, -8.0) - r * u(0.5, 1.1), u(-60.0, -36.0) - r * u(0.0, 0.08)) + ringing
    clutter = clutter - u(0.0, 6.0) * (theta - u(-0.8, 0.8)) ** 2
    clutter = clutter + u(0.0, 7.0) * _patches(draw, rows, columns, (7, 5))
    high_contrast = chance(0.4)  # some manufacturers use high contrast, others many grey levels
    return Scanner(
        near=near,
        depth=depth,
        half_angle=half_angle,
        axial=u(0.2, 0.4),
        lateral=torch.deg2rad(u(0.32, 0.75)),
        focus=u(60.0, 110.0),
        side_lobe=u(0.01, 0.05),
        specular=u(0.0, 0.7),
        loss=loss,
        beams=_beam_gain(draw, r, theta),
        streaks=_patches(draw, rows, columns, (45, 9)),
        clutter=clutter,
        noise=u(-66.0, -50.0) + u(0.0, 12.0) * down**2,
        span=u(50.0, 80.0) - high_contrast * 12.0,
        gain=u(-10.0, 2.0) + 3.0 * high_contrast,
        gamma=draw.normal(1.15, 0.2, 0.8, 1.7) + 0.4 * high_contrast,
        compound=chance(0.8) * u(0.5, 1.2),
        persistence=chance(0.5) * u(0.0, 0.4),
    )


def _beam_gain(draw: RandomValues, r: Tensor, theta: Tensor) -> Tensor:
    """Draw non-uniform beam gain, weak edges and shadows of ribs and lung in dB, (B, 1, rows, columns)."""
    u = draw.uniform
    waves = sum(
        u(-1.6, 1.6) * torch.sin(k * 2.1 * theta + u(0.0, 6.3)) for k in (1.0, 2.3, 4.1, 7.7)
    ) * smoothstep(r / 60.0)
    gain = waves - draw.chance(0.5) * u(3.0, 16.0) * smoothstep((-theta - u(0.5, 0.85)) / 0.3)
    gain = gain - draw.chance(0.5) * u(3.0, 16.0) * smoothstep((theta - u(0.5, 0.85)) / 0.3)
    for _ in range(2):
        side = torch.sign(u(-1.0, 1.0))
        shadow = bump((theta - side * u(0.35, 1.0)) / u(0.06, 0.22)) * smoothstep((r - u(3.0, 45.0)) / 12.0)
        gain = gain - draw.chance(0.3) * u(5.0, 22.0) * shadow
    return gain


def _patches(draw: RandomValues, rows: int, columns: int, cells: tuple[int, int]) -> Tensor:
    """Draw smooth noise with standard deviation 1, (B, 1, rows, columns)."""
    noise = functional.interpolate(
        draw.noise(1, *cells), (rows, columns), mode="bicubic", align_corners=False
    )
    return noise / noise.std(dim=(-2, -1), keepdim=True)


def insonify(
    scanner: Scanner,
    level: Tensor,
    blood: Tensor,
    speckle: Tensor,
    *,
    glint: Tensor,
    draw: RandomValues,
    seconds: Tensor,
) -> Tensor:
    """Simulate the log-compressed envelope on the grid of beams.

    Parameters
    ----------
    scanner : Scanner
        Settings.
    level : Tensor
        Scattering level in dB, (B, T, rows, columns).
    blood : Tensor
        Fraction of blood 0..1; its scatterers are new in every frame.
    speckle : Tensor
        Complex scatterers of the tissue, (2, B, T, rows, columns).
    glint : Tensor
        Smoothness of interfaces, 0 or more, (B, T, rows, columns).
    draw : RandomValues
        Random numbers for blood, clutter and noise.
    seconds : Tensor
        Time, (B, T, 1, 1).

    Returns
    -------
    Tensor
        (B, T, rows, columns), 0..1.
    """
    _, t, rows, columns = level.shape
    fresh = draw.noise(2, t, rows, columns).transpose(0, 1)
    still = draw.noise(4, 1, rows, columns).transpose(0, 1)
    phase = 1.5 * seconds  # clutter also changes slowly
    still = torch.cos(phase) * still[:2] + torch.sin(phase) * still[2:]
    gain = scanner.loss + scanner.beams
    field = _amplitude(level + gain) * torch.lerp(speckle, fresh, blood)
    # Smooth interfaces reflect in phase, by their change along the beam.
    edge = torch.diff(level, dim=-2, append=level[..., -1:, :]).abs().clamp(max=12.0) / 12.0
    field[0] += scanner.specular * glint * edge * _amplitude(level.clamp(min=-30.0) + gain + 6.0)
    field = field + _amplitude(scanner.clutter + 0.3 * gain) * still
    field = _focus(scanner, field)
    # Receiver noise has the spectrum of the pulse but is independent of the beam; the numbers of the blood
    # are reused, shifted and swapped.
    field = field + _amplitude(scanner.noise) * fresh.roll((rows // 3, columns // 2), (-2, -1)).flip(0)
    power = (field * field).sum(0)
    power = _blur(power, scanner.compound, scanner.compound)
    grey = 1.0 + (10.0 * torch.log10(power + 1e-9) + scanner.gain) / scanner.span
    before = torch.cat([grey[:, :1], grey[:, :-1]], 1)
    return torch.lerp(grey, before, scanner.persistence).clamp(0.0, 1.0) ** scanner.gamma


def scan_convert(scanner: Scanner, grey: Tensor, x: Tensor, z: Tensor) -> Tensor:
    """Resample from beams to pixels; 0 outside the sector.

    Parameters
    ----------
    scanner : Scanner
        Settings.
    grey : Tensor
        Result of `insonify`, (B, T, rows, columns).
    x, z : Tensor
        Lateral position and depth of the pixels in mm, (B, 1, H, W).

    Returns
    -------
    Tensor
        Shape (B, T, H, W).
    """
    r, angle = (x * x + z * z).sqrt(), torch.atan2(x, z)
    grid = torch.stack([angle / scanner.half_angle, 2.0 * (r - scanner.near) / scanner.depth - 1.0], -1)
    image = functional.grid_sample(grey, grid[:, 0], padding_mode="border", align_corners=False)
    return image * in_sector(scanner, x, z)


def in_sector(scanner: Scanner, x: Tensor, z: Tensor) -> Tensor:
    """Return True for positions inside the sector, (B, 1, H, W)."""
    r = (x * x + z * z).sqrt()
    inside = (r >= scanner.near) & (r <= scanner.near + scanner.depth)
    return inside & (torch.atan2(x, z).abs() <= scanner.half_angle)


def _focus(scanner: Scanner, field: Tensor) -> Tensor:
    """Convolve with the pulse and the beam, which is wider away from the focus, as matrix products."""
    rows, columns = field.shape[-2:]
    pulse = scanner.axial / (scanner.depth / rows)
    beam = scanner.lateral / (2.0 * scanner.half_angle / columns)
    field = _kernel(rows, pulse) @ field
    sharp = _kernel(columns, beam) + scanner.side_lobe * _kernel(columns, 7.0 * beam)
    wide = _kernel(columns, 1.5 * beam) + scanner.side_lobe * _kernel(columns, 7.0 * beam)
    r = scanner.near + scanner.depth * _sample_centres(rows, field.device).view(-1, 1)
    blur = 1.0 - bump((r - scanner.focus) / 55.0)
    return torch.lerp(field @ sharp, field @ wide, blur)


def _blur(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Apply a Gaussian blur with sum 1 along rows and columns, standard deviations in samples."""
    down, across = _kernel(x.shape[-2], rows), _kernel(x.shape[-1], columns)
    return down / down.sum(-1, keepdim=True) @ x @ (across / across.sum(-2, keepdim=True))


def _kernel(n: int, deviation: Tensor) -> Tensor:
    """Return a Gaussian filter as a matrix (B, 1, n, n) with energy 1, which preserves the power of noise."""
    index = torch.arange(n, device=deviation.device)
    kernel = bump((index.view(-1, 1) - index) / (math.sqrt(2.0) * deviation.clamp(min=0.15)))
    return kernel / kernel.square().sum(-1, keepdim=True).sqrt()


def _amplitude(level: Tensor) -> Tensor:
    return torch.exp(level * LN10_20)


def _sample_centres(n: int, device: torch.device) -> Tensor:
    return (torch.arange(n, device=device) + 0.5) / n
