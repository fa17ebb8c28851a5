"""Table of numbers: name, value, interval and origin."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QWidget

from app.ui import theme
from app.workspace.measuring.contents import Row

LABEL_WIDTH = 84


class RowTable(QWidget):
    """Displays rows with thin lines between them; labels are reused, so that updates are cheap."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnMinimumWidth(0, LABEL_WIDTH)
        self._grid.setColumnStretch(2, 1)
        self._cells: list[tuple[QLabel, QLabel, QLabel, QFrame]] = []
        self._rows: tuple[Row, ...] = ()

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Display rows."""
        while len(self._cells) < len(rows):
            self._add_row()
        for index, (name, value, detail, line) in enumerate(self._cells):
            visible = index < len(rows)
            for widget in (name, value, detail, line):
                widget.setVisible(visible)
            if visible and (index >= len(self._rows) or rows[index] != self._rows[index]):
                row = rows[index]
                name.setText(row.label)
                value.setText(row.value)
                detail.setText(row.note)
                for widget in (name, value, detail):
                    widget.setToolTip(f"<qt>{escape(row.help)}</qt>" if row.help else "")
        self._rows = tuple(rows)

    def texts(self) -> list[tuple[str, str, str]]:
        """Return the displayed texts, one tuple per row."""
        return [(row.label, row.value, row.note) for row in self._rows]

    def _add_row(self) -> None:
        name, value, detail = QLabel(), QLabel(), QLabel()
        name.setWordWrap(True)
        name.setFixedWidth(LABEL_WIDTH)
        value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        font = value.font()
        font.setBold(True)
        value.setFont(font)
        value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        value.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        detail.setWordWrap(True)
        small = detail.font()
        small.setPointSizeF(max(8.0, small.pointSizeF() * 0.85))
        detail.setFont(small)
        detail.setStyleSheet(f"color: {theme.MUTED};")
        line = QFrame()
        line.setFixedHeight(1)
        line.setStyleSheet(f"background: {theme.RAISED};")
        at = 2 * len(self._cells)
        for column, widget in enumerate((name, value, detail)):
            self._grid.addWidget(widget, at, column)
        self._grid.addWidget(line, at + 1, 0, 1, 3)
        self._cells.append((name, value, detail, line))
