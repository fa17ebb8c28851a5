"""Windows, threads and processes that a test has left behind."""

from __future__ import annotations

import multiprocessing
import threading
import time

from PySide6.QtWidgets import QApplication

OURS = ("open", "cine-sender", "engine-reader", "apical-decode")
PATIENCE_S = 10.0


def leaked() -> list[str]:
    """Return the names of what still exists after a grace period."""
    until = time.monotonic() + PATIENCE_S
    while (found := _found()) and time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.02)
    return found


def _found() -> list[str]:
    threads = [t.name for t in threading.enumerate() if t.name.startswith(OURS)]
    processes = [p.name for p in multiprocessing.active_children()]
    windows = [type(w).__name__ for w in QApplication.topLevelWidgets() if w.isVisible()]
    return threads + processes + windows
