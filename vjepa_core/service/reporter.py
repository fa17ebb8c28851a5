"""Reports from the engine to the program."""

from __future__ import annotations

import threading
import time
from multiprocessing.connection import Connection

from vjepa_core.fewshot.view_recogniser import RecognisedView
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import Predicted, Progress, Report, Stage, Suggested, ViewRecognised

PROGRESS_INTERVAL_S = 0.05
"""Minimum time between two progress reports in seconds."""


class Reporter:
    """Sends reports; may be used from several threads.

    Parameters
    ----------
    connection : Connection
        Pipe to the program.

    Attributes
    ----------
    is_broken : bool
        True once the program has closed the pipe.
    """

    def __init__(self, connection: Connection) -> None:
        self.is_broken = False
        self._connection = connection
        self._lock = threading.Lock()
        self._resting: Progress | None = None  # last report, unless there was other progress since
        self._suggested: Suggested | None = None
        self._last_progress = 0.0

    def send(self, report: Report) -> None:
        """Send a report."""
        try:
            with self._lock:
                self._connection.send(report)
        except OSError:
            self.is_broken = True

    def progress(
        self, cine: CineState, stage: Stage, done: int, total: int, loss: float | None = None
    ) -> None:
        """Report progress of a stage; intermediate reports are limited in rate."""
        self._resting = None
        now = time.monotonic()
        if 0 < done < total and now - self._last_progress < PROGRESS_INTERVAL_S:
            return
        self._last_progress = now
        self.send(Progress(cine.cine_id, cine.revision, stage, done, total, loss))

    def resting(self, cine: CineState | None, stage: Stage) -> None:
        """Report that the engine is idle, once."""
        progress = Progress(cine.cine_id, cine.revision, stage) if cine else Progress(0, 0, stage)
        if progress != self._resting:
            self._resting = progress
            self.send(progress)

    def predicted(
        self, cine: CineState, expected_dice: dict[int, float], *, final: bool, draft: bool = False
    ) -> None:
        """Report masks that were written, with the expected Dice by frame."""
        frames, dice = tuple(expected_dice), tuple(expected_dice.values())
        findings = tuple(tuple(map(str, cine.findings(frame))) for frame in frames)
        structures = tuple(cine.structure_dice(frame) for frame in frames)
        self.send(Predicted(cine.cine_id, cine.revision, frames, dice, final, draft, findings, structures))

    def view(self, cine: CineState, recognised: RecognisedView | None) -> None:
        """Report the recognised view of a cine; nothing if there is no view recogniser."""
        if recognised is not None:
            self.send(ViewRecognised(cine.cine_id, recognised.view, recognised.probability))

    def suggested(self, suggested: Suggested) -> None:
        """Report a suggestion, unless it is unchanged."""
        if suggested != self._suggested:
            self._suggested = suggested
            self.send(suggested)
