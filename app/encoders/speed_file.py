"""Where measurements of the processor are kept: one file for the program and all that it starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from app import paths
from vjepa_core.processor import SPEED_FILE_VARIABLE


@contextlib.contextmanager
def speed_file() -> Iterator[None]:
    """Name the file to the learning core, in this process and in those that it starts.

    One that is named already stays.
    """
    if os.environ.get(SPEED_FILE_VARIABLE):
        yield
        return
    os.environ[SPEED_FILE_VARIABLE] = str(paths.speed_file())
    try:
        yield
    finally:
        os.environ.pop(SPEED_FILE_VARIABLE, None)
