"""Plots of the losses of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.ui import theme
from app.ui.dialog_widgets import wrapped_label
from app.ui.loss_curve import LossCurve

TERMS = {
    "loss": "Total loss",
    "loss_jepa": "Latent prediction",
    "loss_loc": "Localisation",
    "loss_ctx": "Context",
    "loss_truth": "Phantom labels",
}


class LossCurves(QWidget):
    """The total loss above, its terms below; terms without values are hidden."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves: dict[str, LossCurve] = {}
        self._titles: dict[str, QLabel] = {}
        self._cells: dict[str, QWidget] = {}
        column, row = QVBoxLayout(self), QHBoxLayout()
        for box in (column, row):
            box.setContentsMargins(0, 0, 0, 0)
            box.setSpacing(10)
        for name, title in TERMS.items():
            cell = self._cell(name, title)
            (column if name == "loss" else row).addWidget(cell, 1)
        column.addLayout(row, 1)
        self.clear()

    def _cell(self, name: str, title: str) -> QWidget:
        cell, curve, head = QWidget(), LossCurve(), wrapped_label(title, theme.MUTED)
        curve.setAccessibleName(f"{title}: loss")
        box = QVBoxLayout(cell)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(2)
        box.addWidget(head)
        box.addWidget(curve, 1)
        self.curves[name], self._titles[name], self._cells[name] = curve, head, cell
        return cell

    def clear(self) -> None:
        """Remove all points and hide the plots."""
        for name, curve in self.curves.items():
            curve.clear()
            self._cells[name].hide()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry of the log."""
        for name, curve in self.curves.items():
            value = entry.get(name)
            if isinstance(value, int | float):
                curve.add(int(entry["step"]), float(value))
                self._titles[name].setText(f"{TERMS[name]}: {value:.3f}")
                self._cells[name].show()

    def shown(self) -> list[str]:
        """Return the names of the visible terms."""
        return [name for name, cell in self._cells.items() if not cell.isHidden()]
