"""Scores of a frozen encoder in the ablation, from two small heads on nested sets of patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vjepa_core.bench.camus import BenchError, Stills, dice
from vjepa_core.bench.frozen_features import ConvHead, LinearHead, features, fit_on_tokens, predict_on_tokens
from vjepa_core.encoder.vit import VisionTransformer3D

Progress = Callable[[str, int, int], None]
HEADS: Mapping[str, Callable[[int], LinearHead | ConvHead]] = {"linear": LinearHead, "conv": ConvHead}


@dataclass(frozen=True)
class Protocol:
    """Evaluation protocol of an encoder.

    Attributes
    ----------
    frames, size : int
        Number of frames and side in pixels of the clip made of a still image, as in training.
    patients : tuple of int
        Numbers of labelled training patients; smaller sets are subsets of larger ones.
    primary_patients : int
        Number of patients of the primary comparison.
    heads : tuple of str
        "linear": a 1x1 convolution on the last tokens. "conv": with a 3x3 convolution before it.
    head_steps : int
        Number of steps of each fit.
    """

    frames: int
    size: int
    patients: tuple[int, ...] = (8, 40, 400)
    primary_patients: int = 40
    heads: tuple[Literal["linear", "conv"], ...] = ("linear", "conv")
    head_steps: int = 400


def nested_patients(stills: Stills, seed: int) -> NDArray[np.str_]:
    """Return all patients in a random order; the first n are the labelled ones."""
    order: NDArray[np.str_] = np.random.default_rng(seed).permutation(np.unique(stills.patients))
    return order


def score(
    encoder: VisionTransformer3D,
    train: Stills,
    scored: Stills,
    protocol: Protocol,
    *,
    seed: int,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[dict[str, Any]]:
    """Fit and score each head with each number of patients.

    Parameters
    ----------
    encoder : VisionTransformer3D
        The frozen encoder.
    train, scored : Stills
        Labelled stills for fitting and for scoring.
    protocol : Protocol
        Evaluation protocol.
    seed : int
        Seed of patients and heads.
    on_progress : callable
        Called with (stage, done, total).

    Returns
    -------
    list of dict
        ``head, patients, LV, MYO, LA, mean``; Dice 0..1 at the resolution of the images.

    Raises
    ------
    BenchError
        If there are fewer patients than the protocol requires.
    """
    order = nested_patients(train, seed)
    if max(protocol.patients) > len(order):
        raise BenchError(
            f"There are {len(order)} labelled patients, {max(protocol.patients)} are requested: use fewer."
        )
    known, test = (
        features(encoder, stills.images, frames=protocol.frames, size=protocol.size)[:, -1]
        for stills in (train, scored)
    )
    jobs = [(head, n) for head in protocol.heads for n in protocol.patients]
    rows = []
    for done, (head, n) in enumerate(jobs):
        on_progress("heads", done, len(jobs))
        rows_of_patients = np.isin(train.patients, order[:n])
        fitted = fit_on_tokens(
            HEADS[head],
            known[torch.from_numpy(rows_of_patients)],
            train.masks[rows_of_patients],
            seed=seed,
            steps=protocol.head_steps,
        )
        predicted = predict_on_tokens(fitted, test, scored.masks.shape[-1])
        rows.append({"head": head, "patients": n, **dice(predicted, scored.masks)})
    on_progress("heads", len(jobs), len(jobs))
    return rows
