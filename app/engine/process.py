"""The engine process seen from the program: start it, talk to it, notice when it dies, kill it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from app.encoders.registry import encoder_folders
from app.log import ErrorLogHandler, log_error
from vjepa_core.errors import one_line
from vjepa_core.service.messages import Failed, Report, Request, Shutdown

logger = logging.getLogger(__name__)


def _child(
    connection: Connection, cache_folder: str, scratch_folder: str, encoder: str, encoder_folders: list[str]
) -> None:
    # Ctrl+C in the terminal is meant for the program, which then ends its engine.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("vjepa_core").addHandler(ErrorLogHandler())
    try:
        # By name: nothing on this side of the boundary may pull torch in.
        service = importlib.import_module("vjepa_core.service.engine")
        service.serve(connection, cache_folder, scratch_folder, encoder, encoder_folders)
    except Exception as error:
        # The process stays: one that ended would be taken for a crash and started again, and again.
        where = log_error(error)
        _stay_without_work(connection, f"The learning engine cannot run ({one_line(error)}); {where}")
    # All that is worth keeping is on the disk: tearing torch down would keep a closing window waiting.
    logging.shutdown()
    os._exit(0)


def _stay_without_work(connection: Connection, why: str) -> None:
    """Say why there is no engine, and end when told to or when the program ends."""
    with contextlib.suppress(OSError, EOFError):
        connection.send(Failed(why))
        while not isinstance(connection.recv(), Shutdown):
            pass


class EngineProcess:
    """One spawned engine.

    Parameters
    ----------
    on_report, on_death : callable
        Called from a thread of this object; `on_death` gets this object and the exit code, once, unless
        `stop` was called.
    """

    def __init__(
        self,
        *,
        cache_folder: Path,
        scratch_folder: Path,
        encoder: str,
        on_report: Callable[[Report], None],
        on_death: Callable[[EngineProcess, int | None], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_child,
            args=(
                theirs,
                str(cache_folder),
                str(scratch_folder),
                encoder,
                [str(f) for f in encoder_folders()],
            ),
            name="apical-engine",
            daemon=True,
        )
        self._on_report, self._on_death = on_report, on_death
        self._stopping = False
        self._answered = False
        self._outbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._process.start()
        theirs.close()
        self._writer = threading.Thread(target=self._write, name="engine-writer", daemon=True)
        self._writer.start()
        self._reader = threading.Thread(target=self._read, name="engine-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def send(self, request: Request) -> None:
        """Pass a request on and return at once; to a dead engine it is lost, and `on_death` tells."""
        self._outbox.put(request)

    def stop(self, patience_s: float = 2.0) -> None:
        """Ask it to end, then kill it; one that is still starting hears nothing and has nothing to lose."""
        self._stopping = True
        self.send(Shutdown())
        if self._answered:
            self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._reader.join(1.0)

    def kill(self) -> None:
        """End it at once; `on_death` is called as for a crash."""
        self._process.kill()

    def _write(self) -> None:
        # A thread of its own: a pipe holds a few hundred requests, and an engine that is still importing
        # torch reads none.
        while (request := self._outbox.get()) is not None:
            try:
                self._connection.send(request)
            except (OSError, ValueError):
                return

    def _read(self) -> None:
        while True:
            try:
                report = self._connection.recv()
            except (EOFError, OSError):
                break
            self._answered = True
            if self._stopping:
                continue
            try:
                self._on_report(report)
            except Exception:  # the next report must still be heard
                logger.exception("a report of the engine could not be taken")
        self._process.join(2.0)
        self._outbox.put(None)
        self._writer.join(2.0)
        self._connection.close()
        if not self._stopping:
            self._on_death(self, self._process.exitcode)
