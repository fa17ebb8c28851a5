"""The cines on the table."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from app.ui import theme
from app.workspace.opened_cine import OpenedCine


class CineList(QWidget):
    """One row a cine: file name, frames, how many are annotated; an amber diamond where to go on."""

    chosen = Signal(object)  # OpenedCine

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        self._list = QListWidget()
        self._list.setFrameShape(QListWidget.Shape.NoFrame)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setSpacing(2)  # two lines a cine: rows must be told apart
        self._list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._list.itemClicked.connect(self._clicked)
        column.addWidget(self._list)
        self._rows: list[tuple[OpenedCine, str]] = []
        self._suggested: OpenedCine | None = None

    def set_suggested(self, suggested: OpenedCine | None) -> None:
        """Mark the cine worth outlining next, None for none."""
        self._suggested = suggested
        self._mark()

    def _mark(self) -> None:
        for row, (opened, _) in enumerate(self._rows):
            item, marked = self._list.item(row), opened is self._suggested
            item.setIcon(QIcon(theme.tinted("suggested", theme.WARNING, 14)) if marked else QIcon())
            path = str(opened.cine.path)
            item.setToolTip(f"Worth outlining next\n{path}" if marked else path)

    def show_cines(self, cines: Sequence[OpenedCine], current: OpenedCine | None) -> None:
        """Bring the rows up to date."""
        rows = [(opened, self._text(opened)) for opened in cines]
        if rows != self._rows:
            self._rows = rows
            self._list.clear()
            for _, text in rows:
                self._list.addItem(QListWidgetItem(text))
            self._mark()
        if current in cines:
            self._list.setCurrentRow(list(cines).index(current))  # type: ignore[arg-type]

    @staticmethod
    def _text(opened: OpenedCine) -> str:
        annotated = len(opened.recorder.layer.annotated_frames)
        view = f"{opened.cine.view}, " if opened.cine.view else ""
        frames = "1 frame" if opened.cine.n_frames == 1 else f"{opened.cine.n_frames} frames"
        return f"{opened.cine.path.name}\n{view}{frames}, {annotated} annotated"

    def _clicked(self, item: QListWidgetItem) -> None:
        self.chosen.emit(self._rows[self._list.row(item)][0])
