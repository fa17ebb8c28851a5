"""How much memory the machine has, and whether an error says that it did not suffice; free of torch."""

from __future__ import annotations

import ctypes
import os
import sys

_WORDS = (
    "out of memory",
    "outofmemory",  # OpenCV
    "insufficient memory",
    "can't allocate",
    "cannot allocate",
    "not enough memory",
    "alloc_failed",
)


def machine_memory() -> int | None:
    """Bytes of memory that the machine has in all; None where the system does not tell."""
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or a GPU: torch says the one in a plain RuntimeError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _WORDS)


def _windows_memory() -> int | None:
    class Status(ctypes.Structure):  # MEMORYSTATUSEX
        _fields_ = [
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", *"abcde")),
        ]

    status = Status(length=ctypes.sizeof(Status))
    found = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.total) if found else None
