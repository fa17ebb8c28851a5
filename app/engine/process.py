"""The engine process: start, communication, end, and detection of a crash."""

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
from app.engine.texts import engine_failure_text
from app.log import ErrorLogHandler, log_error
from vjepa_core.service.messages import Failed, FailureKind, Report, Request, Shutdown

logger = logging.getLogger(__name__)


def _run_engine(
    connection: Connection, cache_folder: str, scratch_folder: str, encoder: str, encoder_folders: list[str]
) -> None:
    # Ctrl+C in the terminal is handled by the program, which then ends its engine.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("vjepa_core").addHandler(ErrorLogHandler())
    try:
        # Imported by name, so that torch is not imported by the program itself.
        service = importlib.import_module("vjepa_core.service.engine")
        service.serve(connection, cache_folder, scratch_folder, encoder, encoder_folders)
    except Exception as error:
        # Do not end the process: the program would treat that as a crash and start another engine.
        log_hint = log_error(error)
        _wait_for_shutdown(connection, engine_failure_text(error, log_hint))
    # Everything of value is on disk; finalising torch would only delay the end of the program.
    logging.shutdown()
    os._exit(0)


def _wait_for_shutdown(connection: Connection, text: str) -> None:
    """Report why there is no engine; return on `Shutdown` or when the program ends."""
    with contextlib.suppress(OSError, EOFError):
        connection.send(Failed(FailureKind.ENGINE, text))
        while not isinstance(connection.recv(), Shutdown):
            pass


class EngineProcess:
    """One spawned engine process.

    Parameters
    ----------
    cache_folder, scratch_folder : Path
        See `vjepa_core.service.engine.Engine`.
    encoder : str
        Name of the encoder.
    on_report : callable
        Called with each report, in a thread of this object.
    on_death : callable
        Called once with this object and the exit code, unless `stop` was called; in a thread of this object.
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
        self._connection, child_end = context.Pipe()
        self._process = context.Process(
            target=_run_engine,
            args=(
                child_end,
                str(cache_folder),
                str(scratch_folder),
                encoder,
                [str(folder) for folder in encoder_folders()],
            ),
            name="apical-engine",
            daemon=True,
        )
        self._on_report, self._on_death = on_report, on_death
        self._is_stopping = False
        self._has_reported = False
        self._outbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._process.start()
        child_end.close()
        self._writer = threading.Thread(target=self._write, name="engine-writer", daemon=True)
        self._writer.start()
        self._reader = threading.Thread(target=self._read, name="engine-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.is_alive()

    def send(self, request: Request) -> None:
        """Queue a request and return at once; requests to a dead engine are lost."""
        self._outbox.put(request)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Shut down the engine, and kill it if it does not end or is still starting.

        Parameters
        ----------
        timeout_s : float
            Time in seconds that the engine has to end.
        """
        self._is_stopping = True
        self.send(Shutdown())
        if self._has_reported:
            self._process.join(timeout_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._reader.join(1.0)

    def kill(self) -> None:
        """Kill the engine; `on_death` is called as for a crash."""
        self._process.kill()

    def _write(self) -> None:
        # A pipe holds a few hundred requests, and an engine that is importing torch does not read them.
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
            self._has_reported = True
            if self._is_stopping:
                continue
            try:
                self._on_report(report)
            except Exception:  # an error must not stop the thread
                logger.exception("a report of the engine could not be handled")
        self._process.join(2.0)
        self._outbox.put(None)
        self._writer.join(2.0)
        self._connection.close()
        if not self._is_stopping:
            self._on_death(self, self._process.exitcode)
