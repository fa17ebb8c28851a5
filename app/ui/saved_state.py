"""Window state that is restored at the next start: window geometry, and the view of each cine."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QObject, QSettings, QTimer
from PySide6.QtWidgets import QTabWidget, QWidget

from app import paths
from app.domain.errors import ProjectError
from app.ui.canvas import CineCanvas
from app.ui.layer_presenter import LayerPresenter
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace

SAVE_DELAY_MS = 800


class ViewState:
    """Stores zoom, levels and frame of each cine in the project."""

    def __init__(self, *, workspace: Workspace, canvas: CineCanvas, parent: QObject) -> None:
        self._workspace = workspace
        self._canvas = canvas
        self._timer = QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SAVE_DELAY_MS)
        self._timer.timeout.connect(self.save)
        canvas.levels_changed.connect(lambda *_: self.save_soon())

    def restore(self, opened: OpenedCine) -> None:
        """Apply the stored zoom and levels of a cine."""
        state = self._workspace.view().get("canvas", {}).get(str(opened.id))
        if state:
            self._canvas.restore_view(state)

    def save(self) -> None:
        """Store zoom, levels and frame of the visible cine."""
        opened = self._workspace.visible_cine
        if opened is None or self._workspace.project is None:
            return
        view = self._workspace.view()
        canvas = {**view.get("canvas", {}), str(opened.id): self._canvas.view_state()}
        self._workspace.save_view({**view, "canvas": canvas})

    def save_soon(self) -> None:
        """Store them after a short time without further changes."""
        self._timer.start()


def restore_window(window: QWidget, layers: LayerPresenter, tabs: QTabWidget) -> None:
    """Restore geometry, visible tab and display options of the previous session."""
    settings = _settings()
    if settings is None:
        return
    geometry = settings.value("geometry")
    if isinstance(geometry, QByteArray):
        window.restoreGeometry(geometry)
    if settings.value("uncertainty", False, bool):
        layers.show_doubt(True)
    is_learning = settings.value("learning_tab", False, bool)
    tabs.setCurrentIndex(1 if is_learning else 0)


def save_window(window: QWidget, layers: LayerPresenter, tabs: QTabWidget) -> None:
    """Store geometry, visible tab and display options for the next session."""
    settings = _settings()
    if settings is not None:
        settings.setValue("geometry", window.saveGeometry())
        settings.setValue("uncertainty", layers.doubt_visible)
        settings.setValue("learning_tab", tabs.currentIndex() == 1)


def _settings() -> QSettings | None:
    """Return the settings file, in the folder that APICAL_HOME can move; None if it cannot be used."""
    try:
        return QSettings(str(paths.config_dir() / "window.ini"), QSettings.Format.IniFormat)
    except ProjectError:
        return None
