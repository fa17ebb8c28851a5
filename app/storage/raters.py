"""The rater at this machine."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """Return the user name of the operating system, or "rater" if there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "rater"
