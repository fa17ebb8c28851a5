"""Throwing a run away."""

from __future__ import annotations

from collections.abc import Callable

from app.domain.errors import ApicalError
from app.pretraining.runs import Run


def delete(run: Run | None, say: Callable[[str], object]) -> None:
    """Throw a run away, if there is one; what stands against it is said."""
    if run is not None:
        try:
            run.delete()
        except ApicalError as error:
            say(str(error))
