"""How strongly every place of the heart and around it scatters, in decibels under the brightest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vjepa_core.phantom.beat import Beat
from vjepa_core.phantom.draw import Draw, bump, smoothstep
from vjepa_core.phantom.geometry import Heart, Sides
from vjepa_core.phantom.motion import Place
from vjepa_core.phantom.valves import leaflets

EDGE_MM = 0.9
"""Softness of an interface, so that it moves by less than a sample smoothly."""
OUTSIDE = -9.0
"""Half-width that stands for 'no cavity here', mm."""


@dataclass(frozen=True)
class Look:
    """Scattering levels (dB) and their unevenness; every tensor (B, 1, 1, 1)."""

    blood: Tensor
    atrial_haze: Tensor
    septum: Tensor
    wall: Tensor
    outside: Sides
    pericardium: Tensor
    atrial_wall: Tensor
    annulus: Tensor
    valve: Tensor
    papillary: Sides
    papillary_at: Tensor
    trabeculae: Tensor
    unevenness: Tensor
    patchiness: Tensor
    dropout: Sides
    dropout_at: Sides
    dropout_width: Tensor
    fibres: Tensor
    basal_glow: Tensor
    apical_dark: Tensor
    streakiness: Tensor


class Unevenness(NamedTuple):
    """Smooth noise of deviation 1: two sorts stick to the tissue (B, T, H, W), one to beams (B, 1, H, W)."""

    fine: Tensor
    broad: Tensor
    streaks: Tensor


def draw_look(draw: Draw) -> Look:
    """Random levels around those of a clear picture; the ranges are our own, set by eye beside real cines."""
    u = draw.uniform
    muscle = u(-28.0, -20.0)
    return Look(
        blood=u(-58.0, -38.0),
        atrial_haze=draw.chance(0.6) * u(0.0, 16.0),
        septum=muscle + u(-1.0, 8.0),
        wall=muscle,
        # Lung and poor contact leave one side, or both, nearly black.
        outside=Sides(
            u(-38.0, -23.0) - draw.chance(0.35) * u(6.0, 22.0),
            u(-40.0, -24.0) - draw.chance(0.45) * u(6.0, 24.0),
        ),
        pericardium=u(-20.0, -6.0),
        atrial_wall=u(-40.0, -18.0),
        annulus=u(3.0, 11.0),
        valve=u(-26.0, -12.0),
        papillary=Sides(draw.chance(0.5) * u(0.2, 1.0), draw.chance(0.6) * u(0.2, 1.0)),
        papillary_at=u(0.5, 0.72),
        trabeculae=u(0.2, 1.8),
        unevenness=u(2.5, 6.0),
        patchiness=u(0.8, 3.2),
        dropout=Sides(draw.chance(0.3) * u(4.0, 16.0), draw.chance(0.5) * u(4.0, 20.0)),
        dropout_at=Sides(u(0.1, 0.9), u(0.05, 0.8)),
        dropout_width=u(0.12, 0.35),
        fibres=u(0.0, 12.0),
        basal_glow=u(2.0, 18.0),
        apical_dark=u(0.0, 9.0),
        streakiness=u(0.5, 4.0),
    )


def echogenicity(
    heart: Heart, beat: Beat, look: Look, place: Place, noise: Unevenness
) -> tuple[Tensor, Tensor]:
    """Scattering level and share of blood at every point.

    Parameters
    ----------
    heart, beat, look : Heart, Beat, Look
    place : Place
        On a grid whose rows run along the beams.
    noise : Unevenness

    Returns
    -------
    level : Tensor
        dB, (B, T, H, W).
    blood : Tensor
        0..1.
    """
    fine, broad, streaks = noise
    r, s, right = place.u.abs(), place.s, place.is_right
    share = (s / heart.length).clamp(0.0, 1.0)
    rightness = torch.sigmoid(place.u / 4.0)  # brightness changes gently across the apex
    ventricle = torch.sigmoid((heart.length - s) / EDGE_MM)

    # Around the heart: uneven tissue, brightest where the pericardium faces the lung or the diaphragm.
    beyond = r - place.epi
    level = (
        _mix(look.outside.left, look.outside.right, rightness)
        + look.unevenness * broad
        + look.streakiness * streaks
    )
    level = level - look.apical_dark * (1.0 - smoothstep(share * 2.2))
    basal = smoothstep(share * 2.0 - 0.9) * torch.exp(-(s - heart.length).clamp(min=0.0) / 30.0)
    level = level + look.basal_glow * basal * torch.exp(-beyond.clamp(min=0.0) / 22.0)
    lined = heart.view + (1.0 - heart.view) * rightness
    glow = bump((beyond - 2.0) / 2.6) * lined * (0.3 + 0.7 * smoothstep(share * 1.6))
    # Under the atrium the same line closes the heart from behind.
    behind = bump((s - heart.length - heart.atrium_length - 3.0 - 2.0 * broad) / 4.5)
    behind = behind * torch.sigmoid((38.0 - r) / 6.0)
    line = look.pericardium + 0.7 * look.unevenness * broad + look.streakiness * streaks
    level = _mix(level, line, torch.maximum(glow, behind))

    muscle = _mix(torch.where(heart.view > 0, look.wall, look.septum), look.wall, rightness)
    muscle = muscle + 0.7 * look.unevenness * broad + look.patchiness * fine
    gap = bump((share - look.dropout_at.at(right)) / look.dropout_width)
    muscle = muscle - _mix(look.dropout.left, look.dropout.right, rightness) * gap
    # Weak where the wall runs along the beam: its reflections do not come back.
    facing = torch.diff(beyond, dim=-2, append=beyond[..., -1:, :]).abs()
    facing = (facing / facing.amax(dim=(-2, -1), keepdim=True).clamp(min=1e-3)).clamp(0.0, 1.0)
    muscle = muscle + look.annulus * bump((s - heart.length) / 6.0)
    muscle = _mix(look.atrial_wall + look.patchiness * fine + look.unevenness * broad, muscle, ventricle)
    muscle = muscle - look.fibres * (1.0 - facing) ** 6
    inside = torch.sigmoid((torch.where(place.epi > 0.01, place.epi, OUTSIDE) - r) / EDGE_MM)
    level = _mix(level, muscle, inside)

    right_blood, right_wall = _right_heart(heart, beat, place, fine)
    level = _mix(level, look.wall + 4.0 + look.patchiness * fine + look.streakiness * streaks, right_wall)

    # Trabeculae make the inner border ragged to the eye; the label stays smooth, as readers draw it.
    endo = torch.where(place.endo > 0.01, place.endo, OUTSIDE)
    endo = endo - look.trabeculae * fine.clamp(min=-0.5) * ventricle
    cavity = torch.sigmoid((endo - r) / EDGE_MM)
    shape = bump((r / place.endo.clamp(min=1.0) - 0.68) / 0.17) * bump((share - look.papillary_at) / 0.13)
    muscle_in_blood = look.papillary.at(right) * shape * (0.6 + 0.4 * fine).clamp(0.0, 1.0) * ventricle
    blood = torch.maximum(cavity, right_blood * (1.0 - inside)) * (1.0 - muscle_in_blood)
    haze = look.atrial_haze * (1.0 + 0.5 * broad) * (1.0 - ventricle)
    level = _mix(level, look.blood + haze, blood)
    leaf = leaflets(heart, beat, place)
    return _mix(level, look.valve + 1.5 * look.patchiness * fine, leaf), blood * (1.0 - leaf)


def _right_heart(heart: Heart, beat: Beat, place: Place, fine: Tensor) -> tuple[Tensor, Tensor]:
    """Right ventricle and atrium of A4C, left of the septum: shares of blood and of their outer wall."""
    s = place.s
    span = heart.length * (1.0 - heart.rv_top)
    down = ((s - heart.rv_top * heart.length) / span).clamp(0.0, 1.0)
    below = ((s - heart.length) / (0.95 * heart.atrium_length)).clamp(0.0, 1.0)
    atrium = heart.rv_width * (1.0 - below**heart.atrium_power).clamp(min=0.0) ** 0.5
    wide = torch.where(s < heart.length, heart.rv_width * down**0.75, atrium)
    wide = torch.where(wide > 0.3, wide, OUTSIDE) - 1.5 * fine.clamp(min=-0.5)
    # The free wall comes in towards the septum.
    away = (-place.u - place.epi) * (1.0 + 0.35 * beat.contraction)
    here = (1.0 - heart.view) * torch.sigmoid((away - 0.5) / EDGE_MM)
    blood = here * torch.sigmoid((wide - away) / EDGE_MM)
    return blood, here * torch.sigmoid((wide + heart.rv_wall - away) / EDGE_MM) - blood


def _mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    return a + (b - a) * share
