"""What the window remembers: its place on the screen, and how each cine was looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QSettings, QTimer

from app import paths as places
from app.domain.errors import ProjectError
from app.workspace.opened_cine import OpenedCine

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow

VIEW_SAVE_MS = 800


class WindowMemory:
    """Keeps the window's own state with the settings, and that of its cines with the project."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self._timer = QTimer(window)
        self._timer.setSingleShot(True)
        self._timer.setInterval(VIEW_SAVE_MS)
        self._timer.timeout.connect(self.save_view)

    def restore(self) -> None:
        """Make the window look as it did when it was closed last."""
        settings = _settings()
        if settings is None:
            return
        geometry = settings.value("geometry")
        if isinstance(geometry, QByteArray):
            self._window.restoreGeometry(geometry)
        if settings.value("uncertainty", False, bool):
            self._window.layers.show_uncertainty(True)

    def save(self) -> None:
        """Keep what the window looks like."""
        self.save_view()
        settings = _settings()
        if settings is not None:
            settings.setValue("geometry", self._window.saveGeometry())
            settings.setValue("uncertainty", self._window.layers.doubts_shown)

    def restore_view(self, opened: OpenedCine) -> None:
        """Zoom and levels as they were for this cine."""
        state = self._window.workspace.view().get("canvas", {}).get(str(opened.id))
        if state:
            self._window.canvas.restore_view(state)

    def save_view(self) -> None:
        """Keep zoom, levels and frame of the current cine."""
        w, opened = self._window, self._window.current
        if opened is None or w.workspace.project is None:
            return
        view = w.workspace.view()
        kept = {**view.get("canvas", {}), str(opened.id): w.canvas.view_state()}
        w.workspace.save_view({**view, "canvas": kept})

    def save_view_soon(self) -> None:
        """Keep them once the hand rests."""
        self._timer.start()


def _settings() -> QSettings | None:
    """Where the window's place is kept: with all the rest, so that APICAL_HOME moves it too."""
    try:
        return QSettings(str(places.config_dir() / "window.ini"), QSettings.Format.IniFormat)
    except ProjectError:
        return None
