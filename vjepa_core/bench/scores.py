"""Scores of label images, and statistics over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.camus import CLASSES, dice

# 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; an approximation is used beyond.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12)


def hd95(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Compute the 95 % Hausdorff distance of two outlines in pixels.

    This is the larger of the two directed distances, each the 95th percentile of the distances from the
    pixels of one outline to the other. An outline consists of the outermost pixels of a structure.

    Parameters
    ----------
    predicted, truth : ndarray of bool
        Masks, shape (h, w).

    Returns
    -------
    float
        The diagonal of the image if only one mask is empty; NaN if both are.
    """
    if not predicted.any() and not truth.any():
        return math.nan
    if not predicted.any() or not truth.any():
        return math.hypot(*truth.shape)
    ours, theirs = _outline(predicted), _outline(truth)
    return max(_directed(ours, theirs), _directed(theirs, ours))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inside = cv2.erode(mask.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(mask & (inside == 0))


def _directed(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    away = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.percentile(away[one], 95))


def score(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], *, mm: float | None = None
) -> dict[str, Any]:
    """Compute Dice and HD95 of left ventricle, myocardium and left atrium.

    Parameters
    ----------
    predicted, truth : ndarray of uint8
        Label images, shape (N, h, w). An image without a class in `truth` does not count for that class.
    mm : float, optional
        Pixel size in mm, if it is known and pixels are square.

    Returns
    -------
    dict
        ``LV, MYO, LA, mean`` (Dice 0..1), ``hd95_px`` with the same keys, and ``hd95_mm``, None without `mm`.
    """
    hausdorff: dict[str, float] = {}
    for value, name in CLASSES.items():
        present = [i for i in range(len(truth)) if (truth[i] == value).any()]
        distances = [hd95(predicted[i] == value, truth[i] == value) for i in present]
        hausdorff[name] = statistics.fmean(distances) if distances else math.nan
    known = [distance for distance in hausdorff.values() if not math.isnan(distance)]
    hausdorff["mean"] = statistics.fmean(known) if known else math.nan
    in_mm = None if mm is None else {name: distance * mm for name, distance in hausdorff.items()}
    return {**dice(predicted, truth), "hd95_px": hausdorff, "hd95_mm": in_mm}


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and half the width of its 95 % interval (Student's t); None for a single value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    freedom = len(values) - 1
    t = _T[freedom - 1] if freedom <= len(_T) else 1.96 + 2.37 / freedom
    return mean, t * statistics.stdev(values) / math.sqrt(len(values))


_MEANS = ("LV", "MYO", "LA", "mean", "hd95_px", "hd95_mm", "features_s", "fit_s", "predict_s", "steps")


def summary(rows: Sequence[Mapping[str, Any]], by: Sequence[str]) -> list[dict[str, Any]]:
    """Summarise rows over seeds, in the order of the rows.

    Parameters
    ----------
    rows : sequence of dict
        Result of `vjepa_core.bench.fewshot.run`.
    by : sequence of str
        Keys of conditions that are not averaged, such as "what" and "patients".

    Returns
    -------
    list of dict
        The values of `by`, ``seeds``, ``note``, and for every measure its mean over seeds and, as
        ``{measure}_95``, half the width of the 95 % interval (None with one seed). HD95 is that of `mean`.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    rows_of_means = []
    for key, members in groups.items():
        notes = dict.fromkeys(row["note"] for row in members if row.get("note"))
        one: dict[str, Any] = {**dict(zip(by, key, strict=True)), "seeds": len(members)}
        one["note"] = " / ".join(notes)
        for measure in _MEANS:
            values = [_number(row.get(measure)) for row in members]
            known = [value for value in values if value is not None and not math.isnan(value)]
            one[measure], one[f"{measure}_95"] = interval(known) if known else (None, None)
        rows_of_means.append(one)
    return rows_of_means


def _number(value: Any) -> float | None:
    number: float | None = value["mean"] if isinstance(value, Mapping) else value
    return number
