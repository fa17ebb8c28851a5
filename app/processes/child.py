"""Run commands of the program in child processes that end with their parent.

The parent's side; `app.child_main` is what the child runs. A line on the child's standard input
asks it to save and stop after its current step. The end of that stream, which is closed however the parent
ends, asks the same, so no process is left running unattended on any system.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.domain.errors import ApicalError

LOCK = "run"
"""File in a run's folder that its child holds locked."""
STOPPED = 130
"""Exit code of a child that stopped because it was asked to."""
CHILD_MODULE = "app.child_main"
"""Started by name in another interpreter: importing it here would import the whole command line."""
_ROOT = Path(__file__).resolve().parents[1]
_KILLED = (137, 0xC0000005, 0xC0000017)  # by a shell's kill; of Windows: access violation, no memory


class Child:
    """One command of the program in a process of its own, below the window's priority.

    Parameters
    ----------
    words : sequence of str
        The command and its arguments.
    run : Path, optional
        Folder that no second child may work in.
    """

    def __init__(self, words: Sequence[str], run: Path | None = None) -> None:
        own = [] if run is None else ["--run", str(run)]
        here = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        flags = [getattr(subprocess, f, 0) for f in ("BELOW_NORMAL_PRIORITY_CLASS", "CREATE_NO_WINDOW")]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", CHILD_MODULE, *own, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,  # a buffer's lock, held by a reading thread, would be in the way at the end
                env={**os.environ, "PYTHONPATH": here, "PYTHONIOENCODING": "utf-8"},
                creationflags=flags[0] | flags[1],
            )
        except OSError as error:
            raise ApicalError(
                f"No further process can be started ({error.strerror}): close other programs, then try again."
            ) from error
        self._lines: list[str] = []
        self._last = ""
        self._output = b""
        self._readers = [
            threading.Thread(target=read, name="child-reader", daemon=True)
            for read in (self._read_lines, self._read_output)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit code once the process has ended and all that it said is here; negative for a signal."""
        code = self._process.poll()
        return None if code is None or any(reader.is_alive() for reader in self._readers) else code

    def lines(self) -> list[str]:
        """What it said on stderr since the last call."""
        new, self._lines = self._lines, []
        return new

    def answer(self) -> dict[str, Any]:
        """The JSON object on its stdout; empty where it gave none."""
        try:
            said = json.loads(self._output)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def complaint(self) -> str:
        """Why it ended, in a sentence, where its code is neither 0 nor that of a stop."""
        if self._last.startswith("apical: "):
            return self._last.removeprefix("apical: ")
        if (self.code or 0) < 0 or self.code in _KILLED:
            return "It was ended from outside, perhaps because the memory was full: close other programs."
        return f"It ended unexpectedly (code {self.code})."

    def stop(self) -> None:
        """Ask it to save and end after the step that it is at."""
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None  # noqa: S101 - opened above
            self._process.stdin.write(b"stop\n")
            self._process.stdin.flush()

    def leave(self) -> None:
        """Ask it to stop, and wait for nothing more from it."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - opened above
            self._process.stdin.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self.leave()  # nothing can be asked of it any more; the readers close the rest at its end

    def _read_lines(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - opened above
        with self._process.stderr as said:
            for line in said:
                text = line.decode(errors="replace").strip()
                if text:
                    self._lines.append(text)
                    self._last = text

    def _read_output(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened above
        with self._process.stdout as said:
            self._output = said.read()
