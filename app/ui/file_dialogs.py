"""Asking for cines and projects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog

from app.readers.suffixes import name_filter
from app.ui.local_files import local_path

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow

CINES = name_filter()
PROJECTS = "Apical projects (*.apical)"


class FileDialogs:
    """Asks over a window, and passes the answer to its workspace."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window

    def _folder(self) -> str:
        """Where one looks for cines first: beside the one on the table."""
        opened = self._window.current
        return "" if opened is None else str(opened.cine.path.parent)

    def open_files(self) -> None:
        """Ask for cines."""
        names, _ = QFileDialog.getOpenFileNames(self._window, "Open cines", self._folder(), CINES)
        self._window.workspace.open_paths([local_path(name) for name in names])

    def open_folder(self) -> None:
        """Ask for a folder of cines."""
        name = QFileDialog.getExistingDirectory(self._window, "Open a folder of cines", self._folder())
        if name:
            self._window.workspace.open_paths([local_path(name)])

    def open_project(self) -> None:
        """Ask for a project."""
        name, _ = QFileDialog.getOpenFileName(self._window, "Open a project", "", PROJECTS)
        if name:
            self._window.canvas.finish_stroke()
            self._window.workspace.open_project(local_path(name))

    def save_project_as(self) -> None:
        """Ask where the project shall go on."""
        dialog = QFileDialog(self._window, "Save the project as", "", PROJECTS)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        # The dialog asks before it overwrites: it must know the whole name, not the one without its end.
        dialog.setDefaultSuffix("apical")
        if dialog.exec():
            self._window.canvas.finish_stroke()
            self._window.workspace.save_as(Path(dialog.selectedFiles()[0]))
        dialog.deleteLater()
