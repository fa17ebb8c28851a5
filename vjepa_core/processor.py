"""Name of the processor and location of the cached speed measurements, without importing torch."""

from __future__ import annotations

import platform
from pathlib import Path

SPEED_FILE_VARIABLE = "APICAL_SPEED_FILE"
"""Environment variable with the file in which `vjepa_core.encoder.speed` caches its measurements."""


def processor_name() -> str:
    """Return the model name reported by the system, or "unknown"."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
