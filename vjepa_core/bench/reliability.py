"""Figures of trust: calibration errors, and how far what was expected goes with what is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.calibration import Situation

BINS = 15
"""Of an expected calibration error: equal parts of 0 to 1 for pixels; for frames, whose Dice are all much
the same, groups of equally many."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One predicted frame whose truth is known.

    Attributes
    ----------
    kind, situation : str, Situation
        Of the cine, "still" among them, and what the prediction rests on.
    cine, annotated : int
        Which one, and how many of its frames were annotated.
    dice : float
        True mean Dice, on the picture's own pixels.
    signs : (5,) float
        See `frame_signs`.
    cells : (23, 5, 2) float
        By softmax (`SOFTMAX_EDGES`) and carried probability of the drawn label (`CARRIED_EDGES`): how many
        pixels of the head's grid, and how many of them wrong.
    expected : dict
        "ours" and "softmax": expected Dice.
    pixels : dict
        "ours", "softmax" and "ours near borders", "softmax near borders": (15, 3) by bins of the
        probability to be right: how many pixels, sum of that probability, how many right.
    """

    kind: str
    situation: Situation
    cine: int
    annotated: int
    dice: float
    signs: NDArray[np.float64]
    cells: NDArray[np.float64]
    expected: dict[str, float]
    pixels: dict[str, NDArray[np.float64]]


def reliability(sure: NDArray[Any], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(15, 3) by bins of `sure` (N,) in 0..1: how many, sum of `sure`, how many `right` (N,)."""
    which = np.minimum((sure * BINS).astype(int), BINS - 1)
    sums = [np.bincount(which, weights, BINS) for weights in (None, sure, right)]
    return np.stack(sums, 1).astype(np.float64)


def calibration_error(bins: NDArray[np.float64]) -> float:
    """Expected calibration error of what `reliability` made: mean distance of expected and true shares."""
    total = bins[:, 0].sum()
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / total) if total else float("nan")


def frame_error(expected: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Expected calibration error of Dice (N,): frames by what was expected, in groups of equally many."""
    order = np.argsort(expected, kind="stable")
    groups = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs((expected[g] - true[g]).sum()) for g in groups) / len(order))


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's; NaN where one of them does not vary."""
    if len(x) < 3 or np.ptp(x) < 1e-9 or np.ptp(y) < 1e-9:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, equal values sharing theirs."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count + 1) / 2)[place], np.float64)


def summary(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """What all frames of a kind and number of annotated ones say, ours and the softmax alone.

    Returns
    -------
    list of dict
        ``kind, situation, annotated, cines, frames, dice`` (true mean), ``what``, ``expected`` (mean),
        ``frame_ece, pearson, spearman`` (over all frames), ``within`` (mean of Spearman's within cines),
        ``pixel_ece, border_ece``. None where there is too little to tell.
    """
    groups: dict[tuple[Any, ...], list[Seen]] = {}
    for one in seen:
        groups.setdefault((one.kind, one.situation.value, one.annotated), []).append(one)
    return [
        {
            "kind": kind,
            "situation": rests_on,
            "annotated": annotated,
            "cines": len({one.cine for one in members}),
            "frames": len(members),
            "dice": float(np.mean([one.dice for one in members])),
            **_figures(members, what),
        }
        for (kind, rests_on, annotated), members in sorted(groups.items())
        for what in ("ours", "softmax")
    ]


def _figures(members: Sequence[Seen], what: str) -> dict[str, Any]:
    expected = np.array([one.expected[what] for one in members])
    true = np.array([one.dice for one in members])
    within = []
    for cine in {one.cine for one in members}:
        rows = np.array([one.cine == cine for one in members])
        within.append(correlation(ranks(expected[rows]), ranks(true[rows])))
    known = [value for value in within if not np.isnan(value)]
    found = {
        "expected": float(expected.mean()),
        "frame_ece": frame_error(expected, true),
        "pearson": correlation(expected, true),
        "spearman": correlation(ranks(expected), ranks(true)),
        "within": float(np.mean(known)) if known else float("nan"),
        "pixel_ece": calibration_error(np.sum([one.pixels[what] for one in members], 0)),
        "border_ece": calibration_error(np.sum([one.pixels[f"{what} near borders"] for one in members], 0)),
    }
    return {"what": what, **{name: None if np.isnan(value) else value for name, value in found.items()}}


ERRORS = {
    "frame_ece": "calibration error of frames",
    "pixel_ece": "calibration error of pixels",
    "border_ece": "calibration error of pixels near borders",
}


def ratios(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Calibration errors of the softmax over ours, and what either ranking of frames misses.

    Parameters
    ----------
    table : sequence of dict
        As `summary` makes it.

    Returns
    -------
    dict
        Over 1 is in our favour.
    """
    found = {}
    for ours, softmax in zip(table[::2], table[1::2], strict=True):
        where = f"{ours['kind']}, {ours['annotated']} annotated"
        for name, words in ERRORS.items():
            if ours[name] is not None and softmax[name] is not None:
                found[f"{where}: {words}, softmax over ours"] = softmax[name] / max(ours[name], 1e-6)
        if ours["spearman"] is not None and softmax["spearman"] is not None:
            missed = (1 - softmax["spearman"]) / max(1 - ours["spearman"], 1e-6)
            found[f"{where}: 1 - rank correlation with true Dice, softmax over ours"] = missed
    return found
