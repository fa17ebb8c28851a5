"""Messages for the user, independent of how they are displayed."""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """Severity of a message."""

    INFO = 0
    WARNING = 1
    ERROR = 2
