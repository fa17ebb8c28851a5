"""True endocardial contours of phantoms, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from vjepa_core.phantom.beat import Beat
from vjepa_core.phantom.geometry import Heart
from vjepa_core.phantom.motion import scanner_coordinates

N_POINTS = 129
"""Points of a contour, an odd number: the middle one is the apex of the undeformed heart."""


def endocardium(heart: Heart, beat: Beat) -> Tensor:
    """Compute the endocardial line from the left hinge point over the apex to the right one.

    In coordinates of the heart, the half-width at the material position ``s`` is ``endo(s)`` at
    end-diastole. With the contraction ``c``, the point lies at ``s (1 - shortening c)`` along and
    ``endo(s) (1 - squeeze strength(s) c)`` across the axis: the forward motion of
    `vjepa_core.phantom.motion.locate`. Bend, slope, rotation and shift follow.

    Parameters
    ----------
    heart : Heart
        Anatomy of B hearts.
    beat : Beat
        Contraction and respiration at T times.

    Returns
    -------
    Tensor
        Positions (x, z) in mm in coordinates of the scanner, shape (B, T, N_POINTS, 2).
    """
    half = N_POINTS // 2
    # Denser near the apex, where the half-width grows like a root.
    share = torch.linspace(-1.0, 1.0, N_POINTS, device=heart.length.device)
    is_right = (share >= 0).expand(1, 1, 1, -1)
    s = (share * share) * heart.length
    c = beat.contraction
    narrowed = 1.0 - heart.squeeze.at(is_right) * heart.strength(s) * c
    u = torch.where(is_right, 1.0, -1.0) * heart.endocardium(s, is_right) * narrowed
    u[..., half] = 0.0  # the profile begins with a small step at the apex
    x, z = scanner_coordinates(heart, beat, u, s * (1.0 - heart.shortening * c))
    return torch.stack([x[:, :, 0], z[:, :, 0]], -1)


def in_image(points: Tensor, x: Tensor, z: Tensor, mm_per_px: Tensor) -> Tensor:
    """Move points (B, T, n, 2) from (x, z) of the scanner to (y, x) in mm from the image's upper left corner.

    Parameters
    ----------
    points : Tensor
        Result of `endocardium`.
    x, z, mm_per_px : Tensor
        Result of `vjepa_core.phantom.cines.pixel_grid`.
    """
    first = torch.stack([x[:, 0, 0, 0], z[:, 0, 0, 0]], -1)  # centre of the first pixel
    corner = first - 0.5 * mm_per_px.flip(-1)
    return (points - corner[:, None, None]).flip(-1)
