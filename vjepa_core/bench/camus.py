"""CAMUS stills (Leclerc et al., IEEE TMI 2019) as arrays, and shares of its patients."""

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
    """A benchmark cannot be run as asked; one sentence, with a way out."""


@dataclass(frozen=True, eq=False)
class Stills:
    """Labelled stills.

    Attributes
    ----------
    images, masks : array
        (N, 224, 224) uint8.
    patients : array
        (N,) str: whose each is.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    patients: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    def of(self, patients: NDArray[np.str_]) -> Stills:
        """The stills of some patients."""
        rows = np.isin(self.patients, patients)
        return Stills(self.images[rows], self.masks[rows], self.patients[rows])


def load_camus(path: Path) -> tuple[Stills, Stills]:
    """Training stills, and those to be scored: `test` where the file has it, else `val`.

    Parameters
    ----------
    path : Path
        ``.npz`` with ``{split}_img``, ``{split}_mask``, ``{split}_name``; a name begins with its patient.

    Raises
    ------
    BenchError
        If the file is not that.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            scored = "test" if "test_img" in arrays.files else "val"
            train, other = _split(arrays, "train"), _split(arrays, scored)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BenchError(
            f"{path} is no CAMUS file: give the .npz with train_img, train_mask, train_name and val_img, "
            "val_mask, val_name."
        ) from error
    both = set(train.patients.tolist()) & set(other.patients.tolist())
    if both:
        raise BenchError(
            f"{len(both)} patients of {path} are in its training and its scored stills: give a file in which "
            "they are apart."
        )
    return train, other


def _split(arrays: np.lib.npyio.NpzFile, name: str) -> Stills:
    images, masks, names = (arrays[f"{name}_{what}"] for what in ("img", "mask", "name"))
    if (
        images.dtype != np.uint8
        or images.ndim != 3
        or images.shape != masks.shape
        or len(names) != len(images)
    ):
        raise ValueError(name)
    return Stills(images, masks.astype(np.uint8), np.array([str(n).split("_")[0] for n in names]))


def some_patients(stills: Stills, share: float, seed: int) -> Stills:
    """A random share of the patients, at least one, with all their stills."""
    patients = np.unique(stills.patients)
    if share >= 1:
        return stills
    count = max(1, round(share * len(patients)))
    return stills.of(np.random.default_rng(seed).choice(patients, count, replace=False))


def dice(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, float]:
    """Mean Dice over pictures of each class, and their mean.

    Parameters
    ----------
    predicted, truth : array
        (N, h, w) uint8. A picture without a class in its truth does not count for that class.
    """
    found: dict[str, float] = {}
    for value, name in CLASSES.items():
        ours, theirs = predicted == value, truth == value
        size = theirs.sum((1, 2))
        both = (ours & theirs).sum((1, 2))
        there = size > 0
        each = 2 * both[there] / (ours.sum((1, 2)) + size)[there]
        found[name] = float(each.mean()) if there.any() else float("nan")
    return {**found, "mean": float(np.nanmean(list(found.values())))}
