"""Total memory of the machine and recognition of out-of-memory errors, without importing torch."""

from __future__ import annotations

import ctypes
import os
import sys

_MESSAGES = (
    "out of memory",
    "outofmemory",  # OpenCV
    "insufficient memory",
    "can't allocate",
    "cannot allocate",
    "not enough memory",
    "alloc_failed",
)


def machine_memory() -> int | None:
    """Return the total memory of the machine in bytes, or None if the system does not report it."""
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def is_lack_of_memory(error: BaseException) -> bool:
    """Return True if the machine or a GPU ran out of memory.

    The message is inspected too, because torch raises a plain RuntimeError when a CPU allocation fails.
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(message in text for message in _MESSAGES)


def _windows_memory() -> int | None:
    class Status(ctypes.Structure):  # MEMORYSTATUSEX
        _fields_ = [
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", *"abcde")),
        ]

    status = Status(length=ctypes.sizeof(Status))
    succeeded = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.total) if succeeded else None
