"""Motion of the heart, backwards: which place of the end-diastolic heart lies at a point of the picture now.

Everything else follows from this one map: labels, echogenicity and scatterers are all looked up at the place
that it returns, so they move together and by the same amount.
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
class Place:
    """Where the points of a picture lie in the end-diastolic heart; tensors (B, T, H, W), mm.

    Attributes
    ----------
    u, s : Tensor
        Material coordinates across and along the long axis.
    endo, epi : Tensor
        Half-widths of cavity and outer wall at that `s`, on that side.
    is_right : Tensor
        bool, the side.
    now_u, now_s : Tensor
        The same point in the heart's coordinates as it is now: valves are drawn there.
    """

    u: Tensor
    s: Tensor
    endo: Tensor
    epi: Tensor
    is_right: Tensor
    now_u: Tensor
    now_s: Tensor


def locate(heart: Heart, beat: Beat, x: Tensor, z: Tensor) -> Place:
    """Material place of points.

    Along the axis the ventricle shortens evenly from a still apex, and the atrium is drawn out between the
    annulus and its still roof. Across, the wall is a cylinder's shell of constant volume (elementary: with
    lengths in the ratio l, R^2 - R_endo^2 = l (r^2 - r_endo^2)), so it thickens as the cavity narrows; beyond
    it the motion fades.

    Parameters
    ----------
    heart : Heart
    beat : Beat
    x, z : Tensor
        Lateral place and depth from the probe, mm; broadcast to (B, T, H, W).
    """
    u, s = _own_axes(heart, beat, x, z)
    is_right = u >= 0
    c = beat.contraction
    stretch = 1.0 - heart.shortening * c
    annulus = heart.length * stretch
    roof = heart.length + heart.atrium_length
    in_atrium = heart.length + (s - annulus) * heart.atrium_length / (roof - annulus)
    s0 = torch.where(s < annulus, s / torch.where(s < 0, 1.0, stretch), torch.where(s < roof, in_atrium, s))
    # The neighbours come along less and less: lung at once, the right heart as far as it reaches.
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
    return Place(torch.where(is_right, r0, -r0), s0, endo, epi, is_right, u, s)


def labels(heart: Heart, place: Place) -> Tensor:
    """Label image: 0 background, 1 cavity, 2 myocardium, 3 left atrium; uint8 (B, T, H, W)."""
    r, s = place.u.abs(), place.s
    ventricle = (s >= -heart.apex_wall) & (s <= heart.length)
    cavity = ventricle & (s >= 0) & (r < place.endo)
    wall = ventricle & ~cavity & (r < place.epi)
    atrium = (s > heart.length) & (r < place.endo)
    return (cavity * CAVITY + wall * MYOCARDIUM + atrium * ATRIUM).to(torch.uint8)


def _own_axes(heart: Heart, beat: Beat, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Turn scanner coordinates into the heart's: shift, rotation, bow of the axis, slope of the annulus."""
    angle = heart.tilt + heart.swing * beat.contraction
    dx = x - heart.apex_x - 0.5 * heart.drift * beat.breath
    dz = z - heart.apex_z - heart.drift * beat.breath
    cos, sin = torch.cos(angle), torch.sin(angle)
    u, s = dx * cos - dz * sin, dx * sin + dz * cos
    share = (s / heart.length).clamp(0.0, 1.5)
    u = u - heart.bend * share * share
    # A shear that grows from the apex to the annulus, bounded sideways so that it stays one to one.
    return u, s - torch.tan(heart.annulus_tilt) * u.clamp(-45.0, 45.0) * smoothstep(share)
