"""The demo: an apical four-chamber cine with two outlined frames."""

from __future__ import annotations

import time
from pathlib import Path

from PySide6.QtWidgets import QApplication

from app.demo import cine_path, starter_labels
from app.domain.errors import ApicalError
from app.ui.main_window import MainWindow
from app.workspace.opened_cine import OpenedCine
from vjepa_core.service.messages import Stage

DEMO_FRAME = 14
"""First visible frame; it has no outlines."""

CAPTURE_LIMIT_S = 85.0


def open_demo(window: MainWindow) -> None:
    """Open the demo cine, and add outlines on two frames if it has no annotation yet."""

    def add_labels(opened: OpenedCine) -> None:
        if not opened.recorder.layer.revision:
            for frame, label in starter_labels().items():
                window.workspace.editor.draw(opened, frame, label, "accept")
        if window.visible_cine is opened:
            window.navigation.show_frame(DEMO_FRAME)

    window.workspace.open_paths([cine_path()], on_opened=add_labels)


def capture(app: QApplication, window: MainWindow, target: Path) -> int:
    """Open the demo, wait until learning has finished, and save a picture of the window.

    Raises
    ------
    ApicalError
        If the picture cannot be written, or learning does not finish.
    """
    try:
        open_demo(window)
        started = time.monotonic()
        while not _finished(window):
            app.processEvents()
            time.sleep(0.01)
            if time.monotonic() - started > CAPTURE_LIMIT_S and _has_prediction(window):
                break  # on a slow machine a preview is sufficient
            if time.monotonic() - started > 4 * CAPTURE_LIMIT_S:
                raise ApicalError("Learning did not finish in time: run `apical doctor` to find out why.")
        app.processEvents()
        if not window.grab().save(str(target), "PNG"):
            raise ApicalError(f"{target} cannot be written: choose another folder.")
    finally:
        window.close()
    return 0


def _finished(window: MainWindow) -> bool:
    progress = window.workspace.learner.last_progress
    return _has_prediction(window) and progress is not None and progress.stage is Stage.UP_TO_DATE


def _has_prediction(window: MainWindow) -> bool:
    return window.visible_cine is not None and DEMO_FRAME in window.visible_cine.predictions
