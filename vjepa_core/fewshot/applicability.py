"""Whether a head knows a picture at all, decided before anything it draws is shown.

A head draws something on any picture. What it draws on a picture of a kind that it has not learnt from is
worthless, and its softmax does not say so. Independent evidence does: whether the frozen encoder's tokens are
like those of the pictures that the head learnt from, whether the answer survives small rotations and scalings
of the input, whether the head's nets agree, and whether what is drawn has a plausible shape and lies inside
the ultrasound sector.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from torch.nn import functional

from vjepa_core.fewshot.augment import warp_affine
from vjepa_core.fewshot.confidence import soft_dice
from vjepa_core.fewshot.head import GRID_SIZE, Head
from vjepa_core.fewshot.heart_shape import ShapeModel
from vjepa_core.fewshot.overlap import agreement
from vjepa_core.fewshot.prepared_cine import MOST_OUTSIDE, PreparedCine
from vjepa_core.resources import resource_path

log = logging.getLogger(__name__)

SHIPPED = "apical-views.safetensors"
"""File of `resources/heads`: a `Recogniser` over the bundled encoder."""

KNOWN = "known"
"""Key of a head file's metadata under which a `Known` is kept."""

N_SIGNS = 5
"""Numbers that `signs` gives."""

LOOKED_AT = 5
"""Frames of a cine that are examined, evenly spaced."""

AS_GOOD = 0.85
"""Least evidence of a fitted head on a cine without labels, as a share of that on one it learnt from."""

_WARPS = ((0.2, 1.0), (-0.2, 1.0), (0.0, 1.18))
"""Rotation in radians and scaling of the input under which an answer should stay the same."""

_WORST_SHAPE = 20.0


@dataclass(frozen=True, eq=False)
class ViewSpace:
    """How far apart pictures of one view lie, measured over mean tokens of the encoder's deepest layer.

    Attributes
    ----------
    mean : array
        (D,) of apical views.
    axes : array
        (k, D): directions in which pictures of one view differ, divided by the standard deviation there.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.floating], n_axes: int = 16) -> ViewSpace:
        """Learn from embeddings (N, D) of pictures of one view, N well above `n_axes`."""
        rows = np.asarray(rows, np.float64)
        mean = rows.mean(0)
        _, scale, axes = np.linalg.svd(rows - mean, full_matrices=False)
        deviation = scale[:n_axes] / np.sqrt(len(rows) - 1)
        return cls(mean.astype(np.float32), (axes[:n_axes] / deviation[:, None]).astype(np.float32))

    def to_mean(self, one: NDArray[np.floating]) -> float:
        """Distance of an embedding (D,) to the mean of apical views; about 1 for an apical view."""
        return self._size(one - self.mean)

    def between(self, one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
        """Distance of two embeddings (D,); about 1 for the same view of two patients."""
        return self._size(one - other) / float(np.sqrt(2.0))

    def _size(self, apart: NDArray[np.floating]) -> float:
        return float(np.sqrt(np.mean((self.axes @ apart) ** 2)))


@dataclass(frozen=True)
class Evidence:
    """What speaks for a head knowing a cine; medians over the frames that were examined.

    Attributes
    ----------
    agreement : float
        Of its two nets, 0..1; NaN where only one has a say.
    consistency : float
        Of its answers to the frame and to the frame rotated and scaled, 0..1.
    certainty : float
        Dice that its softmax means, 0..1.
    shape : float
        Distance of the drawn shape from outlined left hearts, over the limit of these; at most 20. NaN where
        the structures are not those of the left heart.
    outside : float
        Share of what is drawn that lies outside the ultrasound sector.
    view : float
        `ViewSpace.to_mean` of the cine; NaN without a `ViewSpace`.
    """

    agreement: float
    consistency: float
    certainty: float
    shape: float
    outside: float
    view: float


@dataclass(frozen=True, eq=False)
class Recogniser:
    """Tells apical views of the left heart from everything else, and whether two cines are of one kind.

    Attributes
    ----------
    views : ViewSpace
    weights : array
        (5,) of the evidence as `signs` has it, and `bias`: a logistic regression.
    bias : float
        Includes the margin: a score of 0 is the limit.
    reach : float
        `ViewSpace.between` up to which two cines are taken for the same view.
    """

    views: ViewSpace
    weights: NDArray[np.float64]
    bias: float
    reach: float

    def score(self, evidence: Evidence) -> float:
        """Of the left heart in an apical view; above 0 it is one. Never where much lies outside the fan."""
        if evidence.outside > MOST_OUTSIDE:
            return -float("inf")
        return float(self.weights @ signs(evidence) + self.bias)

    def save(self, path: Path, encoder_checksum: str) -> None:
        """Write a few kilobytes of safetensors."""
        tensors: dict[str, NDArray[Any]] = {
            "mean": self.views.mean.astype(np.float16),
            "axes": self.views.axes.astype(np.float16),
            "weights": self.weights,
        }
        told = {"encoder": encoder_checksum, "bias": str(self.bias), "reach": str(self.reach)}
        save_file(tensors, str(path), metadata=told)


def load_recogniser(encoder_checksum: str, path: Path | None = None) -> Recogniser | None:
    """The recogniser over an encoder; None where there is none for these weights, or its file is damaged.

    Parameters
    ----------
    encoder_checksum : str
    path : Path, optional
        Default the one that ships.
    """
    path = resource_path("heads", SHIPPED) if path is None else path
    try:
        with safe_open(str(path), framework="np") as file:
            told = file.metadata() or {}
            if told["encoder"] != encoder_checksum:
                return None
            mean, axes = (file.get_tensor(name).astype(np.float32) for name in ("mean", "axes"))
            weights = file.get_tensor("weights").astype(np.float64)
            bias, reach = float(told["bias"]), float(told["reach"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        log.warning("apical views cannot be recognised: %s", error)
        return None
    if mean.ndim != 1 or axes.shape[1:] != mean.shape or weights.shape != (N_SIGNS,):
        log.warning("apical views cannot be recognised: %s is damaged", path.name)
        return None
    return Recogniser(ViewSpace(mean, axes), weights, bias, reach)


@dataclass(frozen=True, eq=False)
class Known:
    """The annotated cines that a head learnt from, as far as is needed to recognise others like them.

    Attributes
    ----------
    embeddings : array
        (n, D) float32, one for each cine.
    apical : tuple of bool
        Whether each is an apical view of the left heart.
    """

    embeddings: NDArray[np.float32]
    apical: tuple[bool, ...]

    def nearest(self, views: ViewSpace, seen: NDArray[np.floating], *, apical: bool | None = None) -> float:
        """Distance of an embedding (D,) to the nearest cine; infinite without any.

        Parameters
        ----------
        views : ViewSpace
        seen : array
        apical : bool, optional
            Only to cines that are apical views, or that are not.
        """
        kinds = zip(self.embeddings, self.apical, strict=True)
        chosen = [one for one, is_apical in kinds if apical in (None, is_apical)]
        return min((views.between(one, seen) for one in chosen), default=float("inf"))

    def to_text(self) -> str:
        """For the metadata of a head's file."""
        packed = base64.b64encode(self.embeddings.astype(np.float16).tobytes()).decode("ascii")
        return json.dumps({"apical": self.apical, "embeddings": packed})

    @classmethod
    def of_head(cls, path: Path) -> Known | None:
        """What is written in a head's file; None where nothing is, or nothing that can be read."""
        try:
            with safe_open(str(path), framework="np") as file:
                told = json.loads((file.metadata() or {})[KNOWN])
            apical = tuple(map(bool, told["apical"]))
            packed = np.frombuffer(base64.b64decode(told["embeddings"]), np.float16)
            rows = packed.reshape(len(apical), -1).astype(np.float32)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        return cls(rows, apical)


def signs(evidence: Evidence) -> NDArray[np.float64]:
    """Evidence on scales on which a logistic regression can weigh it, (5,); more is better.

    What is unknown is put at the limit of what is plausible, so that it decides nothing.
    """
    agreement, consistency, certainty, shape, _outside, view = astuple(evidence)
    return np.array(
        [
            -np.log(1.02 - _or(agreement, 0.85)),
            -np.log(1.02 - consistency),
            -np.log(1.02 - certainty),
            -np.log(0.3 + _or(shape, 1.5)),
            -_or(view, 1.6),
        ]
    )


def resembles(
    recogniser: Recogniser, known: Known, seen: NDArray[np.floating], *, apical: bool | None
) -> bool:
    """Whether a cine is of the kind of those that a head learnt from, whatever the head answers on it.

    Apical views of the left heart are recognised by more than their tokens; any other view by these alone.

    Parameters
    ----------
    recogniser : Recogniser
    known : Known
    seen : array
        (D,) `embedding` of the cine.
    apical : bool or None
        Whether it is an apical view of the left heart; None where the structures are other ones.
    """
    if apical:
        return any(known.apical)
    nearest = known.nearest(recogniser.views, seen, apical=None if apical is None else False)
    return nearest <= recogniser.reach


def plain_score(evidence: Evidence) -> float:
    """Score of the left heart in an apical view where no `Recogniser` is at hand; above 0 it is one.

    The worst of all evidence decides, by limits that CAMUS's training stills keep.
    """
    return min(
        _or(evidence.agreement, 0.85) - 0.84,
        evidence.consistency - 0.90,
        evidence.certainty - 0.84,
        0.2 * (1.45 - _or(evidence.shape, 1.0)),
        0.15 - evidence.outside,
    )


def knows(evidence: Evidence, own: Evidence) -> bool:
    """Whether a fitted head answers on a cine as it does on one that it learnt from.

    Parameters
    ----------
    evidence, own : Evidence
        On the cine, and on an annotated one without its labels. Heads of small or moving structures are less
        certain and consistent even there.
    """
    pairs = [
        (evidence.consistency, own.consistency),
        (evidence.certainty, own.certainty),
        (_or(evidence.agreement, 1.0), _or(own.agreement, 1.0)),
    ]
    inside = evidence.outside <= max(MOST_OUTSIDE, own.outside)
    return inside and all(here >= AS_GOOD * there for here, there in pairs)


def _or(value: float, other: float) -> float:
    return other if np.isnan(value) else value


def examined_frames(n_frames: int) -> list[int]:
    """Frames that are looked at, over the whole cine."""
    last = n_frames - 1
    return sorted({round(last * share / (LOOKED_AT - 1)) for share in range(LOOKED_AT)})


def embedding(cine: PreparedCine, frames: Sequence[int] | None = None) -> NDArray[np.float32]:
    """What a cine looks like to the encoder: the mean of its deepest tokens inside the sector, (D,).

    Parameters
    ----------
    cine : PreparedCine
        With its features.
    frames : sequence of int, optional
        Default those that are examined.
    """
    tokens = cine.tokens(examined_frames(cine.n_frames) if frames is None else frames)[:, -1].float()
    tokens = functional.layer_norm(tokens, tokens.shape[-1:]).mean(0)
    grid = tokens.shape[:2]
    share = cv2.resize(cine.sector.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
    weight = torch.from_numpy(share)
    return (torch.einsum("hw,hwd->d", weight, tokens) / weight.sum().clamp_min(1e-6)).numpy()


@torch.inference_mode()
def gather(
    head: Head, cine: PreparedCine, *, shapes: ShapeModel | None = None, views: ViewSpace | None = None
) -> Evidence:
    """Examine a cine. Its labels, if any, have no part in it.

    Parameters
    ----------
    head : Head
    cine : PreparedCine
        With its features.
    shapes : ShapeModel, optional
        Give it where the head draws the left heart.
    views : ViewSpace, optional
    """
    frames = examined_frames(cine.n_frames)
    device = next(head.parameters()).device
    image, tokens = cine.image(frames).to(device), cine.tokens(frames).to(device)
    values = np.array([0, *head.config.classes], np.uint8)
    each = _answers(head, image, tokens)
    together = _mean(head, each)
    drawn = values[together.argmax(1).numpy()]
    kept = []
    for angle, scale in _WARPS:
        there, back = _affine(angle, scale), _affine(-angle, 1 / scale)
        warped = _mean(head, _answers(head, *_warp(image, tokens, there)))
        returned = values[warp_affine(warped, back.expand(len(frames), 2, 3)).argmax(1).numpy()]
        kept.append([agreement(one, other) for one, other in zip(returned, drawn, strict=True)])
    agreed = float("nan")
    if len(each) > 1:
        first, last = (values[each[i].argmax(1).numpy()] for i in (0, -1))
        agreed = median(agreement(one, other) for one, other in zip(first, last, strict=True))
    small = cv2.resize(cine.sector.astype(np.uint8), (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_NEAREST)
    sector = np.asarray(small, np.uint8)
    return Evidence(
        agreement=agreed,
        consistency=float(np.median(np.mean(kept, axis=0))),
        certainty=float(soft_dice(together).nanmean(1).nan_to_num(0.0).median()),
        shape=float("nan") if shapes is None else _shape(shapes, drawn),
        outside=float(np.median([share_outside(mask, sector) for mask in drawn])),
        view=float("nan") if views is None else views.to_mean(embedding(cine, frames)),
    )


def share_outside(mask: NDArray[np.uint8], sector: NDArray[np.uint8]) -> float:
    """Share of what is drawn on a label image (h, w) that lies outside the sector (h, w); 0 of nothing."""
    drawn = mask > 0
    return float((drawn & (sector == 0)).sum() / max(int(drawn.sum()), 1))


def _shape(shapes: ShapeModel, drawn: NDArray[np.uint8]) -> float:
    far = median(shapes.distance(mask) for mask in drawn) / shapes.limit
    return min(far, _WORST_SHAPE)


def _answers(head: Head, image: Tensor, tokens: Tensor) -> list[Tensor]:
    prior = image.new_zeros(len(image), head.config.n_outputs, GRID_SIZE, GRID_SIZE)
    return [logits.softmax(1).float().cpu() for logits in head.forward_nets(image, tokens, prior)]


def _mean(head: Head, each: Sequence[Tensor]) -> Tensor:
    return torch.stack([share * one for share, one in zip(head.net_weights, each, strict=True)]).sum(0)


def _affine(angle: float, scale: float) -> Tensor:
    turn = torch.tensor([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    return (scale * turn).float()[None]


def _warp(image: Tensor, tokens: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Image and tokens moved alike, as a fit does."""
    b, depths, h, w, dim = tokens.shape
    theta = theta.expand(b, 2, 3)
    flat = tokens.permute(0, 1, 4, 2, 3).reshape(b, depths * dim, h, w)
    moved = warp_affine(flat, theta).reshape(b, depths, dim, h, w).permute(0, 1, 3, 4, 2)
    return warp_affine(image, theta), moved
