"""Calibration errors, and correlation of expected with true Dice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.dice_calibration import Situation

BINS = 15
"""Number of bins of an expected calibration error: equal intervals of 0..1 for pixels, and groups of equal
size for frames, whose Dice values are similar."""


@dataclass(frozen=True, eq=False)
class Observation:
    """Predicted frame with known labels.

    Attributes
    ----------
    kind : str
        Kind of cine, such as "still".
    situation : Situation
        Basis of the prediction.
    cine, annotated : int
        Number of the cine, and number of its annotated frames.
    dice : float
        True mean Dice at the resolution of the image.
    indicators : ndarray of float
        Result of `frame_indicators`, shape (5,).
    cells : ndarray of float
        Number of pixels of the head's grid and number of wrong ones, by softmax (`SOFTMAX_EDGES`) and carried
        probability of the predicted label (`CARRIED_EDGES`), shape (23, 5, 2).
    expected : dict of str to float
        Expected Dice, "ours" and "softmax".
    pixels : dict of str to ndarray
        Results of `reliability` for "ours", "softmax", "ours near borders" and "softmax near borders".
    """

    kind: str
    situation: Situation
    cine: int
    annotated: int
    dice: float
    indicators: NDArray[np.float64]
    cells: NDArray[np.float64]
    expected: dict[str, float]
    pixels: dict[str, NDArray[np.float64]]


def reliability(probability: NDArray[Any], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute a reliability table.

    Parameters
    ----------
    probability : ndarray of float
        Probability to be correct, 0..1, shape (N,).
    correct : ndarray of bool
        True if the label is correct, shape (N,).

    Returns
    -------
    ndarray of float
        Number, sum of `probability` and number of `correct` in each bin of `probability`, shape (15, 3).
    """
    which = np.minimum((probability * BINS).astype(int), BINS - 1)
    sums = [np.bincount(which, weights, BINS) for weights in (None, probability, correct)]
    return np.stack(sums, 1).astype(np.float64)


def calibration_error(bins: NDArray[np.float64]) -> float:
    """Compute the expected calibration error of a `reliability` table."""
    total = bins[:, 0].sum()
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / total) if total else float("nan")


def frame_error(expected: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Compute the expected calibration error of Dice (N,), with frames in groups of equal size."""
    order = np.argsort(expected, kind="stable")
    groups = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs((expected[g] - true[g]).sum()) for g in groups) / len(order))


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Compute Pearson's correlation; NaN if one of the variables is constant."""
    if len(x) < 3 or np.ptp(x) < 1e-9 or np.ptp(y) < 1e-9:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute ranks from 0; equal values get their mean rank."""
    _, index, count = np.unique(x, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count + 1) / 2)[index], np.float64)


def summary(observations: Sequence[Observation]) -> list[dict[str, Any]]:
    """Summarise the frames of each kind and number of annotated frames, for ours and for softmax only.

    Returns
    -------
    list of dict
        ``kind, situation, annotated, cines, frames, dice`` (true mean), ``what``, ``expected`` (mean),
        ``frame_ece, pearson, spearman`` (over all frames), ``within`` (mean of Spearman's correlation within
        cines), ``pixel_ece, border_ece``. Values without enough data are None.
    """
    groups: dict[tuple[Any, ...], list[Observation]] = {}
    for one in observations:
        groups.setdefault((one.kind, one.situation.value, one.annotated), []).append(one)
    return [
        {
            "kind": kind,
            "situation": situation,
            "annotated": annotated,
            "cines": len({one.cine for one in members}),
            "frames": len(members),
            "dice": float(np.mean([one.dice for one in members])),
            **_figures(members, what),
        }
        for (kind, situation, annotated), members in sorted(groups.items())
        for what in ("ours", "softmax")
    ]


def _figures(members: Sequence[Observation], what: str) -> dict[str, Any]:
    expected = np.array([one.expected[what] for one in members])
    true = np.array([one.dice for one in members])
    within = []
    for cine in {one.cine for one in members}:
        rows = np.array([one.cine == cine for one in members])
        within.append(correlation(ranks(expected[rows]), ranks(true[rows])))
    known = [value for value in within if not np.isnan(value)]
    values = {
        "expected": float(expected.mean()),
        "frame_ece": frame_error(expected, true),
        "pearson": correlation(expected, true),
        "spearman": correlation(ranks(expected), ranks(true)),
        "within": float(np.mean(known)) if known else float("nan"),
        "pixel_ece": calibration_error(np.sum([one.pixels[what] for one in members], 0)),
        "border_ece": calibration_error(np.sum([one.pixels[f"{what} near borders"] for one in members], 0)),
    }
    return {"what": what, **{name: None if np.isnan(value) else value for name, value in values.items()}}


ERRORS = {
    "frame_ece": "calibration error of frames",
    "pixel_ece": "calibration error of pixels",
    "border_ece": "calibration error of pixels near borders",
}


def ratios(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return ratios of the errors of softmax to ours: calibration errors and 1 - rank correlation.

    Parameters
    ----------
    table : sequence of dict
        Result of `summary`.

    Returns
    -------
    dict
        Ratios; above 1, ours is better.
    """
    ratios_to_ours = {}
    for ours, softmax in zip(table[::2], table[1::2], strict=True):
        where = f"{ours['kind']}, {ours['annotated']} annotated"
        for name, description in ERRORS.items():
            if ours[name] is not None and softmax[name] is not None:
                ratios_to_ours[f"{where}: {description}, softmax over ours"] = softmax[name] / max(
                    ours[name], 1e-6
                )
        if ours["spearman"] is not None and softmax["spearman"] is not None:
            missed = (1 - softmax["spearman"]) / max(1 - ours["spearman"], 1e-6)
            ratios_to_ours[f"{where}: 1 - rank correlation with true Dice, softmax over ours"] = missed
    return ratios_to_ours
