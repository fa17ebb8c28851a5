"""A long benchmark that is ended early keeps the rows that are there."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.commands.report import describe_error

log = logging.getLogger(__name__)


@dataclass
class Ending:
    """How the measuring ended; all as it is after a whole run."""

    stopped: bool = False
    error: str | None = None
    exit_code: int = 0

    @property
    def fields(self) -> dict[str, Any]:
        """For a benchmark's result."""
        return {"stopped": self.stopped, "error": self.error, "exit_code": self.exit_code}


@contextmanager
def keeping(rows: Sized) -> Iterator[Ending]:
    """Take Ctrl+C, a SIGTERM or an error as the end of the run, if there is a row by then.

    SIGTERM is for a run in the background, where a shell has Ctrl+C ignored; here SIGINT is heard there too.
    An error is told at once. Without a row, all of them go on as they came.
    """
    ending = Ending()
    before = {n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ending
    except (KeyboardInterrupt, Exception) as end:
        if not rows:
            raise
        ending.stopped = True
        if not isinstance(end, KeyboardInterrupt):
            ending.error, ending.exit_code = describe_error(end)
            log.error("%s The rows measured before are kept.", ending.error)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_short(result: dict[str, Any]) -> list[str]:
    """A sentence for the report where the run did not come to its end, else nothing."""
    if not result["stopped"]:
        return []
    why = " by an error" if result.get("error") else ""
    return [f"Stopped{why} before its end: not everything was measured."]
