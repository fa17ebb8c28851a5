"""On what a benchmark ran: no host name, nothing of the user."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vjepa_core.processor import processor_name


def machine(*distributions: str) -> dict[str, Any]:
    """Cores, processor, system, Python and the versions of these distributions."""
    versions = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "cores": os.cpu_count(),
        "cpu": processor_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }
