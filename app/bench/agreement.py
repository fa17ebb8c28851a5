"""Agreement of measured with reference values: bias, spread, correlation, coverage of intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.measure.intervals import Interval

Values = Mapping[str, float | None]
"""Values by name, such as "biplane.ef_percent"; None where a number could not be given."""


COVERAGE = 0.9
"""Share of references that the intervals should contain."""


@dataclass(frozen=True)
class MeasuredHeart:
    """Measured and reference values of one heart, and the 90 % intervals of the measured ones."""

    measured: Values
    reference: Values
    intervals: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of one quantity over several hearts.

    Attributes
    ----------
    what, unit : str
    measured, reference : (n,) float
        Hearts with both values.
    missing : int
        Number of hearts without a measured value although there is a reference.
    covered : (m,) bool
        Whether the interval contains the reference, for hearts with an interval.
    strained : (m,) float
        Error as a fraction of the half-width of the interval, on the scale on which it is symmetric.
    """

    what: str
    unit: str
    measured: NDArray[np.float64]
    reference: NDArray[np.float64]
    missing: int
    covered: NDArray[np.bool_]
    strained: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        """Measured minus reference values."""
        return self.measured - self.reference

    @property
    def row(self) -> dict[str, Any]:
        """Row of the benchmark; a statistic is None if there are too few values for it."""
        n, errors = len(self.measured), self.errors
        varies = n > 2 and min(np.ptp(self.measured), np.ptp(self.reference)) > 0
        return {
            "what": self.what,
            "unit": self.unit,
            "n": n,
            "missing": self.missing,
            "bias": float(errors.mean()) if n else None,
            "sd": float(errors.std(ddof=1)) if n > 1 else None,
            "mae": float(np.abs(errors).mean()) if n else None,
            "r": float(np.corrcoef(self.measured, self.reference)[0, 1]) if varies else None,
            "coverage": float(self.covered.mean()) if len(self.covered) else None,
            "interval_scale": conformal_quantile(self.strained, COVERAGE),
            "reference_mean": float(self.reference.mean()) if n else None,
        }

    @property
    def over_guess(self) -> float | None:
        """Mean absolute error of always stating the mean reference, divided by the one measured."""
        if len(self.measured) < 3:
            return None
        own = float(np.abs(self.errors).mean())
        guess = float(np.abs(self.reference - self.reference.mean()).mean())
        return guess / own if own > 0 else None


def agreements(
    prefix: str, hearts: Sequence[MeasuredHeart], quantities: Iterable[tuple[str, str, str]]
) -> list[Agreement]:
    """Compare several quantities of the same hearts; those without any reference are left out.

    Parameters
    ----------
    prefix : str
        Beginning of `Agreement.what`.
    hearts : sequence of MeasuredHeart
    quantities : iterable of (name, key, unit)
        Name for people and key of the values.
    """
    found = []
    for name, key, unit in quantities:
        known = [heart for heart in hearts if _number(heart.reference.get(key)) is not None]
        both = [heart for heart in known if _number(heart.measured.get(key)) is not None]
        if not known:
            continue
        with_interval = [heart for heart in both if key in heart.intervals]
        covered = [
            heart.intervals[key][0] <= float(heart.reference[key] or 0.0) <= heart.intervals[key][1]
            for heart in with_interval
        ]
        found.append(
            Agreement(
                f"{prefix} {name}",
                unit,
                np.array([heart.measured[key] for heart in both], float),
                np.array([heart.reference[key] for heart in both], float),
                len(known) - len(both),
                np.array(covered, bool),
                np.array([_strained(heart, key) for heart in with_interval], float),
            )
        )
    return found


def conformal_quantile(scores: NDArray[np.float64], share: float) -> float | None:
    """Return the factor for the widths of intervals with which a new case is covered with a probability.

    It is the ceil((n + 1) * share)-th smallest of n scores (split conformal prediction; Lei et al., J Am Stat
    Assoc 2018; 113: 1094); None if there are too few.
    """
    rank = math.ceil((len(scores) + 1) * share)
    return float(np.sort(scores)[rank - 1]) if 0 < rank <= len(scores) else None


def _strained(heart: MeasuredHeart, key: str) -> float:
    """Return the error of a value over the half-width of its interval, on a logarithmic scale.

    The intervals are symmetric on that scale, see `app.domain.measure.intervals`; an end at 0 % is not.
    """
    low, high = (_logarithm(key, end) for end in heart.intervals[key])
    measured, reference = (
        _logarithm(key, heart_values[key]) for heart_values in (heart.measured, heart.reference)
    )
    half = max(abs(high - measured), abs(measured - low))
    return abs(reference - measured) / half


def _logarithm(key: str, value: float | None) -> float:
    """Return the logarithm of the ratio that a value stands for: 1 - EF, 1 + strain, or a volume."""
    number = float(value or 0.0)
    if key.endswith("ef_percent"):
        number = 100.0 - number
    elif "gls" in key:
        number = 100.0 + number
    return math.log(max(number, 1e-6))


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
