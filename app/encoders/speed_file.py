"""Location of the file with measurements of the processor, for this process and the processes it starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from app import paths
from vjepa_core.processor import SPEED_FILE_VARIABLE


@contextlib.contextmanager
def speed_file() -> Iterator[None]:
    """Set the environment variable with the file's path, unless it is set already."""
    if os.environ.get(SPEED_FILE_VARIABLE):
        yield
        return
    os.environ[SPEED_FILE_VARIABLE] = str(paths.speed_file())
    try:
        yield
    finally:
        os.environ.pop(SPEED_FILE_VARIABLE, None)
