"""Dispatcher of the workspace that runs callbacks in Qt's event loop."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal, Slot

from app.workspace.dispatcher import Callback, Timer


class QtDispatcher(QObject):
    """Runs callbacks in the thread of the application object, which owns the dispatcher."""

    _posted = Signal(object)

    def __init__(self) -> None:
        # Owned by the application, because the last Python reference may be dropped in a worker thread.
        super().__init__(QCoreApplication.instance())
        self._posted.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def post(self, callback: Callback) -> None:
        """Run a callback in a later turn of the event loop. May be called from any thread."""
        self._posted.emit(callback)

    def call_later(self, delay_ms: int, callback: Callback) -> Timer:
        """Run a callback once after a delay in milliseconds."""
        return _QtTimer(self, delay_ms, callback, single_shot=True)

    def call_repeatedly(self, interval_ms: int, callback: Callback) -> Timer:
        """Run a callback every `interval_ms` milliseconds until the timer is cancelled."""
        return _QtTimer(self, interval_ms, callback, single_shot=False)

    @Slot(object)
    def _run(self, callback: Callback) -> None:
        callback()


class _QtTimer(QTimer):
    def __init__(self, parent: QObject, interval_ms: int, callback: Callback, *, single_shot: bool) -> None:
        super().__init__(parent)
        self._callback: Callback | None = callback
        self.setSingleShot(single_shot)
        self.timeout.connect(self._fire)
        self.start(interval_ms)

    def cancel(self) -> None:
        if self._callback is not None:
            self._callback = None
            self.stop()
            self.deleteLater()

    def _fire(self) -> None:
        callback = self._callback
        if self.isSingleShot():
            self.cancel()
        if callback is not None:
            callback()
