"""Correction of predictions that place a piece of the left atrium inside the left ventricle."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vjepa_core.fewshot.findings import MIN_PIXELS
from vjepa_core.fewshot.heart_shape import LA, LV, MYO

MAX_VENTRICULAR_RIM = 0.75
"""Largest fraction of the rim of a piece of the atrium next to cavity or wall of the ventricle.

A clipped atrium may exceed it, but adjoins only one piece of the cavity.
"""


def relabel_enclosed_atrium(probabilities: Tensor) -> Tensor:
    """Exchange the probabilities of atrium and cavity in pieces of the atrium between two of the cavity.

    Reverberations across the cavity look like a second annulus, beyond which a head may predict an atrium.
    The measured ventricle would then end there.

    Parameters
    ----------
    probabilities : (B, K, grid, grid) float
        Background, LV cavity, LV myocardium and left atrium, and maybe further classes.

    Returns
    -------
    Tensor
        The same tensor if nothing is enclosed, otherwise a corrected copy.
    """
    corrected = probabilities
    labels = probabilities.max(1).indices.cpu().numpy()
    for row, label in enumerate(labels):
        enclosed = _enclosed_atrium(label)
        if enclosed.any():
            if corrected is probabilities:
                corrected = probabilities.clone()
            maps, inside = corrected[row], torch.from_numpy(enclosed).to(corrected.device)
            maps[[LV, LA]] = torch.where(inside, maps[[LA, LV]], maps[[LV, LA]])
    return corrected


def _enclosed_atrium(label: np.ndarray) -> np.ndarray:
    """Return the pixels, (grid, grid) bool, of enclosed pieces of the atrium."""
    enclosed = np.zeros(label.shape, bool)
    ventricle = (label == LV) | (label == MYO)
    cavities = _pieces(label == LV)
    if len(cavities) < 2:
        return enclosed
    for piece in _pieces(label == LA):
        rim = cv2.dilate(piece.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~piece
        is_inside = (ventricle & rim).sum() > MAX_VENTRICULAR_RIM * rim.sum()
        if is_inside and sum(bool((cavity & rim).any()) for cavity in cavities) > 1:
            enclosed |= piece
    return enclosed


def _pieces(mask: np.ndarray) -> list[np.ndarray]:
    n, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    each = (pieces == piece for piece in range(1, n))
    return [piece for piece in each if piece.sum() >= MIN_PIXELS]
