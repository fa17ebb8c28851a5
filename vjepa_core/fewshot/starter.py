"""The starter head, which predicts the left heart in apical views before anything is outlined."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.fewshot.applicability import gather_evidence
from vjepa_core.fewshot.head import Head, HeadConfig, HeadFileError, load_head, save_head, with_new_classes
from vjepa_core.fewshot.heart_shape import N_DESCRIPTORS, ShapeModel
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.recogniser import Recogniser, load_recogniser, rule_score
from vjepa_core.resources import resource_path

log = logging.getLogger(__name__)

SHIPPED, PHANTOM_ONLY = "left-heart.safetensors", "left-heart-phantom.safetensors"
"""Files of `resources/heads`: fitted to CAMUS's training patients and to phantoms, or to phantoms only."""

LEFT_HEART = (1, 2, 3)
"""Label values of LV cavity, LV myocardium and left atrium, which the starter head predicts."""

_SHAPES_KEY = "shapes"


@dataclass(frozen=True, eq=False)
class Starter:
    """A head fitted to other patients, and the shapes that are plausible for it.

    Attributes
    ----------
    head : Head
        Must not be changed: fits start from a copy.
    shapes : ShapeModel
        Distribution of plausible shapes.
    recogniser : Recogniser, optional
        Recognises apical views; without it, `rule_score` is used.
    """

    head: Head
    shapes: ShapeModel
    recogniser: Recogniser | None = None

    def initial_head(self, classes: tuple[int, ...], *, left_heart: bool) -> Head:
        """Return the head from which a fit starts: a copy, or a head for other classes with reused weights.

        Parameters
        ----------
        classes : tuple of int
        left_heart : bool
            True if these are the structures of the left heart.
        """
        if left_heart and classes == self.head.config.classes:
            return copy.deepcopy(self.head)
        return with_new_classes(self.head, classes)

    def applies(self, cine: PreparedCine) -> bool:
        """Return True if a cine shows the left heart in an apical view."""
        return self.score(cine) > 0

    def score(self, cine: PreparedCine) -> float:
        """Return the score of a cine without its labels; the head applies if it is positive."""
        views = None if self.recogniser is None else self.recogniser.views
        evidence = gather_evidence(self.head, cine, shapes=self.shapes, views=views)
        return rule_score(evidence) if self.recogniser is None else self.recogniser.score(evidence)


def new_head(card: EncoderCard, classes: tuple[int, ...], *, seed: int = 0) -> Head:
    """Create an untrained head for the features of an encoder; it predicts the carried label.

    Parameters
    ----------
    card : EncoderCard
    classes : tuple of int
        Label values, 1..254, in the order of the head's outputs after background.
    seed : int
        Seed of the weights.
    """
    feature_dim = Architecture.parse(card.architecture).embed_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(HeadConfig(classes, card.name, card.checksum, feature_dim, len(card.depths)))


def save_starter(starter: Starter, path: Path) -> None:
    """Write head and shapes into one safetensors file."""
    shapes = starter.shapes
    stored = {"mean": shapes.mean.tolist(), "precision": shapes.precision.tolist(), "limit": shapes.limit}
    save_head(starter.head, path, {_SHAPES_KEY: json.dumps(stored)})


def load_starter(card: EncoderCard, path: Path | None = None) -> Starter | None:
    """Load the starter head for an encoder; None if none exists for its weights or the file is damaged.

    Parameters
    ----------
    card : EncoderCard
        Card of the encoder.
    path : Path, optional
        File of the head; default: the shipped one.
    """
    path = resource_path("heads", SHIPPED) if path is None else path
    try:
        with safe_open(str(path), framework="pt") as file:
            stored = json.loads((file.metadata() or {})[_SHAPES_KEY])
        head = load_head(path)
        shapes = ShapeModel(np.array(stored["mean"]), np.array(stored["precision"]), float(stored["limit"]))
    except (OSError, SafetensorError, HeadFileError, KeyError, TypeError, ValueError) as error:
        log.warning("there is no starter head: %s", error)
        return None
    config, n = head.config, (N_DESCRIPTORS,)
    fits = (config.encoder_checksum, config.n_depths) == (card.checksum, len(card.depths))
    fits = fits and config.feature_dim == Architecture.parse(card.architecture).embed_dim
    is_valid = config.classes == LEFT_HEART and shapes.mean.shape == n and shapes.precision.shape == n * 2
    return Starter(head, shapes, load_recogniser(card.checksum)) if fits and is_valid else None
