"""A child process seen from the window's thread: it is looked at a few times a second."""

from __future__ import annotations

import re

from PySide6.QtCore import QObject, QTimer, Signal

from app.processes.child import Child

LOOK_MS = 200
_PROGRESS = re.compile(r"(.+?) (\d+)/(\d+)$")


class Watcher(QObject):
    """Tells how far a child is and when it has ended; never waits for it."""

    looked = Signal()
    # What it does, done, total; not as Qt's integers, which a file of 5 GB overflows.
    progress = Signal(str, object, object)
    ended = Signal(object)  # Child

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.child: Child | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)

    def watch(self, child: Child) -> None:
        """Follow this one."""
        self.child = child
        self._timer.start()

    def drop(self) -> None:
        """End it at once and hear nothing more of it."""
        child, self.child = self.child, None
        self._timer.stop()
        if child is not None:
            child.kill()

    def leave(self) -> None:
        """Ask it to end, so that it can clear up, and hear nothing more of it."""
        child, self.child = self.child, None
        self._timer.stop()
        if child is not None:
            child.detach()

    def _look(self) -> None:
        child = self.child
        if child is None:
            return
        code = child.exit_code
        for line in child.new_lines():
            if found := _PROGRESS.match(line):
                self.progress.emit(found[1], int(found[2]), int(found[3]))
        self.looked.emit()
        if code is not None and child is self.child:
            self._timer.stop()
            self.child = None
            self.ended.emit(child)
