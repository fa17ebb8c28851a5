"""What a test must not leave behind: windows, threads of the program, processes."""

from __future__ import annotations

import multiprocessing
import threading
import time

from PySide6.QtWidgets import QApplication

OURS = ("open", "cine-sender", "engine-reader", "apical-decode")
PATIENCE_S = 10.0


def left_alive() -> list[str]:
    """Name what is still there, after waiting a moment for it to end."""
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
