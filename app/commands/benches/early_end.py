"""Early end of a long benchmark with the results so far."""

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
    """End of a benchmark; the defaults are those of a complete run."""

    stopped: bool = False
    error: str | None = None
    exit_code: int = 0

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the benchmark's result."""
        return {"stopped": self.stopped, "error": self.error, "exit_code": self.exit_code}


@contextmanager
def keep_results(rows: Sized) -> Iterator[Ending]:
    """End the block after Ctrl+C, SIGTERM or an error if there are results; otherwise re-raise the exception.

    SIGTERM is for runs in the background, where shells ignore Ctrl+C. An error is logged at once.

    Parameters
    ----------
    rows : sized
        Results so far; filled within the block.

    Yields
    ------
    Ending
        Set when the block ends.
    """
    ending = Ending()
    before = {n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ending
    except (KeyboardInterrupt, Exception) as error:
        if not rows:
            raise
        ending.stopped = True
        if not isinstance(error, KeyboardInterrupt):
            ending.error, ending.exit_code = describe_error(error)
            log.error("%s The results so far are kept.", ending.error)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def early_end_note(result: dict[str, Any]) -> list[str]:
    """Return a sentence for the report of an incomplete run, else nothing."""
    if not result["stopped"]:
        return []
    cause = " by an error" if result.get("error") else ""
    return [f"Stopped early{cause}: not everything was measured."]
