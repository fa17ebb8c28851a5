"""From signs of trust to numbers that mean something: the Dice to expect, and how often a pixel is wrong.

A head's softmax is surer than it should be. How sure it may be was measured where the truth is known, and is
kept in `resources/calibration.json` (made by `vjepa_core.bench.make_calibration`). Every map is monotone: a
better sign never lowers trust.
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

FRAME_SIGNS = ("soft", "weakest", "returned", "agreed", "near")
"""Of a frame, see `vjepa_core.fewshot.confidence.frame_signs`."""

PIXEL_SIGNS = ("softmax", "carried", "frame")
"""Of a pixel: nines of its softmax, carried probability of the drawn label, nines of the frame's Dice."""


class Situation(StrEnum):
    """What a prediction rests on; each has its own maps."""

    FITTED = "fitted"  # a head, and labels of this cine
    CARRIED = "carried"  # labels of this cine along motion alone
    DRAFT = "draft"  # a head alone: nothing is outlined on this cine


def nines(share: NDArray[Any], floor: float) -> NDArray[np.float64]:
    """-log(1 - share), kept finite: 0.9 and 0.99 are as far apart as 0.99 and 0.999."""
    return -np.log(np.clip(1.0 - np.asarray(share, np.float64), floor, 1.0))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -40, 40))), np.float64)


@dataclass(frozen=True)
class Linear:
    """A weighted sum of signs.

    Attributes
    ----------
    bias : float
    weights : tuple of float
        In the order of the signs; not negative.
    """

    bias: float
    weights: tuple[float, ...]

    def __call__(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., n signs) to (...)."""
        return np.asarray(signs @ np.array(self.weights) + self.bias, np.float64)


@dataclass(frozen=True)
class Calibration:
    """The maps of one situation.

    Attributes
    ----------
    frame : Linear
        Of `FRAME_SIGNS`, to the logit of the Dice to expect.
    pixel : Linear
        Of `PIXEL_SIGNS`, to a score.
    scores, wrong : tuple of float
        Knots: a pixel of that score was wrong that often. Scores rise, shares do not.
    """

    frame: Linear
    pixel: Linear
    scores: tuple[float, ...]
    wrong: tuple[float, ...]

    def expected_dice(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean Dice to expect of frames, (B,) in 0..1, from their signs (B, 5)."""
        return sigmoid(self.frame(signs))

    def wrong_share(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that a pixel's label is wrong, (...) in 0..1, from its signs (..., 3)."""
        return np.asarray(np.interp(self.pixel(signs), self.scores, self.wrong), np.float64)


@cache
def shipped() -> Mapping[Situation, Calibration]:
    """The calibration that ships; CoreError where its file is damaged."""
    return read(resource_path(SHIPPED))


def read(path: Path) -> Mapping[Situation, Calibration]:
    """Read a file that `write` wrote.

    Raises
    ------
    CoreError
        If it is missing, damaged, or not monotone.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["situations"]
        return {situation: _parse(told[situation.value]) for situation in Situation}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CoreError(f"{path.name} is damaged, which belongs to Apical: install it again.") from error


def write(path: Path, calibration: Mapping[Situation, Calibration], about: Mapping[str, Any]) -> None:
    """Write maps, rounded, and a word on how they were made."""
    situations = {
        situation.value: {
            "frame": _told(one.frame, FRAME_SIGNS),
            "pixel": {
                **_told(one.pixel, PIXEL_SIGNS),
                "scores": [round(value, 4) for value in one.scores],
                "wrong": [round(value, 6) for value in one.wrong],
            },
        }
        for situation, one in calibration.items()
    }
    text = json.dumps({"about": dict(about), "situations": situations}, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _told(linear: Linear, names: tuple[str, ...]) -> dict[str, Any]:
    weights = {name: round(weight, 4) for name, weight in zip(names, linear.weights, strict=True)}
    return {"bias": round(linear.bias, 4), "weights": weights}


def _parse(told: Mapping[str, Any]) -> Calibration:
    pixel = told["pixel"]
    scores, wrong = (tuple(map(float, pixel[name])) for name in ("scores", "wrong"))
    rises = all(a < b for a, b in pairwise(scores))
    falls = all(a >= b for a, b in pairwise(wrong))
    if not scores or len(scores) != len(wrong) or not rises or not falls:
        raise ValueError("a pixel with a better score would be wrong more often")
    return Calibration(_linear(told["frame"], FRAME_SIGNS), _linear(pixel, PIXEL_SIGNS), scores, wrong)


def _linear(told: Mapping[str, Any], names: tuple[str, ...]) -> Linear:
    """A sign that the file does not name has no weight."""
    given = dict(told["weights"])
    weights = tuple(float(given.pop(name, 0.0)) for name in names)
    if given or min(weights) < 0 or not np.isfinite([told["bias"], *weights]).all():
        raise ValueError("unknown signs, or weights that are not positive numbers")
    return Linear(float(told["bias"]), weights)
