"""Progress on stderr: one line that updates itself on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import sys
import time

_PAUSE_S = 0.1


class Progress:
    """Callable as ``progress(stage, done, total)``; use as a context manager, so that the line is ended."""

    def __init__(self) -> None:
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
        if not self._terminal:
            if fresh:
                sys.stderr.write(f"{stage} ...\n")
            return
        now = time.monotonic()
        if fresh or done >= total or now - self._shown_at > _PAUSE_S:
            self._shown_at = now
            sys.stderr.write(f"\r\x1b[K{stage} {done}/{total}")
            sys.stderr.flush()
