"""Schedules of learning rate, momentum and loss weights over a run."""

from __future__ import annotations

import math
from dataclasses import dataclass


def cosine(start: float, end: float, share: float) -> float:
    """Interpolate from `start` (share 0) to `end` (share 1) by half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2


def learning_rate(step: int, steps: int, *, start: float, peak: float, end: float, warmup: int) -> float:
    """Return the learning rate: linear from `start` to `peak` in `warmup` steps, then cosine to `end`."""
    if step < warmup:
        return start + (peak - start) * (step + 1) / warmup
    return cosine(peak, end, (step - warmup) / max(steps - 1 - warmup, 1))


def momentum(step: int, steps: int, start: float, end: float) -> float:
    """Return the EMA momentum, linear as in V-JEPA; constant if `start` equals `end`, as in V-JEPA 2."""
    return start + (end - start) * min(step / max(steps - 1, 1), 1.0)


def ema_ends(steps: int) -> tuple[float, float]:
    """Return the first and last momentum for a run of `steps`, so that the initial teacher has no influence.

    The teacher averages over 1/15 of the run at the start and about a quarter at the end; the product of all
    momenta is about e^-9. The values are at most 0.998 and 0.9995, which is enough for long runs.
    """
    return min(max(1 - 15 / steps, 0.0), 0.998), min(max(1 - 3.75 / steps, 0.0), 0.9995)


@dataclass(frozen=True)
class TermWeight:
    """Schedule of the weight of a loss term: linear warm-up, plateau, cosine decay.

    Attributes
    ----------
    peak : float
        Weight on the plateau; 0 disables the term.
    rise : float
        Fraction of the run at which the peak is reached; 0 for no warm-up.
    fall : float
        Fraction of the run at which the decay starts; 1 for no decay.
    end : float
        Final weight as a fraction of the peak.
    """

    peak: float = 0.0
    rise: float = 0.0
    fall: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        if self.peak < 0 or not 0 <= self.rise <= self.fall <= 1 or self.end < 0:
            raise ValueError("a weight must have peak >= 0, 0 <= rise <= fall <= 1 and end >= 0")

    def at(self, step: int, steps: int) -> float:
        """Return the weight at a step, counted from 0."""
        share = step / max(steps - 1, 1)
        if share < self.rise:
            return self.peak * share / self.rise
        if share > self.fall:
            return cosine(self.peak, self.peak * self.end, (share - self.fall) / (1 - self.fall))
        return self.peak
