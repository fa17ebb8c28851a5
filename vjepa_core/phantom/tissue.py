"""Scattering level of the heart and its surroundings in decibels relative to the brightest reflector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vjepa_core.phantom.beat import Beat
from vjepa_core.phantom.draw import RandomValues, bump, smoothstep
from vjepa_core.phantom.geometry import Heart, Sides
from vjepa_core.phantom.motion import MaterialPosition
from vjepa_core.phantom.valves import leaflets

EDGE_MM = 0.9
"""Width of a soft interface in mm, so that motion of less than a sample is smooth."""
OUTSIDE = -9.0
"""Half-width in mm that is used where there is no cavity."""


@dataclass(frozen=True)
class TissueLevels:
    """Scattering levels (dB) and their variation; every tensor has the shape (B, 1, 1, 1)."""

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


class LevelNoise(NamedTuple):
    """Smooth noise with deviation 1, fixed to the tissue (B, T, H, W) or to the beams (B, 1, H, W)."""

    fine: Tensor
    broad: Tensor
    streaks: Tensor


def draw_tissue_levels(draw: RandomValues) -> TissueLevels:
    """Draw random levels; the ranges were chosen by visual comparison with real cines."""
    u = draw.uniform
    muscle = u(-28.0, -20.0)
    return TissueLevels(
        blood=u(-58.0, -38.0),
        atrial_haze=draw.chance(0.6) * u(0.0, 16.0),
        septum=muscle + u(-1.0, 8.0),
        wall=muscle,
        # Lung or poor contact make one or both sides nearly black.
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
    heart: Heart, beat: Beat, levels: TissueLevels, position: MaterialPosition, noise: LevelNoise
) -> tuple[Tensor, Tensor]:
    """Compute scattering level and fraction of blood at every point.

    Parameters
    ----------
    heart : Heart
        Anatomy.
    beat : Beat
        Contraction and valve opening.
    levels : TissueLevels
        Scattering levels.
    position : MaterialPosition
        Material positions on a grid whose rows are along the beams.
    noise : LevelNoise
        Variation of the levels.

    Returns
    -------
    level : Tensor
        Scattering level in dB, (B, T, H, W).
    blood : Tensor
        Fraction of blood, 0..1, (B, T, H, W).
    """
    fine, broad, streaks = noise
    r, s, right = position.u.abs(), position.s, position.is_right
    share = (s / heart.length).clamp(0.0, 1.0)
    rightness = torch.sigmoid(position.u / 4.0)  # brightness changes gently across the apex
    ventricle = torch.sigmoid((heart.length - s) / EDGE_MM)

    # Around the heart: non-uniform tissue, brightest at the pericardium next to lung and diaphragm.
    beyond = r - position.epi
    level = (
        _mix(levels.outside.left, levels.outside.right, rightness)
        + levels.unevenness * broad
        + levels.streakiness * streaks
    )
    level = level - levels.apical_dark * (1.0 - smoothstep(share * 2.2))
    basal = smoothstep(share * 2.0 - 0.9) * torch.exp(-(s - heart.length).clamp(min=0.0) / 30.0)
    level = level + levels.basal_glow * basal * torch.exp(-beyond.clamp(min=0.0) / 22.0)
    lined = heart.view + (1.0 - heart.view) * rightness
    glow = bump((beyond - 2.0) / 2.6) * lined * (0.3 + 0.7 * smoothstep(share * 1.6))
    # The same bright line is behind the atrium.
    behind = bump((s - heart.length - heart.atrium_length - 3.0 - 2.0 * broad) / 4.5)
    behind = behind * torch.sigmoid((38.0 - r) / 6.0)
    line = levels.pericardium + 0.7 * levels.unevenness * broad + levels.streakiness * streaks
    level = _mix(level, line, torch.maximum(glow, behind))

    muscle = _mix(torch.where(heart.view > 0, levels.wall, levels.septum), levels.wall, rightness)
    muscle = muscle + 0.7 * levels.unevenness * broad + levels.patchiness * fine
    gap = bump((share - levels.dropout_at.at(right)) / levels.dropout_width)
    muscle = muscle - _mix(levels.dropout.left, levels.dropout.right, rightness) * gap
    # Walls parallel to the beam are weak, because they reflect little back to the probe.
    facing = torch.diff(beyond, dim=-2, append=beyond[..., -1:, :]).abs()
    facing = (facing / facing.amax(dim=(-2, -1), keepdim=True).clamp(min=1e-3)).clamp(0.0, 1.0)
    muscle = muscle + levels.annulus * bump((s - heart.length) / 6.0)
    muscle = _mix(
        levels.atrial_wall + levels.patchiness * fine + levels.unevenness * broad, muscle, ventricle
    )
    muscle = muscle - levels.fibres * (1.0 - facing) ** 6
    inside = torch.sigmoid((torch.where(position.epi > 0.01, position.epi, OUTSIDE) - r) / EDGE_MM)
    level = _mix(level, muscle, inside)

    right_blood, right_wall = _right_heart(heart, beat, position, fine)
    level = _mix(
        level, levels.wall + 4.0 + levels.patchiness * fine + levels.streakiness * streaks, right_wall
    )

    # Trabeculae make the visible inner border irregular; the label stays smooth, as in manual outlines.
    endo = torch.where(position.endo > 0.01, position.endo, OUTSIDE)
    endo = endo - levels.trabeculae * fine.clamp(min=-0.5) * ventricle
    cavity = torch.sigmoid((endo - r) / EDGE_MM)
    shape = bump((r / position.endo.clamp(min=1.0) - 0.68) / 0.17) * bump(
        (share - levels.papillary_at) / 0.13
    )
    muscle_in_blood = levels.papillary.at(right) * shape * (0.6 + 0.4 * fine).clamp(0.0, 1.0) * ventricle
    blood = torch.maximum(cavity, right_blood * (1.0 - inside)) * (1.0 - muscle_in_blood)
    haze = levels.atrial_haze * (1.0 + 0.5 * broad) * (1.0 - ventricle)
    level = _mix(level, levels.blood + haze, blood)
    leaf = leaflets(heart, beat, position)
    return _mix(level, levels.valve + 1.5 * levels.patchiness * fine, leaf), blood * (1.0 - leaf)


def _right_heart(heart: Heart, beat: Beat, position: MaterialPosition, fine: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fractions of blood and outer wall of the right ventricle and atrium in A4C."""
    s = position.s
    span = heart.length * (1.0 - heart.rv_top)
    down = ((s - heart.rv_top * heart.length) / span).clamp(0.0, 1.0)
    below = ((s - heart.length) / (0.95 * heart.atrium_length)).clamp(0.0, 1.0)
    atrium = heart.rv_width * (1.0 - below**heart.atrium_power).clamp(min=0.0) ** 0.5
    wide = torch.where(s < heart.length, heart.rv_width * down**0.75, atrium)
    wide = torch.where(wide > 0.3, wide, OUTSIDE) - 1.5 * fine.clamp(min=-0.5)
    # The free wall moves towards the septum.
    away = (-position.u - position.epi) * (1.0 + 0.35 * beat.contraction)
    here = (1.0 - heart.view) * torch.sigmoid((away - 0.5) / EDGE_MM)
    blood = here * torch.sigmoid((wide - away) / EDGE_MM)
    return blood, here * torch.sigmoid((wide + heart.rv_wall - away) / EDGE_MM) - blood


def _mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    return a + (b - a) * share
