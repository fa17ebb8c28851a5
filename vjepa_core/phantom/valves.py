"""Mitral and tricuspid leaflets: curved lines attached to the annulus that open and close."""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_core.phantom.beat import Beat
from vjepa_core.phantom.geometry import Heart, Sides
from vjepa_core.phantom.motion import MaterialPosition

THICKNESS = 0.6
"""Half the thickness of a leaflet in mm."""


def leaflets(heart: Heart, beat: Beat, position: MaterialPosition) -> Tensor:
    """Compute the fraction of leaflet tissue at every point, 0..1, (B, T, H, W).

    Closed leaflets meet slightly on the ventricular side of the annulus; open leaflets point to the apex.
    """
    s_ring = heart.length * (1.0 - heart.shortening * beat.contraction)
    ring = _annulus(heart, beat)
    long, short = 0.95, 0.75  # anterior and posterior leaflet, fractions of the radius of the annulus
    meet = 0.2 * (ring.right + ring.left) * (1.0 - heart.view)
    mitral = _valve(
        beat.opening,
        position,
        Sides(-ring.left, ring.right),
        s_ring,
        meet=meet,
        lengths=(long, short),
        tent=5.0,
    )
    # Tricuspid: its septal hinge is a few millimetres closer to the apex, on the other side of the septum.
    septal = -(ring.left + 0.8 * heart.wall.left)
    free = septal - 0.9 * heart.rv_width * (1.0 - 0.2 * beat.contraction)
    middle = 0.5 * (septal + free)
    tricuspid = _valve(
        beat.opening, position, Sides(free, septal), s_ring - 4.0, meet=middle, lengths=(0.9, 0.7), tent=4.0
    )
    return torch.maximum(mitral, tricuspid * (1.0 - heart.view))


def _annulus(heart: Heart, beat: Beat) -> Sides:
    """Return the current half-widths of the annulus in mm, (B, T, 1, 1)."""
    stiff = heart.strength(heart.length) * beat.contraction
    return Sides(
        heart.width.left * (1.0 - heart.narrowing) * (1.0 - heart.squeeze.left * stiff),
        heart.width.right * (1.0 - heart.narrowing) * (1.0 - heart.squeeze.right * stiff),
    )


def _valve(
    opening: Tensor,
    position: MaterialPosition,
    hinges: Sides,
    s_ring: Tensor,
    *,
    meet: Tensor,
    lengths: tuple[float, float],
    tent: float,
) -> Tensor:
    radius = 0.5 * (hinges.right - hinges.left)
    parts = []
    for hinge, length, inward in ((hinges.left, lengths[0], 1.0), (hinges.right, lengths[1], -1.0)):
        tip_u = meet + (hinge + inward * 0.35 * radius - meet) * opening
        tip_s = s_ring - tent - (2.0 * length * radius - tent).clamp(min=0.0) * 0.55 * opening
        # A closed leaflet bulges towards the atrium, an open one towards the wall.
        bow = 1.5 * inward * (1.0 - 2.2 * opening)
        parts.append(_bent_line(position.now_u, position.now_s, (hinge, s_ring), (tip_u, tip_s), bow))
    return torch.maximum(*parts)


def _bent_line(
    u: Tensor, s: Tensor, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], bow: Tensor
) -> Tensor:
    """Draw a soft line from start to end that deviates by `bow` mm to the left in the middle."""
    du, ds = end[0] - start[0], end[1] - start[1]
    length = (du * du + ds * ds).sqrt().clamp(min=1.0)
    du, ds = du / length, ds / length
    along = (u - start[0]) * du + (s - start[1]) * ds
    share = along / length
    across = (s - start[1]) * du - (u - start[0]) * ds - bow * 4.0 * share * (1.0 - share)
    past = torch.maximum(-along, along - length).clamp(min=0.0)
    return torch.exp(-(across * across + past * past) / (2.0 * THICKNESS**2))
