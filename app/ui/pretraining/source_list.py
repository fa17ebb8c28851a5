"""List of the cines, files and folders to train on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget

from app.ui.local_files import local_paths
from app.workspace.cine_entry import CineEntry, CineState

_PATH = Qt.ItemDataRole.UserRole
_ADDED = Qt.ItemDataRole.UserRole + 1


class SourceList(QListWidget):
    """Checkable rows: the cines of the project, and files and folders that were added."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAcceptDrops(True)
        self.setAccessibleName("Cines to train on")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.itemChanged.connect(lambda _: self.changed.emit())

    def show_project(self, entries: Iterable[CineEntry]) -> None:
        """Update the cines of the project; check marks and added rows stay."""
        wanted = {
            _key(entry.path): (entry.path, entry)
            for entry in entries
            if entry.path is not None and entry.state is not CineState.FAILED
        }
        for row in reversed(range(self.count())):
            item = self.item(row)
            if not item.data(_ADDED) and item.data(_PATH) not in wanted:
                self.takeItem(row)
                self.changed.emit()
        keys = self._keys()
        for place, (key, (path, entry)) in enumerate(wanted.items()):
            if key not in keys:
                frames = "" if entry.n_frames is None else f", {entry.n_frames} frames"
                self._add(path, f"{entry.name}{frames}", place)

    def add(self, paths: Iterable[Path]) -> None:
        """Add files and folders, checked."""
        for path in paths:
            if _key(path) not in self._keys():
                kind = "folder" if path.is_dir() else "file"
                self._add(path, f"{path.name or path}, {kind}", self.count(), added=True)

    def chosen(self) -> tuple[str, ...]:
        """Return the paths of the checked rows."""
        rows = [self.item(row) for row in range(self.count())]
        return tuple(
            os.fsdecode(unquote_to_bytes(item.data(_PATH)))
            for item in rows
            if item.checkState() is Qt.CheckState.Checked
        )

    def _keys(self) -> set[str]:
        return {self.item(row).data(_PATH) for row in range(self.count())}

    def _add(self, path: Path, text: str, place: int, *, added: bool = False) -> None:
        item = QListWidgetItem(text)
        item.setToolTip(str(path))
        item.setData(_PATH, _key(path))
        item.setData(_ADDED, added)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked)
        self.insertItem(place, item)
        self.changed.emit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Accept files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Add the dropped files."""
        self.add(local_paths(event.mimeData().urls()))
        event.acceptProposedAction()


def _key(path: Path) -> str:
    """Return a path as ASCII: Qt loses bytes that are not valid UTF-8."""
    return quote_from_bytes(os.fsencode(path))
