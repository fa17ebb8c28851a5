"""Comparison of two encoders on the user's labels: table of Dice, and pictures side by side."""

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

PICTURE_WIDTH = 270
MIN_DIFFERENCE = 0.0005  # smaller ones are not visible in three decimals


class ComparisonView(QWidget):
    """Displays the result of `apical encoders compare`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.note = wrapped_label()
        self.table = QTableWidget(0, 3)
        self.table.setAccessibleName("Overlap with your outlines")
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.pictures = QScrollArea()
        self.pictures.setWidgetResizable(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.note)
        column.addWidget(self.table)
        column.addWidget(self.pictures, 1)
        self.clear()

    def clear(self) -> None:
        """Remove the result."""
        self.note.hide()
        self.table.hide()
        self.pictures.hide()

    def show_result(self, result: Mapping[str, Any]) -> None:
        """Display a result; with too few labels it has no table."""
        pair = list(result.get("encoders", ()))[:2]
        self.note.setText(str(result.get("note") or ""))
        self.note.setVisible(bool(self.note.text()))
        scored = len(pair) == 2 and all(one.get("mean_dice") is not None for one in pair)
        self.table.setVisible(scored)
        if scored:
            self._fill(pair, result.get("classes", ()))
        pictures = list(result.get("pictures", ()))
        self.pictures.setVisible(bool(pictures))
        if pictures:
            self._show_pictures(pictures, [str(one.get("name", "")) for one in pair])

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
            colour = (
                theme.TEXT if abs(change) < MIN_DIFFERENCE else theme.BETTER if change > 0 else theme.WARNING
            )
            for column, (text, cell_colour) in enumerate(
                ((f"{before:.3f}", theme.TEXT), (f"{after:.3f}", theme.TEXT), (f"{change:+.3f}", colour))
            ):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                cell.setForeground(QColor(cell_colour))
                self.table.setItem(row, column, cell)
        frames = pair[0].get("frames", 0)
        self.table.setToolTip(
            f"Mean Dice on {frames} outlined frames left out of the fit: 1 is the same area, 0 no overlap"
        )
        height = self.table.horizontalHeader().height() + sum(
            self.table.rowHeight(r) for r in range(len(rows))
        )
        self.table.setFixedHeight(height + 4)

    def _show_pictures(self, pictures: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
        content = QWidget()
        grid = QGridLayout(content)
        grid.setHorizontalSpacing(8)
        for place, title in enumerate(("Your outline", "Before", "After")):
            grid.addWidget(wrapped_label(title, theme.MUTED), 0, place)
        for row, picture in enumerate(pictures):
            files = [picture.get("truth"), *(picture.get("files", {}).get(name) for name in names)]
            tooltip = f"cine {picture.get('cine')}, frame {picture.get('frame')}"
            for place, file in enumerate(files):
                grid.addWidget(_picture(file, tooltip), 1 + row, place)
        grid.setRowStretch(1 + len(pictures), 1)
        self.pictures.setWidget(content)


def _picture(file: object, tooltip: str) -> QLabel:
    label = QLabel()
    label.setToolTip(tooltip)
    label.setAlignment(Qt.AlignmentFlag.AlignTop)
    pixels = QPixmap(str(file)) if file and Path(str(file)).is_file() else QPixmap()
    if pixels.isNull():
        label.setText("No picture")
    else:
        label.setPixmap(pixels.scaledToWidth(PICTURE_WIDTH, Qt.TransformationMode.SmoothTransformation))
    return label
