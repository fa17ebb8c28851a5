"""What can be said of the processor without torch: its name, and where measurements of it are kept."""

from __future__ import annotations

import platform
from pathlib import Path

SPEED_FILE_VARIABLE = "APICAL_SPEED_FILE"
"""Environment variable: file in which `vjepa_core.encoder.speed` keeps its result for later processes."""


def processor_name() -> str:
    """As the system tells it, "unknown" if it does not."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
