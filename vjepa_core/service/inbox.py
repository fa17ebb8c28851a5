"""Requests from the program, received in a thread, so that they can interrupt a job within one step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

from vjepa_core.service.messages import Cancel, CancelReceived, Request, Shutdown
from vjepa_core.service.reporter import Reporter


class Inbox:
    """Queue of received requests.

    Parameters
    ----------
    connection : Connection
        Pipe to the program; if it is closed, `Shutdown` is received.
    reporter : Reporter
        Used to acknowledge `Cancel` at once, because the current step may take long.

    Attributes
    ----------
    arrived : threading.Event
        Set while requests are waiting.
    """

    def __init__(self, connection: Connection, reporter: Reporter) -> None:
        self.arrived = threading.Event()
        self._connection, self._reporter = connection, reporter
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the receiving thread."""
        threading.Thread(target=self._receive, name="listener", daemon=True).start()

    def waiting(self) -> Iterator[Request]:
        """Yield the requests received so far."""
        self.arrived.clear()
        while True:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return
            yield request

    def next(self) -> Request:
        """Wait for the next request."""
        return self._requests.get()

    def _receive(self) -> None:
        while True:
            try:
                request = self._connection.recv()
            except (EOFError, OSError):
                request = Shutdown()
            if isinstance(request, Cancel):
                self._reporter.send(CancelReceived())
            self._requests.put(request)
            self.arrived.set()
            if isinstance(request, Shutdown):
                return
