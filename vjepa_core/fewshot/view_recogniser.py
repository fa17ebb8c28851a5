"""Recognition of the apical view of a cine, by a linear head on the tokens of the frozen encoder.

Whether a cine shows the left heart in an apical view at all is decided by `Recogniser` before; this head
distinguishes the four-chamber view (A4C) from the two-chamber view (A2C). The mean of the tokens over the
sector is subtracted, because it depends more on the scanner than on the view.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch.nn import functional

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.fewshot.applicability import examined_frames
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.starter import Starter
from vjepa_core.resources import resource_path

log = logging.getLogger(__name__)

SHIPPED = "view.safetensors"
"""File in `resources/heads` with the `ViewRecogniser` for the shipped encoder."""

VIEWS = ("A2C", "A4C")
"""Views that are distinguished: a negative score means the first, a positive one the second."""


CELLS = 4
"""The tokens in the box around the sector are averaged in a grid of this many rows and columns."""

_POINTS = 16  # tokens are interpolated at this many rows and columns of the box


@dataclass(frozen=True)
class RecognisedView:
    """Answer of the recognition.

    Attributes
    ----------
    view : str or None
        One of `VIEWS`; None if the cine shows neither, or if it is undecided.
    probability : float
        Probability of the more likely of the two views; 0 if the cine shows no apical view.
    """

    view: str | None
    probability: float


NEITHER = RecognisedView(None, 0.0)
"""Answer for a cine that shows no apical view of the left heart."""


@dataclass(frozen=True, eq=False)
class ViewRecogniser:
    """Logistic regression that distinguishes the apical views.

    Attributes
    ----------
    weights : array
        (CELLS * CELLS * D,) float32, weights of the features that `view_features` returns.
    bias : float
    limit : float
        Minimum probability, 0.5..1; below it the view is undecided.
    """

    weights: NDArray[np.float32]
    bias: float
    limit: float

    def recognise(self, features: NDArray[np.floating]) -> RecognisedView:
        """Return the view of an apical cine.

        Parameters
        ----------
        features : array
            Result of `view_features`.
        """
        score = float(self.weights @ features) + self.bias
        probability = float(1 / (1 + np.exp(-abs(score))))
        return RecognisedView(VIEWS[score > 0] if probability >= self.limit else None, probability)

    def save(self, path: Path, encoder_checksum: str) -> None:
        """Write the recogniser as a safetensors file."""
        metadata = {"encoder": encoder_checksum, "bias": str(self.bias), "limit": str(self.limit)}
        save_file({"weights": self.weights.astype(np.float32)}, str(path), metadata=metadata)


def view_features(cine: PreparedCine) -> NDArray[np.float32]:
    """Return the deepest tokens in cells of the box around the sector, minus their mean over the cells.

    The box makes images of different proportions comparable. Tokens are averaged over `examined_frames`.

    Returns
    -------
    (CELLS * CELLS * D,) float32
    """
    tokens = cine.tokens(examined_frames(cine.n_frames))[:, -1].float()
    tokens = functional.layer_norm(tokens, tokens.shape[-1:]).mean(0).permute(2, 0, 1)
    rows, columns = (torch.from_numpy(np.flatnonzero(cine.sector.any(axis))) for axis in (1, 0))
    centres = (torch.arange(_POINTS) + 0.5) / _POINTS
    y, x = (
        2 * (line[0] + centres * (line[-1] + 1 - line[0])) / size - 1
        for line, size in zip((rows, columns), cine.sector.shape, strict=True)
    )
    points = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None]
    inside = functional.grid_sample(tokens[None], points, padding_mode="border", align_corners=False)
    cells = functional.adaptive_avg_pool2d(inside, CELLS)[0].permute(1, 2, 0)
    return np.asarray((cells - cells.mean((0, 1))).flatten().numpy(), np.float32)


def load_view_recogniser(card: EncoderCard, path: Path | None = None) -> ViewRecogniser | None:
    """Load the view recogniser for an encoder; None if none exists for its weights or the file is damaged.

    Parameters
    ----------
    card : EncoderCard
        Card of the encoder.
    path : Path, optional
        File of the recogniser; default: the shipped one.
    """
    path = resource_path("heads", SHIPPED) if path is None else path
    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if metadata["encoder"] != card.checksum:
                return None
            weights = file.get_tensor("weights").astype(np.float32)
            bias, limit = float(metadata["bias"]), float(metadata["limit"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        log.warning("A4C and A2C cannot be distinguished: %s", error)
        return None
    is_valid = weights.shape == (CELLS * CELLS * Architecture.parse(card.architecture).embed_dim,)
    if not is_valid or not np.isfinite([*weights, bias]).all() or not 0.5 <= limit <= 1:
        log.warning("A4C and A2C cannot be distinguished: %s is damaged", path.name)
        return None
    return ViewRecogniser(weights, bias, limit)


def recognise_view(cine: PreparedCine, recogniser: ViewRecogniser, starter: Starter) -> RecognisedView:
    """Recognise the view of a cine, without using its labels.

    Parameters
    ----------
    cine : PreparedCine
        Cine with features.
    recogniser : ViewRecogniser
    starter : Starter
        Decides whether the view is apical; its head is on the inference device.
    """
    if not starter.applies(replace(cine, labels={})):
        return NEITHER
    return recogniser.recognise(view_features(cine))
