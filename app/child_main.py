"""Entry point of a child process: one command of the program, stopped through standard input.

    python -m app.child_main [--run RUN] COMMAND ...

No module imports this one; `app.processes.child` starts it by name.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Sequence
from pathlib import Path

from app import cli
from app.domain.errors import ProjectError
from app.processes.child import ERROR_PREFIX, LOCK, STOPPED
from app.storage.filelock import FileLock
from vjepa_core.pretraining.files import LOG

_NICENESS = 5
_GRACE_S = 0.5
"""Seconds that a run without steps has to stop by itself."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command until it ends or a stop is requested.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        Exit code of the command, or `STOPPED`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    run_folder = None
    if arguments[:1] == ["--run"]:
        run_folder, arguments = Path(arguments[1]), arguments[2:]
    # Until the run installs its own handler there is nothing to save: end at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    ended = threading.Event()
    lock = None
    try:
        if run_folder is not None:
            lock = FileLock(run_folder / LOCK)
        threading.Thread(target=_stop_on_request, args=(run_folder, ended), daemon=True).start()
        return cli.main(arguments)
    except ProjectError:
        sys.stderr.write(
            f"{ERROR_PREFIX}Another process is still working on this run: wait a minute, then try again.\n"
        )
        return 2
    except KeyboardInterrupt:
        return STOPPED
    finally:
        ended.set()
        if lock is not None:
            lock.release()


def _stop_on_request(run_folder: Path | None, ended: threading.Event) -> None:
    """Stop the command at the first line on standard input, or at its end."""
    requested = False
    # Not sys.stdin: the interpreter cannot exit while a thread waits for it.
    while os.read(0, 64):
        if not requested:
            _stop(run_folder, ended)
        requested = True
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # the parent has ended: writing to its pipes must not keep the run from saving
        os.dup2(null, stream)
    if not requested:  # a second interrupt would abort the step that is to be saved
        _stop(run_folder, ended)


def _stop(run_folder: Path | None, ended: threading.Event) -> None:
    if ended.is_set():
        return
    interrupt_main(signal.SIGTERM)
    # A run without a finished step has nothing to save: do not wait until all cines are read.
    if run_folder is not None and not (run_folder / LOG).exists() and not ended.wait(_GRACE_S):
        interrupt_main(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
