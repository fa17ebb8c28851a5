"""Decision whether a head applies to a cine, from evidence about its view."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vjepa_core.fewshot.prepared_cine import MAX_OUTSIDE
from vjepa_core.resources import resource_path

log = logging.getLogger(__name__)

SHIPPED = "apical-views.safetensors"
"""File in `resources/heads` with the `Recogniser` for the shipped encoder."""

REFERENCE_KEY = "known"
"""Metadata key of `ReferenceCines` in the file of a head."""

N_FEATURES = 5
"""Number of values of `evidence_features`."""


@dataclass(frozen=True, eq=False)
class ViewSpace:
    """Distances between images of one view, measured on mean tokens of the encoder's deepest layer.

    Attributes
    ----------
    mean : array
        (D,) float32, mean embedding of apical views.
    axes : array
        (k, D) float32, principal directions in which images of one view differ, divided by the standard
        deviation.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.floating], n_axes: int = 16) -> ViewSpace:
        """Fit to embeddings (N, D) of images of one view; N is well above `n_axes`."""
        rows = np.asarray(rows, np.float64)
        mean = rows.mean(0)
        _, scale, axes = np.linalg.svd(rows - mean, full_matrices=False)
        deviation = scale[:n_axes] / np.sqrt(len(rows) - 1)
        return cls(mean.astype(np.float32), (axes[:n_axes] / deviation[:, None]).astype(np.float32))

    def to_mean(self, one: NDArray[np.floating]) -> float:
        """Return the distance of an embedding (D,) from the mean; about 1 for an apical view."""
        return self._size(one - self.mean)

    def between(self, one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
        """Return the distance of two embeddings (D,); about 1 for the same view of two patients."""
        return self._size(one - other) / float(np.sqrt(2.0))

    def _size(self, difference: NDArray[np.floating]) -> float:
        return float(np.sqrt(np.mean((self.axes @ difference) ** 2)))


@dataclass(frozen=True)
class Evidence:
    """Evidence that a head applies to a cine: medians over the examined frames.

    Attributes
    ----------
    agreement : float
        Agreement of the two nets of the head, 0..1; NaN if only one is in use.
    consistency : float
        Agreement of the predictions for the frame and the rotated and scaled frame, 0..1.
    certainty : float
        Dice expected from the softmax, 0..1.
    shape : float
        Distance of the predicted shape from outlined left hearts, relative to their limit; at most 20. NaN if
        the structures are not those of the left heart.
    outside : float
        Share of the predicted structures outside the ultrasound sector.
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
    """Recognises apical views of the left heart, and cines of the same view.

    Attributes
    ----------
    views : ViewSpace
    weights : array
        (5,) float64, weights of `evidence_features` in a logistic regression.
    bias : float
        Intercept; it includes the margin, so that the limit is a score of 0.
    reach : float
        Largest `ViewSpace.between` of two cines that show the same view.
    """

    views: ViewSpace
    weights: NDArray[np.float64]
    bias: float
    reach: float

    def score(self, evidence: Evidence) -> float:
        """Return the score of the left heart in an apical view, which is positive for such a view.

        It is minus infinity if much of the prediction lies outside the sector.
        """
        if evidence.outside > MAX_OUTSIDE:
            return -float("inf")
        return float(self.weights @ evidence_features(evidence) + self.bias)

    def save(self, path: Path, encoder_checksum: str) -> None:
        """Write the recogniser as a safetensors file."""
        tensors: dict[str, NDArray[Any]] = {
            "mean": self.views.mean.astype(np.float16),
            "axes": self.views.axes.astype(np.float16),
            "weights": self.weights,
        }
        metadata = {"encoder": encoder_checksum, "bias": str(self.bias), "reach": str(self.reach)}
        save_file(tensors, str(path), metadata=metadata)


def load_recogniser(encoder_checksum: str, path: Path | None = None) -> Recogniser | None:
    """Load the recogniser for an encoder; None if none exists for its weights or the file is damaged.

    Parameters
    ----------
    encoder_checksum : str
        Checksum of the encoder's weights.
    path : Path, optional
        File of the recogniser; default: the shipped one.
    """
    path = resource_path("heads", SHIPPED) if path is None else path
    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if metadata["encoder"] != encoder_checksum:
                return None
            mean, axes = (file.get_tensor(name).astype(np.float32) for name in ("mean", "axes"))
            weights = file.get_tensor("weights").astype(np.float64)
            bias, reach = float(metadata["bias"]), float(metadata["reach"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        log.warning("apical views cannot be recognised: %s", error)
        return None
    if mean.ndim != 1 or axes.shape[1:] != mean.shape or weights.shape != (N_FEATURES,):
        log.warning("apical views cannot be recognised: %s is damaged", path.name)
        return None
    return Recogniser(ViewSpace(mean, axes), weights, bias, reach)


@dataclass(frozen=True, eq=False)
class ReferenceCines:
    """The labelled cines that a head was fitted to, for the recognition of similar ones.

    Attributes
    ----------
    embeddings : array
        (n, D) float32, one for each cine.
    apical : tuple of bool
        For each cine, True if it is an apical view of the left heart.
    """

    embeddings: NDArray[np.float32]
    apical: tuple[bool, ...]

    def nearest(
        self, views: ViewSpace, embedding: NDArray[np.floating], *, apical: bool | None = None
    ) -> float:
        """Return the distance of an embedding (D,) to the nearest cine; infinity without any.

        Parameters
        ----------
        views : ViewSpace
        embedding : array
        apical : bool, optional
            Use only cines that are apical views (True), or that are not (False).
        """
        pairs = zip(self.embeddings, self.apical, strict=True)
        used = [one for one, is_apical in pairs if apical in (None, is_apical)]
        return min((views.between(one, embedding) for one in used), default=float("inf"))

    def to_text(self) -> str:
        """Return JSON for the metadata of a head's file."""
        packed = base64.b64encode(self.embeddings.astype(np.float16).tobytes()).decode("ascii")
        return json.dumps({"apical": self.apical, "embeddings": packed})

    @classmethod
    def of_head(cls, path: Path) -> ReferenceCines | None:
        """Read the reference cines of a head's file; None if it has none or they are damaged."""
        try:
            with safe_open(str(path), framework="np") as file:
                stored = json.loads((file.metadata() or {})[REFERENCE_KEY])
            apical = tuple(map(bool, stored["apical"]))
            packed = np.frombuffer(base64.b64decode(stored["embeddings"]), np.float16)
            rows = packed.reshape(len(apical), -1).astype(np.float32)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        return cls(rows, apical)


def evidence_features(evidence: Evidence) -> NDArray[np.float64]:
    """Return evidence as inputs of a logistic regression, (5,); larger values are better.

    Unknown values are set to the limit of the plausible range, so that they do not influence the decision.
    """
    agreement, consistency, certainty, shape, _outside, view = astuple(evidence)
    return np.array(
        [
            -np.log(1.02 - value_or(agreement, 0.85)),
            -np.log(1.02 - consistency),
            -np.log(1.02 - certainty),
            -np.log(0.3 + value_or(shape, 1.5)),
            -value_or(view, 1.6),
        ]
    )


def resembles(
    recogniser: Recogniser,
    reference: ReferenceCines,
    embedding: NDArray[np.floating],
    *,
    apical: bool | None,
) -> bool:
    """Return True if a cine shows the same view as the cines to which a head was fitted.

    For the left heart, apical views have been recognised from more evidence than the embedding. Other views
    are recognised by the embedding only.

    Parameters
    ----------
    recogniser : Recogniser
    reference : ReferenceCines
    embedding : array
        (D,) embedding of the cine.
    apical : bool or None
        True if the cine is an apical view of the left heart; None for heads of other structures.
    """
    if apical:
        return any(reference.apical)
    nearest = reference.nearest(recogniser.views, embedding, apical=None if apical is None else False)
    return nearest <= recogniser.reach


def rule_score(evidence: Evidence) -> float:
    """Return the score of the left heart in an apical view without a `Recogniser`; positive for such a view.

    The score is the minimum over the evidence, with limits that all CAMUS training images meet.
    """
    return min(
        value_or(evidence.agreement, 0.85) - 0.84,
        evidence.consistency - 0.90,
        evidence.certainty - 0.84,
        0.2 * (1.45 - value_or(evidence.shape, 1.0)),
        0.15 - evidence.outside,
    )


def value_or(value: float, default: float) -> float:
    """Return a value, or the default if it is NaN."""
    return default if np.isnan(value) else value
