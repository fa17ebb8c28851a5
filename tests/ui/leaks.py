"""Windows, threads and processes that a test leaks."""

from __future__ import annotations

import multiprocessing
import threading
import time

from PySide6.QtWidgets import QApplication

THREAD_PREFIXES = ("open", "cine-sender", "engine-reader", "apical-decode", "measure")
GRACE_PERIOD_S = 10.0


def leaked() -> list[str]:
    """Return the names of what still exists after a grace period."""
    until = time.monotonic() + GRACE_PERIOD_S
    while (found := _found()) and time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.02)
    return found


def _found() -> list[str]:
    threads = [t.name for t in threading.enumerate() if t.name.startswith(THREAD_PREFIXES)]
    processes = [p.name for p in multiprocessing.active_children()]
    windows = [type(w).__name__ for w in QApplication.topLevelWidgets() if w.isVisible()]
    return threads + processes + windows
