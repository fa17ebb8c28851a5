"""Remaining time of the work that the learning engine reports."""

from __future__ import annotations

import time
from collections.abc import Callable

from vjepa_core.service.messages import Progress, Stage

MIN_OBSERVED_S = 2.0
"""Minimum observation time before an estimate is shown."""


class RemainingTime:
    """Estimates the remaining time of the current stage from its rate so far.

    Parameters
    ----------
    clock : callable
        Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage: tuple[int, int, Stage, int] | None = None
        self._start = 0.0
        self._done_at_start = 0

    def update(self, progress: Progress) -> float | None:
        """Return the remaining seconds of a stage; None if they are not known yet."""
        stage = progress.cine_id, progress.revision, progress.stage, progress.total
        if stage != self._stage or progress.done < self._done_at_start:
            self._stage, self._start, self._done_at_start = stage, self._clock(), progress.done
            return None
        elapsed, done = self._clock() - self._start, progress.done - self._done_at_start
        if elapsed < MIN_OBSERVED_S or done <= 0:
            return None
        return elapsed / done * max(progress.total - progress.done, 0)
