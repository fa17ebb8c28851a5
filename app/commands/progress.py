"""Progress on stderr: one line that updates itself on a terminal, one line a stage or more elsewhere."""

from __future__ import annotations

import sys
import time

_PAUSE_S = 0.1


class Progress:
    """Callable as ``progress(stage, done, total)``; use as a context manager, so that the line is ended.

    Parameters
    ----------
    every_s : float, optional
        Where there is no terminal: write lines ``stage done/total``, at most this often within a stage, for
        a program that reads them. Default one line ``stage ...`` when a stage begins.
    """

    def __init__(self, every_s: float | None = None) -> None:
        self._every_s = every_s
        self._terminal = sys.stderr.isatty()
        self._stage = ""
        self._shown_at = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal and self._stage:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is."""
        fresh = stage != self._stage
        self._stage = stage
        pause = _PAUSE_S if self._terminal else self._every_s
        if pause is None:
            if fresh:
                sys.stderr.write(f"{stage} ...\n")
            return
        now = time.monotonic()
        if fresh or done >= total or now - self._shown_at > pause:
            self._shown_at = now
            line = f"{stage} {done}/{total}"
            sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
            sys.stderr.flush()
