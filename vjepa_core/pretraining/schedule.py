"""Numbers that change over a run, each a function of the share of the run that is done."""

from __future__ import annotations

import math
from dataclasses import dataclass


def cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` (share 0) to `end` (share 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2


def learning_rate(step: int, steps: int, *, start: float, peak: float, end: float, warmup: int) -> float:
    """Linear from `start` to `peak` over `warmup` steps, then a cosine to `end` at the last step."""
    if step < warmup:
        return start + (peak - start) * (step + 1) / warmup
    return cosine(peak, end, (step - warmup) / max(steps - 1 - warmup, 1))


def momentum(step: int, steps: int, start: float, end: float) -> float:
    """Momentum of the EMA, linear as in V-JEPA; `start` = `end` for V-JEPA 2's constant one."""
    return start + (end - start) * min(step / max(steps - 1, 1), 1.0)


def ema_ends(steps: int) -> tuple[float, float]:
    """First and last momentum for a run of `steps`, so that the teacher forgets its random start.

    The teacher averages over 1/15 of the run at the start and over about a quarter at the end; the product of
    all momenta is about e^-9. Not above 0.998 and 0.9995, where a long run averages enough.
    """
    return min(max(1 - 15 / steps, 0.0), 0.998), min(max(1 - 3.75 / steps, 0.0), 0.9995)


@dataclass(frozen=True)
class TermWeight:
    """Weight of one term of the loss: linear warm-up, plateau, cosine decay.

    Attributes
    ----------
    peak : float
        Weight on the plateau; 0 switches the term off.
    rise : float
        Share of the run by which the peak is reached; 0 starts there.
    fall : float
        Share of the run at which the decay starts; 1 never decays.
    end : float
        Share of the peak that is left at the end of the run.
    """

    peak: float = 0.0
    rise: float = 0.0
    fall: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        if self.peak < 0 or not 0 <= self.rise <= self.fall <= 1 or self.end < 0:
            raise ValueError("a weight needs peak >= 0, 0 <= rise <= fall <= 1 and end >= 0")

    def at(self, step: int, steps: int) -> float:
        """Weight at a step, counted from 0."""
        share = step / max(steps - 1, 1)
        if share < self.rise:
            return self.peak * share / self.rise
        if share > self.fall:
            return cosine(self.peak, self.peak * self.end, (share - self.fall) / (1 - self.fall))
        return self.peak
