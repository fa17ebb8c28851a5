"""CAMUS still images (Leclerc et al., IEEE TMI 2019) as arrays, and subsets of its patients."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vjepa_core.errors import CoreError

CLASSES = {1: "LV", 2: "MYO", 3: "LA"}
"""Label values: left-ventricular cavity, its myocardium, left atrium."""


class BenchError(CoreError):
    """A benchmark cannot run as requested; the message is one sentence with a suggestion."""


@dataclass(frozen=True, eq=False)
class Stills:
    """Labelled still images.

    Attributes
    ----------
    images, masks : ndarray of uint8
        Shape (N, 224, 224).
    patients : ndarray of str
        Patient of each image, shape (N,).
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    patients: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    def of(self, patients: NDArray[np.str_]) -> Stills:
        """Return the images of some patients."""
        rows = np.isin(self.patients, patients)
        return Stills(self.images[rows], self.masks[rows], self.patients[rows])


def load_camus(path: Path) -> tuple[Stills, Stills]:
    """Load training and scored still images.

    Parameters
    ----------
    path : Path
        ``.npz`` with ``{split}_img``, ``{split}_mask``, ``{split}_name``; names start with the patient. The
        scored split is ``test`` if the file contains it, otherwise ``val``.

    Returns
    -------
    train, scored : Stills
        The two splits.

    Raises
    ------
    BenchError
        If the file has another format, or a patient is in both splits.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            scored = "test" if "test_img" in arrays.files else "val"
            train, other = _split(arrays, "train"), _split(arrays, scored)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BenchError(
            f"{path} is not a CAMUS file: give the .npz with train_img, train_mask, train_name and val_img, "
            "val_mask, val_name."
        ) from error
    both = set(train.patients.tolist()) & set(other.patients.tolist())
    if both:
        raise BenchError(
            f"{len(both)} patients of {path} are in both the training and the scored split: give a file with "
            "separate patients."
        )
    return train, other


def _split(arrays: np.lib.npyio.NpzFile, name: str) -> Stills:
    images, masks, names = (arrays[f"{name}_{field}"] for field in ("img", "mask", "name"))
    if (
        images.dtype != np.uint8
        or images.ndim != 3
        or images.shape != masks.shape
        or len(names) != len(images)
    ):
        raise ValueError(name)
    return Stills(images, masks.astype(np.uint8), np.array([str(n).split("_")[0] for n in names]))


def sample_patients(stills: Stills, share: float, seed: int) -> Stills:
    """Return all images of a random fraction of the patients, at least one patient."""
    patients = np.unique(stills.patients)
    if share >= 1:
        return stills
    count = max(1, round(share * len(patients)))
    return stills.of(np.random.default_rng(seed).choice(patients, count, replace=False))


def dice(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, float]:
    """Compute the Dice of each class, averaged over images, and the mean over classes.

    Parameters
    ----------
    predicted, truth : ndarray of uint8
        Label images, shape (N, h, w). An image without a class in `truth` does not count for that class.
    """
    means: dict[str, float] = {}
    for value, name in CLASSES.items():
        predicted_mask, true_mask = predicted == value, truth == value
        size = true_mask.sum((1, 2))
        overlap = (predicted_mask & true_mask).sum((1, 2))
        present = size > 0
        scores = 2 * overlap[present] / (predicted_mask.sum((1, 2)) + size)[present]
        means[name] = float(scores.mean()) if present.any() else float("nan")
    return {**means, "mean": float(np.nanmean(list(means.values())))}
