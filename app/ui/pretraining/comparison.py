"""Before and after on the user's own labels: a table of Dice, and pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QLabel,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.ui import theme
from app.ui.dialog_widgets import wrapped_label

PICTURE = 270  # pixels wide
NOTHING = 0.0005  # a difference that three decimals do not show


class Comparison(QWidget):
    """Shows the answer of `apical encoders compare`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.note = wrapped_label()
        self.table = QTableWidget(0, 3)
        self.table.setAccessibleName("Overlap with your outlines")
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self._pictures = QScrollArea()
        self._pictures.setWidgetResizable(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.note)
        column.addWidget(self.table)
        column.addWidget(self._pictures, 1)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.note.hide()
        self.table.hide()
        self._pictures.hide()

    def show_answer(self, answer: Mapping[str, Any]) -> None:
        """Show what there is: without enough labels there is no table."""
        pair = list(answer.get("encoders", ()))[:2]
        self.note.setText(str(answer.get("note") or ""))
        self.note.setVisible(bool(self.note.text()))
        scored = len(pair) == 2 and all(one.get("mean_dice") is not None for one in pair)
        self.table.setVisible(scored)
        if scored:
            self._fill(pair, answer.get("classes", ()))
        pictures = list(answer.get("pictures", ()))
        self._pictures.setVisible(bool(pictures))
        if pictures:
            self._hang(pictures, [str(one.get("name", "")) for one in pair])

    def _fill(self, pair: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
        rows = [(str(name), [one["per_class"].get(name) for one in pair]) for name in classes]
        rows = [(name, values) for name, values in rows if None not in values]
        rows.append(("All structures", [one["mean_dice"] for one in pair]))
        names = [f"{when}: {one['name']}" for when, one in zip(("Before", "After"), pair, strict=True)]
        self.table.setHorizontalHeaderLabels([*names, "Difference"])
        self.table.setRowCount(len(rows))
        self.table.setVerticalHeaderLabels([name for name, _ in rows])
        for row, (_, (before, after)) in enumerate(rows):
            change = after - before
            colour = theme.TEXT if abs(change) < NOTHING else theme.BETTER if change > 0 else theme.WARNING
            for place, (text, tint) in enumerate(
                ((f"{before:.3f}", theme.TEXT), (f"{after:.3f}", theme.TEXT), (f"{change:+.3f}", colour))
            ):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                cell.setForeground(QColor(tint))
                self.table.setItem(row, place, cell)
        frames = pair[0].get("frames", 0)
        self.table.setToolTip(
            f"Mean Dice on {frames} outlined frames left out of the fit: 1 is your area, 0 none of it"
        )
        height = self.table.horizontalHeader().height() + sum(
            self.table.rowHeight(r) for r in range(len(rows))
        )
        self.table.setFixedHeight(height + 4)

    def _hang(self, pictures: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
        wall = QWidget()
        grid = QGridLayout(wall)
        grid.setHorizontalSpacing(8)
        for place, title in enumerate(("Your outline", "Before", "After")):
            grid.addWidget(wrapped_label(title, theme.MUTED), 0, place)
        for row, picture in enumerate(pictures):
            files = [picture.get("truth"), *(picture.get("files", {}).get(name) for name in names)]
            where = f"cine {picture.get('cine')}, frame {picture.get('frame')}"
            for place, file in enumerate(files):
                grid.addWidget(_picture(file, where), 1 + row, place)
        grid.setRowStretch(1 + len(pictures), 1)
        self._pictures.setWidget(wall)


def _picture(file: object, where: str) -> QLabel:
    shown = QLabel()
    shown.setToolTip(where)
    shown.setAlignment(Qt.AlignmentFlag.AlignTop)
    pixels = QPixmap(str(file)) if file and Path(str(file)).is_file() else QPixmap()
    if pixels.isNull():
        shown.setText("no picture")
    else:
        shown.setPixmap(pixels.scaledToWidth(PICTURE, Qt.TransformationMode.SmoothTransformation))
    return shown
