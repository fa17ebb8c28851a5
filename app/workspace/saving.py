"""Automatic repetition of failed writes."""

from __future__ import annotations

from collections.abc import Callable

from app.workspace.dispatcher import Dispatcher, Timer
from app.workspace.notice import Notice, NotSaved
from app.workspace.opened_cine import OpenedCine

RETRY_MS = 4000


class SaveMonitor:
    """Tracks the strokes that are not on disk, and tries to write them every few seconds.

    Parameters
    ----------
    opened_cines : callable
        Returns the open cines.
    dispatcher : Dispatcher
        Runs callbacks in the thread of the user interface.
    raise_notice, clear_notice : callable
        Called with a notice to show, and with a notice that no longer applies.
    changed : callable
        Called when the number of pending strokes may have changed.
    """

    def __init__(
        self,
        *,
        opened_cines: Callable[[], list[OpenedCine]],
        dispatcher: Dispatcher,
        raise_notice: Callable[[Notice], object],
        clear_notice: Callable[[Notice], object],
        changed: Callable[[], object],
    ) -> None:
        self._opened_cines = opened_cines
        self._dispatcher = dispatcher
        self._raise_notice, self._clear_notice, self._changed = raise_notice, clear_notice, changed
        self._notice: NotSaved | None = None
        self._timer: Timer | None = None

    @property
    def pending(self) -> int:
        """Number of strokes that are not on disk."""
        return sum(opened.recorder.pending for opened in self._opened_cines())

    @property
    def is_retrying(self) -> bool:
        """True while writes are repeated automatically."""
        return self._timer is not None

    def retry(self) -> None:
        """Write the pending strokes now."""
        for opened in self._opened_cines():
            if not opened.recorder.retry():
                break
        self.check()

    def check(self) -> None:
        """Update the notice and the timer after a write."""
        error = next((o.recorder.last_error for o in self._opened_cines() if o.recorder.pending), None)
        notice = None if error is None else NotSaved(str(error))
        if notice != self._notice:
            if self._notice is not None:
                self._clear_notice(self._notice)
            if notice is not None:
                self._raise_notice(notice)
            self._notice = notice
        if notice is None:
            self.stop()
        elif self._timer is None:
            self._timer = self._dispatcher.call_repeatedly(RETRY_MS, self.retry)
        self._changed()

    def stop(self) -> None:
        """Stop the automatic repetition."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
