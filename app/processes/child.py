"""Run commands of the program in child processes that end with their parent.

This is the parent's side; `app.child_main` runs in the child. A line on the child's standard input asks it to
save and stop after its current step. The end of that stream means the same. The operating system closes the
stream however the parent ends, so no child keeps running unattended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from app.domain.errors import ApicalError

LOCK = "run"
"""File in a run's folder that its child holds locked."""
STOPPED = 130
"""Exit code of a child that stopped on request."""
CHILD_MODULE = "app.child_main"
"""Started by name in another interpreter: importing it here would import the whole command line."""
ERROR_PREFIX = "apical: "
"""Start of the last line on stderr of a command that failed."""
_ROOT = Path(__file__).resolve().parents[2]
# SIGKILL, also as reported by a shell; on Windows: out of memory.
_OUT_OF_MEMORY = (-9, 137, 0xC0000017)
_CRASH_SIGNALS = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGTRAP")
# On Windows: access violation.
_CRASHED = (*(-getattr(signal, name) for name in _CRASH_SIGNALS if hasattr(signal, name)), 0xC0000005)


class Child:
    """One command of the program in a child process with low priority.

    Parameters
    ----------
    arguments : sequence of str
        The command and its arguments, as for `apical`.
    run_folder : Path, optional
        Folder of a pre-training run that the child locks: a second child for it ends with an error.

    Raises
    ------
    ApicalError
        The process cannot be started.
    """

    def __init__(self, arguments: Sequence[str], run_folder: Path | None = None) -> None:
        run = [] if run_folder is None else ["--run", str(run_folder)]
        python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        flags = [getattr(subprocess, f, 0) for f in ("BELOW_NORMAL_PRIORITY_CLASS", "CREATE_NO_WINDOW")]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", CHILD_MODULE, *run, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,  # a buffered stream cannot be closed while a thread reads from it
                env={**os.environ, "PYTHONPATH": python_path, "PYTHONIOENCODING": "utf-8"},
                creationflags=flags[0] | flags[1],
            )
        except OSError as error:
            raise ApicalError(
                f"No further process can be started ({error.strerror}): close other programs, then try again."
            ) from error
        self._new_lines: deque[str] = deque()
        self._last_line = ""
        self._output = b""
        self._readers = [
            threading.Thread(target=target, args=(stream,), name="child-reader", daemon=True)
            for target, stream in (
                (self._read_stderr, self._process.stderr),
                (self._read_stdout, self._process.stdout),
            )
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, None until the process has ended and its output was read; negative for a signal."""
        code = self._process.poll()
        return None if code is None or any(reader.is_alive() for reader in self._readers) else code

    def new_lines(self) -> list[str]:
        """Return the lines that the child wrote to stderr since the last call."""
        lines = []
        with contextlib.suppress(IndexError):  # empty; another thread may append meanwhile
            while True:
                lines.append(self._new_lines.popleft())
        return lines

    def result(self) -> dict[str, Any]:
        """Return the JSON object that the command printed; empty if it printed none."""
        try:
            printed = json.loads(self._output)
        except ValueError:
            return {}
        return printed if isinstance(printed, dict) else {}

    def error_message(self) -> str:
        """Return a sentence with the reason for an exit code other than 0 and `STOPPED`."""
        if self._last_line.startswith(ERROR_PREFIX):
            return self._last_line.removeprefix(ERROR_PREFIX)
        code = self.exit_code
        if code in _OUT_OF_MEMORY:
            return "It was killed, perhaps because memory ran out: close other programs."
        if code in _CRASHED:
            return "It crashed."
        if (code or 0) < 0:
            return "It was killed."
        return f"It ended unexpectedly (code {code})."

    def request_stop(self) -> None:
        """Ask the child to save and stop after its current step."""
        with contextlib.suppress(OSError, ValueError):  # ended, or detached
            _opened(self._process.stdin).write(b"stop\n")

    def detach(self) -> None:
        """Ask the child to save and stop, and close the connection: it ends by itself."""
        with contextlib.suppress(OSError):
            _opened(self._process.stdin).close()

    def kill(self) -> None:
        """End the child at once, without saving."""
        self._process.kill()
        self._process.wait()
        self.detach()  # the reading threads close the other streams

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                text = line.decode(errors="replace").strip()
                if text:
                    self._new_lines.append(text)
                    self._last_line = text

    def _read_stdout(self, stream: IO[bytes]) -> None:
        with stream:
            self._output = stream.read()


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - subprocess.PIPE was given
    return stream
