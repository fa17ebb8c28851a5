"""Quality of frozen features: heads on them are trained on few or many patients and scored on others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vjepa_core.bench.camus import CLASSES, Stills, dice, sample_patients
from vjepa_core.bench.frozen_features import (
    LinearHead,
    features,
    fit_head,
    fit_on_tokens,
    predict_head,
    predict_on_tokens,
)
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.letterbox import INPUT_SIZE
from vjepa_core.phantom import make_cines

HeadKind = Literal["linear", "default"]
Progress = Callable[[str, int, int], None]
PHANTOM = "phantom"
"""Value of `share` for heads trained on phantom images only."""


@dataclass(frozen=True)
class Protocol:
    """Evaluation protocol of an encoder.

    Attributes
    ----------
    shares : tuple of float
        Fractions of the training patients.
    seeds : tuple of int
        Seeds of patients and initial weights.
    heads : tuple of str
        "linear": a 1x1 convolution on the last tokens. "default": the program's head.
    frames, size : int
        Number of frames and side in pixels of the clip made of a still image.
    linear_steps, default_steps : int
        Number of steps of the fits.
    phantom : int
        Number of phantom images for heads that are trained without labels of patients; 0 for none.
    """

    shares: tuple[float, ...] = (0.1, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    heads: tuple[HeadKind, ...] = ("linear", "default")
    frames: int = 2
    size: int = 224
    linear_steps: int = 400
    default_steps: int = 150
    phantom: int = 0


def measure(
    name: str,
    encoder: VisionTransformer3D,
    train: Stills,
    scored: Stills,
    protocol: Protocol,
    *,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[dict[str, Any]]:
    """Fit and score each head with each fraction of patients and seed.

    Parameters
    ----------
    name : str
        Name for the rows.
    encoder : VisionTransformer3D
        The encoder; not changed.
    train, scored : Stills
        Labelled images for fitting and for scoring.
    protocol : Protocol
        Evaluation protocol.
    on_progress : callable
        Called with (stage, done, total).

    Returns
    -------
    list of dict
        ``encoder, head, share, patients, seed, LV, MYO, LA, mean, fit_s``; Dice 0..1 at the resolution of the
        images.
    """

    def of(stills: Stills, what: str) -> Tensor:
        return features(
            encoder,
            stills.images,
            frames=protocol.frames,
            size=protocol.size,
            on_progress=lambda done, total: on_progress(f"{name}: features of {what}", done, total),
        )

    test, rows = of(scored, "the scored stills"), []
    sets: list[tuple[float | str, Stills, Tensor]] = []
    if protocol.shares:
        all_tokens = of(train, "the training stills")
        sets += [(share, train, all_tokens) for share in protocol.shares]
    if protocol.phantom:
        phantoms = phantom_stills(protocol.phantom, INPUT_SIZE)
        sets.append((PHANTOM, phantoms, of(phantoms, "the phantom")))
    jobs = [(kind, *one, seed) for kind in protocol.heads for one in sets for seed in protocol.seeds]
    for done, (kind, share, stills, all_tokens, seed) in enumerate(jobs):
        on_progress(f"{name}: heads", done, len(jobs))
        if isinstance(share, float):
            few = sample_patients(stills, share, seed)
            tokens = all_tokens[torch.from_numpy(np.isin(stills.patients, few.patients))]
        else:
            few, tokens = stills, all_tokens
        start = time.perf_counter()
        if kind == "linear":
            linear = fit_on_tokens(
                LinearHead, tokens[:, -1], few.masks, seed=seed, steps=protocol.linear_steps
            )
            seconds = time.perf_counter() - start
            predicted = predict_on_tokens(linear, test[:, -1], scored.masks.shape[-1])
        else:
            head = fit_head(few, tokens, seed=seed, steps=protocol.default_steps)
            seconds = time.perf_counter() - start
            predicted = predict_head(head, scored.images, test)
        rows.append(
            {
                "encoder": name,
                "head": kind,
                "share": share,
                "patients": 0 if share == PHANTOM else len(set(few.patients.tolist())),
                "seed": seed,
                **dice(predicted, scored.masks),
                "fit_s": seconds,
            }
        )
    on_progress(f"{name}: heads", len(jobs), len(jobs))
    return rows


def phantom_stills(n: int, size: int, seed: int = 0) -> Stills:
    """Generate phantom images with labels, half of them with the sector stretched to the square."""
    generator = torch.Generator().manual_seed(seed)
    halves = [
        make_cines(count, frames=1, size=size, generator=generator, stretch=stretch, chunk=8)
        for count, stretch in ((n - n // 2, False), (n // 2, True))
        if count
    ]
    images = torch.cat([half.frames[:, 0] for half in halves]).numpy()
    masks = torch.cat([half.masks[:, 0] for half in halves]).numpy()

    return Stills(images, masks, np.array([f"phantom{i}" for i in range(n)]))


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compute mean and standard deviation over seeds for each encoder, head and fraction, in order."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["encoder"], row["head"], row["share"]), []).append(row)
    rows_of_means = []
    for (encoder, head, share), members in groups.items():
        one: dict[str, Any] = {"encoder": encoder, "head": head, "share": share, "seeds": len(members)}
        for key in (*CLASSES.values(), "mean"):
            values = [member[key] for member in members]
            one[key] = statistics.fmean(values)
            one[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else None
        rows_of_means.append(one)
    return rows_of_means
