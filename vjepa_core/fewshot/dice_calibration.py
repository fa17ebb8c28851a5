"""Calibrated confidence: expected Dice of frames and error probability of pixels.

The softmax of a head is overconfident. The maps from confidence indicators to expected Dice and error
probability were fitted on data with known labels and are stored in `resources/calibration.json` (written by
`vjepa_core.bench.make_calibration`). Every map is monotone: a larger indicator never decreases the expected
Dice or increases the error probability.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa_core.errors import CoreError
from vjepa_core.resources import resource_path

SHIPPED = "calibration.json"

FRAME_INDICATORS = ("soft", "weakest", "returned", "agreed", "near")
"""Confidence indicators of a frame; see `vjepa_core.fewshot.confidence.frame_indicators`."""

PIXEL_INDICATORS = ("softmax", "carried", "frame")
"""Confidence indicators of a pixel: nines of the softmax, carried probability of the label, and nines of the
expected Dice of the frame."""


class Situation(StrEnum):
    """Basis of a prediction, which determines the calibration maps."""

    FITTED = "fitted"  # a head and labels of this cine
    CARRIED = "carried"  # labels of this cine carried by motion, without a head
    DRAFT = "draft"  # a head without labels of this cine


def nines(share: NDArray[Any], floor: float) -> NDArray[np.float64]:
    """Compute -log(1 - share), a scale on which 0.9, 0.99 and 0.999 are equidistant.

    1 - `share` is clamped to at least `floor`, so that the result is finite.
    """
    return -np.log(np.clip(1.0 - np.asarray(share, np.float64), floor, 1.0))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute 1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -40, 40))), np.float64)


@dataclass(frozen=True)
class Linear:
    """Weighted sum of indicators.

    Attributes
    ----------
    bias : float
        Constant term.
    weights : tuple of float
        Non-negative weights in the order of the indicators.
    """

    bias: float
    weights: tuple[float, ...]

    def __call__(self, indicators: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the weighted sum of indicators (..., n), with the result (...)."""
        return np.asarray(indicators @ np.array(self.weights) + self.bias, np.float64)


@dataclass(frozen=True)
class Calibration:
    """Calibration maps of one situation.

    Attributes
    ----------
    frame : Linear
        Map from `FRAME_INDICATORS` to the logit of the expected Dice.
    pixel : Linear
        Map from `PIXEL_INDICATORS` to a score.
    scores, wrong : tuple of float
        Knots of the map from score to error probability. Scores increase, probabilities do not.
    """

    frame: Linear
    pixel: Linear
    scores: tuple[float, ...]
    wrong: tuple[float, ...]

    def expected_dice(self, indicators: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the expected mean Dice of frames, (B,) in 0..1, from their indicators (B, 5)."""
        return sigmoid(self.frame(indicators))

    def error_probability(self, indicators: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the probability that the label of a pixel is wrong, (...), from its indicators (..., 3)."""
        return np.asarray(np.interp(self.pixel(indicators), self.scores, self.wrong), np.float64)


@cache
def shipped_calibration() -> Mapping[Situation, Calibration]:
    """Return the shipped calibration.

    Raises
    ------
    CoreError
        If its file is damaged.
    """
    return read(resource_path(SHIPPED))


def read(path: Path) -> Mapping[Situation, Calibration]:
    """Read a file written by `write`.

    Raises
    ------
    CoreError
        If the file is missing or damaged, or a map is not monotone.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["situations"]
        return {situation: _parse(stored[situation.value]) for situation in Situation}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CoreError(f"{path.name}, a file of Apical, is damaged: reinstall Apical.") from error


def write(path: Path, calibration: Mapping[Situation, Calibration], about: Mapping[str, Any]) -> None:
    """Write rounded maps and a description of their data."""
    situations = {
        situation.value: {
            "frame": _as_dict(one.frame, FRAME_INDICATORS),
            "pixel": {
                **_as_dict(one.pixel, PIXEL_INDICATORS),
                "scores": [round(value, 4) for value in one.scores],
                "wrong": [round(value, 6) for value in one.wrong],
            },
        }
        for situation, one in calibration.items()
    }
    text = json.dumps({"about": dict(about), "situations": situations}, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _as_dict(linear: Linear, names: tuple[str, ...]) -> dict[str, Any]:
    weights = {name: round(weight, 4) for name, weight in zip(names, linear.weights, strict=True)}
    return {"bias": round(linear.bias, 4), "weights": weights}


def _parse(stored: Mapping[str, Any]) -> Calibration:
    pixel = stored["pixel"]
    scores, wrong = (tuple(map(float, pixel[name])) for name in ("scores", "wrong"))
    increasing = all(a < b for a, b in pairwise(scores))
    non_increasing = all(a >= b for a, b in pairwise(wrong))
    if not scores or len(scores) != len(wrong) or not increasing or not non_increasing:
        raise ValueError("the map from score to error probability is not monotone")
    return Calibration(
        _linear(stored["frame"], FRAME_INDICATORS), _linear(pixel, PIXEL_INDICATORS), scores, wrong
    )


def _linear(stored: Mapping[str, Any], names: tuple[str, ...]) -> Linear:
    """Parse a weighted sum; a missing indicator has the weight 0."""
    remaining = dict(stored["weights"])
    weights = tuple(float(remaining.pop(name, 0.0)) for name in names)
    if remaining or min(weights) < 0 or not np.isfinite([stored["bias"], *weights]).all():
        raise ValueError("unknown indicators or invalid weights")
    return Linear(float(stored["bias"]), weights)
