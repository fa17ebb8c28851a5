"""CAMUS patients in both views at both phases, predicted by the draft or by heads of few patients."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.camus import CLASSES, BenchError, Stills, load_camus
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.fewshot import choose_patients, unlabelled_images
from vjepa_core.bench.frozen_features import as_prepared_cines
from vjepa_core.bench.head_on_stills import HeadOnStills, phantom_head
from vjepa_core.bench.kept_arrays import checksum, kept_arrays
from vjepa_core.encoder.precision import inference_device
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.confidence import estimate_errors, soft_dice
from vjepa_core.fewshot.enclosed_atrium import relabel_enclosed_atrium
from vjepa_core.fewshot.fit import predict
from vjepa_core.fewshot.head import Head

VIEWS = {"4CH": "A4C", "2CH": "A2C"}
PHASES = ("ED", "ES")
PIXEL_MM = (0.69, 0.84)
"""Nominal height and width of a pixel; the stills are squeezed into squares, and their pixel size is lost.

Medians over eight A4C images of CAMUS at their native resolution, 0.49 to 0.85 mm in height, which are all
1.21 times as wide as high. Ejection fraction and strain hardly depend on them; volumes and lengths are those
of this nominal heart.
"""

_BATCH = 16


@dataclass(frozen=True, eq=False)
class CamusHearts:
    """CAMUS with complete hearts.

    Attributes
    ----------
    train, scored : Stills
    stills : mapping
        For each scored patient, the index of the still by (view, phase), such as ("A4C", "ED").
    """

    train: Stills
    scored: Stills
    stills: Mapping[str, Mapping[tuple[str, str], int]]


@dataclass(frozen=True, eq=False)
class PredictedStills:
    """Predictions of still images.

    Attributes
    ----------
    masks : (N, H, W) uint8
    expected_dice, cavity_dice : (N,) float32
        Expected Dice, and Dice of the LV cavity expected from the softmax; nan without a cavity.
    """

    masks: NDArray[np.uint8]
    expected_dice: NDArray[np.float32]
    cavity_dice: NDArray[np.float32]


def load_hearts(path: Path) -> CamusHearts:
    """Load the stills and find the patients with both views at both phases.

    Raises
    ------
    BenchError
        If the file is not a CAMUS file, or no scored patient is complete.
    """
    train, scored = load_camus(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            split = "test" if "test_img" in arrays.files else "val"
            names = [str(name) for name in arrays[f"{split}_name"]]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BenchError(f"{path} cannot be read: give the CAMUS .npz again.") from error
    stills = complete_hearts(names)
    if not stills:
        raise BenchError(
            f"{path} has no scored patient with both views at both phases: names must be like "
            "patient0001_4CH_ED."
        )
    return CamusHearts(train, scored, stills)


def complete_hearts(names: Sequence[str]) -> dict[str, dict[tuple[str, str], int]]:
    """Return the stills of the patients with both views at both phases, by patient, then view and phase."""
    found: dict[str, dict[tuple[str, str], int]] = {}
    for index, name in enumerate(names):
        patient, _, rest = name.partition("_")
        view, _, phase = rest.partition("_")
        if view in VIEWS and phase in PHASES:
            found.setdefault(patient, {})[VIEWS[view], phase] = index
    return {patient: stills for patient, stills in found.items() if len(stills) == len(VIEWS) * len(PHASES)}


def predict_stills(head: Head, images: NDArray[np.uint8], tokens: Tensor) -> PredictedStills:
    """Predict square still images (N, H, W) uint8 with their tokens."""
    masks, expected, cavity = [], [], []
    for prepared in as_prepared_cines(images, tokens):
        probabilities = relabel_enclosed_atrium(predict(head, prepared, [0]))
        masks.append(label_image(probabilities[0], prepared.box, tuple(CLASSES), prepared.inside))
        expected.append(float(estimate_errors(prepared, [0], probabilities).dice[0]))
        cavity.append(float(soft_dice(probabilities)[0, 0]))
    return PredictedStills(np.stack(masks), np.array(expected, np.float32), np.array(cavity, np.float32))


def predict_drafts(
    hearts: CamusHearts, tokens: EncodedStills, head: Head, keep: Path | None = None
) -> PredictedStills:
    """Predict the scored stills with a head that is not fitted any further.

    Parameters
    ----------
    hearts : CamusHearts
    tokens : EncodedStills
    head : Head
    keep : Path, optional
        Folder of earlier predictions, see `kept_arrays`.
    """
    file = None if keep is None else keep / f"camus_draft_{checksum(head)}_{_digits(hearts.scored)}.npz"
    return PredictedStills(**kept_arrays(file, lambda: _predicted(head, hearts.scored.images, tokens)))


def predict_with_few(
    hearts: CamusHearts, tokens: EncodedStills, count: int, seed: int, keep: Path | None = None
) -> PredictedStills:
    """Fit a head to the stills of a few training patients, as `apical bench fewshot`, and predict.

    Parameters
    ----------
    hearts, tokens, keep
        As for `predict_drafts`.
    count, seed : int
        Number of patients, and seed of their choice and of the fit.
    """
    file = None
    if keep is not None:
        start = checksum(phantom_head(tokens))
        file = keep / f"camus_{count}_patients_seed_{seed}_{start}_{_digits(hearts.scored)}.npz"

    def compute() -> dict[str, NDArray[Any]]:
        few = choose_patients(hearts.train, count, seed)
        method = HeadOnStills("ours", tokens)
        method = method.with_unlabelled(unlabelled_images(hearts.train, few, seed), len(few))
        fitted = method.fit(few.images, few.masks, seed=seed)
        return _predicted(fitted.head, hearts.scored.images, tokens)

    return PredictedStills(**kept_arrays(file, compute))


def _predicted(head: Head, images: NDArray[np.uint8], tokens: EncodedStills) -> dict[str, NDArray[Any]]:
    head = head.to(inference_device())
    parts = []
    for first in range(0, len(images), _BATCH):
        part = images[first : first + _BATCH]
        parts.append(predict_stills(head, part, tokens(part)))
    names = ("masks", "expected_dice", "cavity_dice")
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}


def _digits(scored: Stills) -> str:
    """Return digits that depend on the scored images."""
    return f"{zlib.crc32(scored.images.tobytes()):08x}"
