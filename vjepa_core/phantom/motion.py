"""Inverse motion of the heart: map positions in the image to positions in the end-diastolic heart.

Labels, echogenicity and scatterers are all sampled at the mapped positions, so that they move consistently.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_core.phantom.beat import Beat
from vjepa_core.phantom.draw import smoothstep
from vjepa_core.phantom.geometry import Heart

BACKGROUND, CAVITY, MYOCARDIUM, ATRIUM = 0, 1, 2, 3


@dataclass(frozen=True)
class MaterialPosition:
    """Positions in the end-diastolic heart; tensors (B, T, H, W), mm.

    Attributes
    ----------
    u, s : Tensor
        Material coordinates across and along the long axis.
    endo, epi : Tensor
        Half-widths of cavity and outer wall at `s` on the same side.
    is_right : Tensor
        True on the right side, bool.
    now_u, now_s : Tensor
        Coordinates in the current, contracted heart, where valves are drawn.
    """

    u: Tensor
    s: Tensor
    endo: Tensor
    epi: Tensor
    is_right: Tensor
    now_u: Tensor
    now_s: Tensor


def locate(heart: Heart, beat: Beat, x: Tensor, z: Tensor) -> MaterialPosition:
    """Map points of the image to material positions.

    Along the axis, the ventricle shortens uniformly with a fixed apex, and the atrium is stretched between
    the annulus and its fixed roof. Across, the wall is a cylindrical shell of constant volume: with a length
    ratio l, R^2 - R_endo^2 = l (r^2 - r_endo^2). It thickens as the cavity narrows. Outside the wall, the
    motion decreases with distance.

    Parameters
    ----------
    heart : Heart
        Anatomy.
    beat : Beat
        Contraction and respiration.
    x, z : Tensor
        Lateral position and depth from the probe in mm; broadcast to (B, T, H, W).
    """
    u, s = _heart_coordinates(heart, beat, x, z)
    is_right = u >= 0
    c = beat.contraction
    stretch = 1.0 - heart.shortening * c
    annulus = heart.length * stretch
    roof = heart.length + heart.atrium_length
    in_atrium = heart.length + (s - annulus) * heart.atrium_length / (roof - annulus)
    s0 = torch.where(s < annulus, s / torch.where(s < 0, 1.0, stretch), torch.where(s < roof, in_atrium, s))
    # Motion decreases outside the wall: immediately on the side of the lung, beyond the right heart on the
    # other.
    reach = heart.width.at(is_right) + heart.wall.at(is_right) + 6.0
    reach = reach + torch.where(is_right, 0.0, (1.0 - heart.view) * heart.rv_width)
    s0 = s + (s0 - s) * (1.0 - smoothstep((u.abs() - reach) / 30.0))

    endo, epi = heart.endocardium(s0, is_right), heart.epicardium(s0, is_right)
    down = smoothstep((s0 - heart.length) / (0.5 * heart.atrium_length))
    narrowed = 1.0 - heart.squeeze.at(is_right) * heart.strength(s0) * c
    ratio = narrowed + down * (1.0 + heart.atrium_swell * c - narrowed)
    length_ratio = stretch + down * (1.0 - stretch)
    r, endo_now = u.abs(), ratio * endo
    epi_now = (endo_now**2 + (epi**2 - endo**2).clamp(min=0.0) / length_ratio).sqrt()
    blood = r / ratio
    wall = (endo**2 + (r * r - endo_now**2) * length_ratio).clamp(min=0.0).sqrt()
    outside = r + (epi - epi_now) * torch.exp(-(r - epi_now).clamp(min=0.0) / 25.0)
    r0 = torch.where(r < endo_now, blood, torch.where(r < epi_now, wall, outside))
    return MaterialPosition(torch.where(is_right, r0, -r0), s0, endo, epi, is_right, u, s)


def labels(heart: Heart, position: MaterialPosition) -> Tensor:
    """Return labels 0 background, 1 cavity, 2 myocardium, 3 left atrium; uint8 (B, T, H, W)."""
    r, s = position.u.abs(), position.s
    ventricle = (s >= -heart.apex_wall) & (s <= heart.length)
    cavity = ventricle & (s >= 0) & (r < position.endo)
    wall = ventricle & ~cavity & (r < position.epi)
    atrium = (s > heart.length) & (r < position.endo)
    return (cavity * CAVITY + wall * MYOCARDIUM + atrium * ATRIUM).to(torch.uint8)


def _heart_coordinates(heart: Heart, beat: Beat, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Convert scanner to heart coordinates: shift, rotation, bend of the axis, slope of the annulus."""
    angle = heart.tilt + heart.swing * beat.contraction
    dx = x - heart.apex_x - 0.5 * heart.drift * beat.breath
    dz = z - heart.apex_z - heart.drift * beat.breath
    cos, sin = torch.cos(angle), torch.sin(angle)
    u, s = dx * cos - dz * sin, dx * sin + dz * cos
    share = (s / heart.length).clamp(0.0, 1.5)
    u = u - heart.bend * share * share
    # A shear that grows from the apex to the annulus, limited laterally so that it stays invertible.
    return u, s - torch.tan(heart.annulus_tilt) * u.clamp(-45.0, 45.0) * smoothstep(share)


_STEPS = 12
"""Fixed-point steps of `scanner_coordinates`; each reduces the error to less than a third."""


def scanner_coordinates(heart: Heart, beat: Beat, u: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Convert coordinates of the heart to those of the scanner, the inverse of `locate`'s first step.

    Parameters
    ----------
    heart : Heart
        Anatomy.
    beat : Beat
        Contraction and respiration.
    u, s : Tensor
        Current position across and along the long axis in mm; broadcast to (B, T, H, W).

    Returns
    -------
    x, z : Tensor
        Lateral position and depth from the probe in mm.
    """
    slope = torch.tan(heart.annulus_tilt) * u.clamp(-45.0, 45.0)
    straight = s
    for _ in range(_STEPS):
        straight = s + slope * smoothstep(straight / heart.length)
    share = (straight / heart.length).clamp(0.0, 1.5)
    u = u + heart.bend * share * share
    angle = heart.tilt + heart.swing * beat.contraction
    cos, sin = torch.cos(angle), torch.sin(angle)
    x = u * cos + straight * sin + heart.apex_x + 0.5 * heart.drift * beat.breath
    z = straight * cos - u * sin + heart.apex_z + heart.drift * beat.breath
    return x, z
