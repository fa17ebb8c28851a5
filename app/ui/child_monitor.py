"""Signals of a child process, which is polled in the UI thread."""

from __future__ import annotations

import re

from PySide6.QtCore import QObject, QTimer, Signal

from app.processes.child import Child

POLL_MS = 200
_PROGRESS = re.compile(r"(.+?) (\d+)/(\d+)$")


class ChildMonitor(QObject):
    """Polls a child process, and emits its progress and its end."""

    polled = Signal()
    # Stage, done, total. The numbers are objects: byte counts of large files would overflow an int of Qt.
    progress = Signal(str, object, object)
    ended = Signal(object)  # Child

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.child: Child | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)

    def watch(self, child: Child) -> None:
        """Start to monitor a child."""
        self.child = child
        self._timer.start()

    def kill(self) -> None:
        """Kill the child, if any, without further signals."""
        child, self.child = self.child, None
        self._timer.stop()
        if child is not None:
            child.kill()

    def detach(self) -> None:
        """Let the child clean up and end by itself, without further signals."""
        child, self.child = self.child, None
        self._timer.stop()
        if child is not None:
            child.detach()

    def _poll(self) -> None:
        child = self.child
        if child is None:
            return
        code = child.exit_code
        for line in child.new_lines():
            if found := _PROGRESS.match(line):
                self.progress.emit(found[1], int(found[2]), int(found[3]))
        self.polled.emit()
        if code is not None and child is self.child:
            self._timer.stop()
            self.child = None
            self.ended.emit(child)
