"""Description of the machine of a benchmark, without host and user names."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vjepa_core.processor import processor_name


def machine(*distributions: str) -> dict[str, Any]:
    """Describe the machine.

    Parameters
    ----------
    *distributions : str
        Distributions whose versions are included.

    Returns
    -------
    dict
        Keys: cores, cpu, system, python, versions.
    """
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
