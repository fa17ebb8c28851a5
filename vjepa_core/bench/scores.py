"""How well label images agree, and what several seeds say together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.camus import CLASSES, dice

# 97.5 % points of Student's t by degrees of freedom, from 1 on; beyond, its expansion's first term serves.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12)


def hd95(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """95 % Hausdorff distance of two outlines, in pixels.

    The larger of the two directed ones, each the 95th percentile of the distances from the pixels of one
    outline to the other outline; an outline is the outermost pixels of its structure.

    Parameters
    ----------
    predicted, truth : array
        (h, w) bool.

    Returns
    -------
    float
        The picture's diagonal where only one of them has the structure; NaN where neither has.
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
    return mask & (inside == 0)


def _directed(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    away = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.percentile(away[one], 95))


def score(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], *, mm: float | None = None
) -> dict[str, Any]:
    """Dice and HD95 of left ventricle, myocardium and left atrium.

    Parameters
    ----------
    predicted, truth : array
        (N, h, w) uint8. A picture without a class in its truth does not count for that class.
    mm : float, optional
        Of a pixel, where that is known and pixels are square.

    Returns
    -------
    dict
        ``LV, MYO, LA, mean`` (Dice 0..1), ``hd95_px`` with the same keys, and ``hd95_mm``, None without `mm`.
    """
    found: dict[str, float] = {}
    for value, name in CLASSES.items():
        there = [i for i in range(len(truth)) if (truth[i] == value).any()]
        each = [hd95(predicted[i] == value, truth[i] == value) for i in there]
        found[name] = statistics.fmean(each) if each else math.nan
    told = [distance for distance in found.values() if not math.isnan(distance)]
    found["mean"] = statistics.fmean(told) if told else math.nan
    in_mm = None if mm is None else {name: distance * mm for name, distance in found.items()}
    return {**dice(predicted, truth), "hd95_px": found, "hd95_mm": in_mm}


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half the width of its 95 % interval (Student's t); None with fewer than two values."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    freedom = len(values) - 1
    t = _T[freedom - 1] if freedom <= len(_T) else 1.96 + 2.37 / freedom
    return mean, t * statistics.stdev(values) / math.sqrt(len(values))


_MEANS = ("LV", "MYO", "LA", "mean", "hd95_px", "hd95_mm", "features_s", "fit_s", "predict_s", "steps")


def summary(rows: Sequence[Mapping[str, Any]], by: Sequence[str]) -> list[dict[str, Any]]:
    """What the seeds say together, in the order of the rows.

    Parameters
    ----------
    rows : sequence of dict
        As `vjepa_core.bench.fewshot.run` makes them.
    by : sequence of str
        Keys whose values tell rows apart that are not each other's seeds, such as "what" and "patients".

    Returns
    -------
    list of dict
        The values of `by`, ``seeds``, ``note``, and for every measure its mean over seeds and, as
        ``{measure}_95``, half the width of the 95 % interval (None with one seed). HD95 is that of `mean`.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    found = []
    for key, members in groups.items():
        notes = dict.fromkeys(row["note"] for row in members if row.get("note"))
        one: dict[str, Any] = {**dict(zip(by, key, strict=True)), "seeds": len(members)}
        one["note"] = " / ".join(notes)
        for measure in _MEANS:
            values = [_number(row.get(measure)) for row in members]
            known = [value for value in values if value is not None and not math.isnan(value)]
            one[measure], one[f"{measure}_95"] = interval(known) if known else (None, None)
        found.append(one)
    return found


def _number(value: Any) -> float | None:
    return value["mean"] if isinstance(value, Mapping) else value
