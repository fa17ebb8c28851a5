"""Entry point of a child process: one command of the program, stopped through standard input.

    python -m app.child_main [--run RUN] COMMAND ...

Nothing imports this module; `app.processes.child` starts it by name.
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
from app.processes.child import LOCK, STOPPED
from app.storage.filelock import FileLock

_LOG = "log.jsonl"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command until it ends or is asked to stop; exit codes as of `apical`, 130 when stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    run = None
    if words[:1] == ["--run"]:
        run, words = Path(words[1]), words[2:]
    # Before the run has its own way to stop there is nothing to save: end at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(os, "nice"):
        os.nice(5)
    ending = threading.Event()
    lock = None
    try:
        if run is not None:
            lock = FileLock(run / LOCK)
        threading.Thread(target=_listen, args=(run, ending), daemon=True).start()
        return cli.main(words)
    except ProjectError:
        sys.stderr.write("apical: Another process works on this run still: wait a minute, then try again.\n")
        return 2
    except KeyboardInterrupt:
        return STOPPED
    finally:
        ending.set()
        if lock is not None:
            lock.release()


def _listen(run: Path | None, ending: threading.Event) -> None:
    asked = False
    # Not sys.stdin: its lock, held by a waiting thread, would be in the way when the process ends.
    while os.read(0, 64):
        if not asked:
            _ask_to_stop(run, ending)
        asked = True
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # nobody reads any more, and a broken pipe must not keep the run from saving
        os.dup2(silence, stream)
    if not asked:  # a second word would cut off the step that is to be saved
        _ask_to_stop(run, ending)


def _ask_to_stop(run: Path | None, ending: threading.Event) -> None:
    if ending.is_set():
        return
    interrupt_main(signal.SIGTERM)
    # A run that has done no step has nothing to save: no need to wait until all cines are read.
    if run is not None and not (run / _LOG).exists() and not ending.wait(0.5):
        interrupt_main(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
