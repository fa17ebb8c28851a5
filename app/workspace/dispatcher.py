"""Dispatchers, which run callbacks in the thread of the user interface."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

Callback = Callable[[], object]


class Timer(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Cancel the callback; a second call has no effect."""


class Dispatcher(Protocol):
    """Runs callbacks in one thread, that of the user interface.

    The workspace does slow work in other threads. It posts the results through a dispatcher, so that all its
    state changes and signals happen in one thread.
    """

    def post(self, callback: Callback) -> None:
        """Run a callback soon, in the order of the calls. May be called from any thread."""

    def call_later(self, delay_ms: int, callback: Callback) -> Timer:
        """Run a callback once after a delay in milliseconds."""

    def call_repeatedly(self, interval_ms: int, callback: Callback) -> Timer:
        """Run a callback every `interval_ms` milliseconds until the timer is cancelled."""


class QueueDispatcher:
    """A dispatcher without an event loop: callbacks run when the owner calls `run_pending` or `run_until`."""

    def __init__(self) -> None:
        self._posted: queue.SimpleQueue[Callback] = queue.SimpleQueue()
        self._scheduled: list[tuple[float, int, _ScheduledCallback]] = []
        self._order = itertools.count()

    def post(self, callback: Callback) -> None:
        """Run a callback at the next `run_pending`. May be called from any thread."""
        self._posted.put(callback)

    def call_later(self, delay_ms: int, callback: Callback) -> Timer:
        """Run a callback once after a delay in milliseconds."""
        return self._schedule(_ScheduledCallback(callback, delay_ms / 1000, repeats=False))

    def call_repeatedly(self, interval_ms: int, callback: Callback) -> Timer:
        """Run a callback every `interval_ms` milliseconds until the timer is cancelled."""
        return self._schedule(_ScheduledCallback(callback, interval_ms / 1000, repeats=True))

    def run_pending(self) -> None:
        """Run the callbacks that are due."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._posted.get_nowait()()
        now = time.monotonic()
        while self._scheduled and self._scheduled[0][0] <= now:
            scheduled = heapq.heappop(self._scheduled)[2]
            if not scheduled.cancelled.is_set():
                if scheduled.repeats:
                    self._schedule(scheduled)
                scheduled.callback()

    def run_until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Run callbacks until a condition holds.

        Raises
        ------
        TimeoutError
            If the condition does not hold in time.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError
            self.run_pending()
            time.sleep(0.002)

    def _schedule(self, scheduled: _ScheduledCallback) -> Timer:
        entry = (time.monotonic() + scheduled.delay_s, next(self._order), scheduled)
        heapq.heappush(self._scheduled, entry)
        return scheduled


class _ScheduledCallback:
    def __init__(self, callback: Callback, delay_s: float, *, repeats: bool) -> None:
        self.callback, self.delay_s, self.repeats = callback, delay_s, repeats
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()
