"""Progress on stderr: one line that is rewritten on a terminal, separate lines elsewhere."""

from __future__ import annotations

import sys
import time

_PAUSE_S = 0.1


class Progress:
    """Progress of a command; call ``progress(stage, done, total)``, within a ``with`` block.

    Parameters
    ----------
    every_s : float, optional
        Without a terminal, write lines ``stage done/total`` for a program that reads them, at least this many
        seconds apart within a stage. Default: one line ``stage ...`` at the start of each stage.
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
        """Report the progress of a stage."""
        is_new = stage != self._stage
        self._stage = stage
        pause = _PAUSE_S if self._terminal else self._every_s
        if pause is None:
            if is_new:
                sys.stderr.write(f"{stage} ...\n")
            return
        now = time.monotonic()
        if is_new or done >= total or now - self._shown_at > pause:
            self._shown_at = now
            line = f"{stage} {done}/{total}"
            sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
            sys.stderr.flush()
