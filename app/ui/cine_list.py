"""List of the cines of the project."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QBrush, QColor, QIcon
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from app.ui import theme
from app.workspace.cine_entry import CineEntry, CineState


class CineList(QWidget):
    """One row per cine: file name, frames and annotated frames; the cine worth outlining next is marked.

    Attributes
    ----------
    rows : QListWidget
        The list.
    """

    chosen = Signal(object)  # CineEntry

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        self.rows = QListWidget()
        self.rows.setFrameShape(QListWidget.Shape.NoFrame)
        self.rows.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.rows.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.rows.setSpacing(2)  # separates rows of two lines
        self.rows.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.rows.itemClicked.connect(self._on_clicked)
        column.addWidget(self.rows)
        self._entries: list[CineEntry] = []
        self._shown: list[tuple[str, str, bool]] = []  # text, tooltip and mark of each row
        self._suggested: CineEntry | None = None

    def set_suggested(self, suggested: CineEntry | None) -> None:
        """Mark the cine worth outlining next, or none."""
        self._suggested = suggested
        self._update_rows()

    def show_cines(self, entries: Sequence[CineEntry], selected: CineEntry | None) -> None:
        """Display the entries of the workspace."""
        if list(entries) != self._entries:
            self._entries = list(entries)
            self.rows.clear()
            self.rows.addItems([entry.name for entry in entries])
            self._shown = [("", "", False)] * len(self._entries)
        self._update_rows()
        if selected in self._entries:
            self.rows.setCurrentRow(self._entries.index(selected))

    def _update_rows(self) -> None:
        for row, entry in enumerate(self._entries):
            marked = entry is self._suggested
            shown = (f"{entry.name}\n{_details(entry)}", _tooltip(entry, marked), marked)
            if shown != self._shown[row]:  # update only changed rows: a project may have hundreds of cines
                self._shown[row] = shown
                item = self.rows.item(row)
                item.setText(shown[0])
                item.setToolTip(shown[1])
                item.setIcon(QIcon(theme.tinted("suggested", theme.WARNING, 14)) if marked else QIcon())
                failed = entry.state is CineState.FAILED
                item.setForeground(QBrush(QColor(theme.ERROR)) if failed else QBrush())

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self.chosen.emit(self._entries[self.rows.row(item)])


def _details(entry: CineEntry) -> str:
    """Return the second line of a row: state, view and numbers of frames."""
    if entry.state is CineState.FAILED:
        return "cannot be opened"
    if entry.state is CineState.OPENING:
        return "opening"
    if entry.n_frames is None:
        return "not opened yet"
    view = f"{entry.opened.cine.view}, " if entry.opened is not None and entry.opened.cine.view else ""
    frames = "1 frame" if entry.n_frames == 1 else f"{entry.n_frames} frames"
    return f"{view}{frames}, {entry.n_annotated} annotated"


def _tooltip(entry: CineEntry, marked: bool) -> str:
    lines = [entry.name if entry.path is None else str(entry.path)]
    if marked:
        lines.insert(0, "Worth outlining next")
    if entry.error:
        lines.append(entry.error)
    return "\n".join(lines)
