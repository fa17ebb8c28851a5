"""Applicability: whether a head applies to a cine at all, decided before any prediction is shown.

A head predicts something on any image, and its softmax does not show that it was fitted to images of
another kind. Independent evidence does: the similarity of the frozen encoder's tokens, the stability of the
prediction under small rotations and scalings of the input, the agreement of the head's nets, and whether the
predicted shape is plausible and lies inside the ultrasound sector.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vjepa_core.fewshot.augment import warp_affine
from vjepa_core.fewshot.confidence import soft_dice
from vjepa_core.fewshot.head import GRID_SIZE, Head
from vjepa_core.fewshot.heart_shape import ShapeModel
from vjepa_core.fewshot.overlap import agreement
from vjepa_core.fewshot.prepared_cine import MAX_OUTSIDE, PreparedCine
from vjepa_core.fewshot.recogniser import Evidence, ViewSpace, value_or

N_EXAMINED = 5
"""Number of evenly spaced frames that are examined."""

MIN_SHARE = 0.85
"""Minimum evidence of a fitted head on another cine, as a fraction of that on a cine of its fit."""

_WARPS = ((0.2, 1.0), (-0.2, 1.0), (0.0, 1.18))
"""Rotations (radians) and scalings of the input under which the prediction should be stable."""

_MAX_SHAPE = 20.0


def predicts_as_well(evidence: Evidence, reference: Evidence) -> bool:
    """Return True if a fitted head predicts a cine as well as one that it was fitted to.

    Parameters
    ----------
    evidence, reference : Evidence
        Evidence on the cine, and on a cine of the fit without its labels. Heads for small or fast structures
        are less certain and less consistent even there.
    """
    pairs = [
        (evidence.consistency, reference.consistency),
        (evidence.certainty, reference.certainty),
        (value_or(evidence.agreement, 1.0), value_or(reference.agreement, 1.0)),
    ]
    is_inside = evidence.outside <= max(MAX_OUTSIDE, reference.outside)
    return is_inside and all(value >= MIN_SHARE * expected for value, expected in pairs)


def examined_frames(n_frames: int) -> list[int]:
    """Return the frames that are examined, evenly spaced over the cine."""
    last = n_frames - 1
    return sorted({round(last * i / (N_EXAMINED - 1)) for i in range(N_EXAMINED)})


def cine_embedding(cine: PreparedCine, frames: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Return the mean of the deepest tokens inside the sector, (D,) float32.

    Parameters
    ----------
    cine : PreparedCine
        Cine with features.
    frames : sequence of int, optional
        Default: `examined_frames`.
    """
    tokens = cine.tokens(examined_frames(cine.n_frames) if frames is None else frames)[:, -1].float()
    tokens = functional.layer_norm(tokens, tokens.shape[-1:]).mean(0)
    grid = tokens.shape[:2]
    share = cv2.resize(cine.sector.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
    weight = torch.from_numpy(share)
    return (torch.einsum("hw,hwd->d", weight, tokens) / weight.sum().clamp_min(1e-6)).numpy()


@torch.inference_mode()
def gather_evidence(
    head: Head, cine: PreparedCine, *, shapes: ShapeModel | None = None, views: ViewSpace | None = None
) -> Evidence:
    """Gather evidence that a head applies to a cine, without using its labels.

    Parameters
    ----------
    head : Head
    cine : PreparedCine
        Cine with features.
    shapes : ShapeModel, optional
        Plausible shapes, for heads that predict the left heart.
    views : ViewSpace, optional
        Distances between views; without it, the view is not evidence.

    Returns
    -------
    Evidence
    """
    frames = examined_frames(cine.n_frames)
    device = next(head.parameters()).device
    image, tokens = cine.image(frames).to(device), cine.tokens(frames).to(device)
    values = np.array([0, *head.config.classes], np.uint8)
    by_net = _probabilities(head, image, tokens)
    combined = _combine(head, by_net)
    masks = values[combined.argmax(1).numpy()]
    consistency = []
    for angle, scale in _WARPS:
        forward, backward = _affine(angle, scale), _affine(-angle, 1 / scale)
        warped = _combine(head, _probabilities(head, *_warp(image, tokens, forward)))
        returned = values[warp_affine(warped, backward.expand(len(frames), 2, 3)).argmax(1).numpy()]
        consistency.append([agreement(one, other) for one, other in zip(returned, masks, strict=True)])
    nets_agreement = float("nan")
    if len(by_net) > 1:
        first, last = (values[by_net[i].argmax(1).numpy()] for i in (0, -1))
        nets_agreement = median(agreement(one, other) for one, other in zip(first, last, strict=True))
    small = cv2.resize(cine.sector.astype(np.uint8), (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_NEAREST)
    sector = np.asarray(small, np.uint8)
    return Evidence(
        agreement=nets_agreement,
        consistency=float(np.median(np.mean(consistency, axis=0))),
        certainty=float(soft_dice(combined).nanmean(1).nan_to_num(0.0).median()),
        shape=float("nan") if shapes is None else _shape(shapes, masks),
        outside=float(np.median([share_outside(mask, sector) for mask in masks])),
        view=float("nan") if views is None else views.to_mean(cine_embedding(cine, frames)),
    )


def share_outside(mask: NDArray[np.uint8], sector: NDArray[np.uint8]) -> float:
    """Return the fraction of structure pixels (h, w) outside the sector (h, w); 0 without structures."""
    structures = mask > 0
    return float((structures & (sector == 0)).sum() / max(int(structures.sum()), 1))


def _shape(shapes: ShapeModel, masks: NDArray[np.uint8]) -> float:
    distance = median(shapes.distance(mask) for mask in masks) / shapes.limit
    return min(distance, _MAX_SHAPE)


def _probabilities(head: Head, image: Tensor, tokens: Tensor) -> list[Tensor]:
    prior = image.new_zeros(len(image), head.config.n_outputs, GRID_SIZE, GRID_SIZE)
    return [logits.softmax(1).float().cpu() for logits in head.forward_nets(image, tokens, prior)]


def _combine(head: Head, by_net: Sequence[Tensor]) -> Tensor:
    return torch.stack([share * one for share, one in zip(head.net_weights, by_net, strict=True)]).sum(0)


def _affine(angle: float, scale: float) -> Tensor:
    rotation = torch.tensor([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    return (scale * rotation).float()[None]


def _warp(image: Tensor, tokens: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Warp image and tokens with the same transform, as in a fit."""
    b, depths, h, w, dim = tokens.shape
    theta = theta.expand(b, 2, 3)
    flat = tokens.permute(0, 1, 4, 2, 3).reshape(b, depths * dim, h, w)
    moved = warp_affine(flat, theta).reshape(b, depths, dim, h, w).permute(0, 1, 3, 4, 2)
    return warp_affine(image, theta), moved
