"""Start of the window."""

from __future__ import annotations

import contextlib
import linecache
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from psygnal import EmitLoopError
from PySide6.QtCore import QMessageLogContext, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication

from app.log import log_error
from app.ui.main_window import MainWindow
from app.ui.qt_dispatcher import QtDispatcher
from app.ui.theme import apply_theme
from app.workspace.notice import Level
from app.workspace.workspace import Workspace

logger = logging.getLogger(__name__)


def application() -> QApplication:
    """Return the QApplication of the process with the theme applied; it is created at the first call."""
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        qInstallMessageHandler(_log_qt)
        app = QApplication(["apical"])
        app.setApplicationName("apical")
        app.setApplicationDisplayName("Apical")
        apply_theme(app)
    return app


def _log_qt(kind: QtMsgType, _context: QMessageLogContext, text: str) -> None:
    is_error = kind in (QtMsgType.QtCriticalMsg, QtMsgType.QtFatalMsg)
    logger.log(logging.ERROR if is_error else logging.DEBUG, "Qt: %s", text)


def run(paths: Sequence[Path], *, demo: bool = False, screenshot: Path | None = None) -> int:
    """Open the window, and return when it is closed.

    Parameters
    ----------
    paths : sequence of Path
        Cines, folders or projects to open.
    demo : bool
        True to open the demo instead.
    screenshot : Path, optional
        PNG file to which a picture of the finished demo is written; the window is not shown.

    Returns
    -------
    int
        Exit code.
    """
    if screenshot is not None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = application()
    workspace = Workspace(QtDispatcher())
    window = MainWindow(workspace)
    linecache.clearcache()  # PySide6 fills it with the source of every module: 25 MB
    window.show()
    if screenshot is not None:
        from app.ui.demo import capture

        return capture(app, window, screenshot)
    if demo:
        from app.ui.demo import open_demo

        QTimer.singleShot(0, lambda: open_demo(window))
    elif paths:
        QTimer.singleShot(0, lambda: workspace.open_paths(list(paths)))
    with _closed_by_ctrl_c(window), report_faults(window):
        code = app.exec()
    workspace.close()
    return code


@contextlib.contextmanager
def report_faults(window: MainWindow) -> Iterator[None]:
    """Report unexpected errors in log and banner instead of printing them, possibly with patient data."""
    before, before_in_threads = sys.excepthook, threading.excepthook

    def in_window(_kind: object, error: BaseException, _trace: object) -> None:
        while isinstance(error, EmitLoopError) and error.__cause__ is not None:
            error = error.__cause__  # raised by a callback of a signal of the workspace
        window.banner.show_message(
            f"An internal error occurred ({type(error).__name__}); {log_error(error)}", Level.ERROR
        )

    def in_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None:
            log_error(failed.exc_value)

    sys.excepthook, threading.excepthook = in_window, in_thread
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = before, before_in_threads


@contextlib.contextmanager
def _closed_by_ctrl_c(window: MainWindow) -> Iterator[None]:
    """Close the window on Ctrl+C in the terminal; a second Ctrl+C ends the program."""
    before = signal.getsignal(signal.SIGINT)

    def close(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        window.close()

    signal.signal(signal.SIGINT, close)
    timer = QTimer()  # gives Python the opportunity to handle the signal
    timer.timeout.connect(lambda: None)
    timer.start(200)
    try:
        yield
    finally:
        timer.stop()
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(run([Path(argument) for argument in sys.argv[1:]]))
