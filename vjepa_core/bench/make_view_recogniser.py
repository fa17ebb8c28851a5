"""Fit the shipped view recogniser, which distinguishes A4C from A2C.

``python -m vjepa_core.bench.make_view_recogniser CAMUS.npz``

It uses the training patients of CAMUS, whose image names state the view; half of their images a second time,
changed to look like those of other scanners. The penalty is chosen by
cross-validation over training patients; validation patients are not used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.camus import BenchError, load_camus
from vjepa_core.bench.frozen_features import as_prepared_cines, features
from vjepa_core.bench.synthetic_images import imitate_other_scanners
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.view_recogniser import SHIPPED, ViewRecogniser, view_features
from vjepa_core.resources import resource_path

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Candidates for the penalty on the squared weights.

The features are standardised and divided by the root of their number.
"""

LIMIT = 0.8
"""Minimum probability of a view that is reported."""

N_FOLDS = 5
_BATCH = 100  # images whose tokens are in memory together
_STEPS = 50
_SEED = 11


def is_four_chamber(path: Path, split: str) -> NDArray[np.bool_]:
    """Read from the image names of a CAMUS file which images (N,) show the four-chamber view.

    Raises
    ------
    BenchError
        If a name contains neither "4CH" nor "2CH".
    """
    with np.load(path, allow_pickle=False) as arrays:
        names = [str(name) for name in arrays[f"{split}_name"]]
    if not all(("4CH" in name) != ("2CH" in name) for name in names):
        raise BenchError(f"The image names in {path} do not state the view: each must contain 2CH or 4CH.")
    return np.array(["4CH" in name for name in names])


def features_of(encoder: VisionTransformer3D, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the features (N, D) of still images (N, H, W)."""
    rows = []
    for start in range(0, len(images), _BATCH):
        part = images[start : start + _BATCH]
        rows += [view_features(cine) for cine in as_prepared_cines(part, features(encoder, part))]
        sys.stderr.write(f"\rimages: {len(rows)} of {len(images)}")
    sys.stderr.write("\n")
    return np.stack(rows)


def fit_views(
    rows: NDArray[np.floating],
    is_4c: NDArray[np.bool_],
    patients: NDArray[np.str_],
    penalties: Sequence[float] = PENALTIES,
) -> tuple[ViewRecogniser, float]:
    """Fit the view recogniser with the penalty of the smallest cross-validated log loss.

    Parameters
    ----------
    rows : ndarray
        Result of `features_of`, shape (N, D).
    is_4c : ndarray of bool
        True for the four-chamber view, shape (N,).
    patients : ndarray of str
        Patient of each image, shape (N,); all images of a patient are in the same fold.
    penalties : sequence of float

    Returns
    -------
    recogniser : ViewRecogniser
    penalty : float
    """
    names = np.unique(patients)
    shuffled = np.random.default_rng(0).permutation(len(names)) % N_FOLDS
    fold = shuffled[np.searchsorted(names, patients)]

    def loss(penalty: float) -> float:
        total = 0.0
        for one in range(N_FOLDS):
            weights, bias = _logistic(rows[fold != one], is_4c[fold != one], penalty)
            z = rows[fold == one] @ weights + bias
            total += float((np.logaddexp(0, z) - is_4c[fold == one] * z).sum())
        return total

    best = min(penalties, key=loss)
    weights, bias = _logistic(rows, is_4c, best)
    return ViewRecogniser(weights.astype(np.float32), bias, LIMIT), best


def _logistic(
    rows: NDArray[np.floating], truth: NDArray[np.bool_], penalty: float
) -> tuple[NDArray[np.float64], float]:
    """Fit weights (D,) and intercept of a penalised logistic regression by Newton's method."""
    mean = rows.mean(0, dtype=np.float64)
    scale = (rows.std(0, dtype=np.float64) + 1e-6) * np.sqrt(rows.shape[1])
    standard = (rows - mean) / scale
    # In the directions of the rows, of which there are fewer than features.
    power, directions = np.linalg.eigh(standard @ standard.T)
    kept = power > power.max() * 1e-6
    power, directions = power[kept], directions[:, kept]
    x = np.column_stack([directions * np.sqrt(power), np.ones(len(rows))])
    ridge = np.full(x.shape[1], penalty)
    ridge[-1] = 1e-6
    w = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 0.5 * (1 + np.tanh(0.5 * (x @ w)))
        slope = x.T @ (p - truth) + ridge * w
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge), slope)
        w -= step
        if np.abs(step).max() < 1e-6:
            break
    weights = standard.T @ (directions @ (w[:-1] / np.sqrt(power))) / scale
    return weights, float(w[-1] - weights @ mean)


def make(camus: Path, out: Path) -> tuple[ViewRecogniser, float]:
    """Fit the recogniser for the shipped encoder and write its file; return also the penalty."""
    train, _ = load_camus(camus)
    is_4c = is_four_chamber(camus, "train")
    encoder, card = load_encoder(device=(device := inference_device()), matrices=inference_dtype(device))
    index = np.arange(0, len(train.images), 2)
    index += index // 2 % 2  # one phase of each view, in turn
    imitated = imitate_other_scanners(train.images[index], seed=_SEED)
    rows = np.concatenate([features_of(encoder, images) for images in (train.images, imitated)])
    every = np.r_[np.arange(len(train.images)), index]
    recogniser, penalty = fit_views(rows, is_4c[every], train.patients[every])
    recogniser.save(out, card.checksum)
    return recogniser, penalty


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit the shipped view recogniser.")
    parser.add_argument("camus", type=Path)
    parser.add_argument("--out", type=Path, default=resource_path("heads", SHIPPED))
    arguments = parser.parse_args()
    _, chosen = make(arguments.camus, arguments.out)
    sys.stderr.write(f"penalty {chosen:g}\n")
