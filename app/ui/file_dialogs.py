"""Dialogs to open cines and projects, and to save a project under another name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QWidget

from app.readers.suffixes import name_filter
from app.ui.actions import connect_actions
from app.ui.canvas import CineCanvas
from app.ui.local_files import local_path
from app.workspace.workspace import Workspace

CINES = name_filter()
PROJECTS = "Apical projects (*.apical)"


class FileDialogs:
    """Asks for files and folders, and passes them to the workspace."""

    def __init__(
        self, *, workspace: Workspace, canvas: CineCanvas, actions: Mapping[str, QAction], parent: QWidget
    ) -> None:
        self._workspace = workspace
        self._canvas = canvas
        self._actions = actions
        self._parent = parent
        connect_actions(
            actions,
            {
                "open_files": self.open_files,
                "open_folder": self.open_folder,
                "open_project": self.open_project,
                "save_project_as": self.save_project_as,
            },
        )

    def update_actions(self) -> None:
        """Enable saving if a project is open."""
        self._actions["save_project_as"].setEnabled(self._workspace.project is not None)

    def _folder(self) -> str:
        """Return the folder of the visible cine, where the next cine most likely is."""
        opened = self._workspace.visible_cine
        return "" if opened is None else str(opened.cine.path.parent)

    def open_files(self) -> None:
        """Ask for cines and open them."""
        names, _ = QFileDialog.getOpenFileNames(self._parent, "Open cines", self._folder(), CINES)
        self._workspace.open_paths([local_path(name) for name in names])

    def open_folder(self) -> None:
        """Ask for a folder and open its cines."""
        name = QFileDialog.getExistingDirectory(self._parent, "Open a folder of cines", self._folder())
        if name:
            self._workspace.open_paths([local_path(name)])

    def open_project(self) -> None:
        """Ask for a project and open it."""
        name, _ = QFileDialog.getOpenFileName(self._parent, "Open a project", "", PROJECTS)
        if name:
            self._canvas.finish_stroke()
            self._workspace.open_project(local_path(name))

    def save_project_as(self) -> None:
        """Ask for a file name and continue the project in that file."""
        dialog = QFileDialog(self._parent, "Save the project as", "", PROJECTS)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        # With the suffix the dialog knows the complete name, and asks before it overwrites that file.
        dialog.setDefaultSuffix("apical")
        if dialog.exec():
            self._canvas.finish_stroke()
            self._workspace.save_as(Path(dialog.selectedFiles()[0]))
        dialog.deleteLater()
