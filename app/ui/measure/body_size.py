"""Height and weight of the patient, for indexing by body surface area."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QDoubleSpinBox, QGridLayout, QLabel, QPushButton, QWidget

from app.ui import theme


class BodySizeFields(QWidget):
    """Two fields and a button; hidden until they are asked for.

    Attributes
    ----------
    height_cm, weight_kg : QDoubleSpinBox
        Height and weight.
    store : QCheckBox
        Whether to store them in the project.
    """

    chosen = Signal(float, float, bool)  # height in cm, weight in kg, whether to store them
    removed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        self.height_cm = _field(30.0, 250.0, " cm", "Height")
        self.weight_kg = _field(2.0, 300.0, " kg", "Weight")
        self.store = QCheckBox("Store in the project")
        self.store.setToolTip("Otherwise height and weight are forgotten when the project is closed.")
        self.use = QPushButton("Use")
        self.use.clicked.connect(self._choose)
        self.remove = QPushButton("Remove")
        self.remove.clicked.connect(self._remove)
        self.use.setEnabled(False)
        for field in (self.height_cm, self.weight_kg):
            field.valueChanged.connect(self._enable)
        for button in (self.use, self.remove):
            button.setAutoDefault(False)
        for row, (text, field) in enumerate((("Height", self.height_cm), ("Weight", self.weight_kg))):
            label = QLabel(text)
            label.setStyleSheet(f"color: {theme.MUTED};")
            grid.addWidget(label, row, 0)
            grid.addWidget(field, row, 1)
        grid.addWidget(self.store, 2, 0, 1, 2, Qt.AlignmentFlag.AlignLeft)
        grid.addWidget(self.remove, 3, 0)
        grid.addWidget(self.use, 3, 1)
        self.hide()

    def open(self) -> None:
        """Show the fields, or hide them if they are visible."""
        self.setVisible(self.isHidden())
        if not self.isHidden():
            self.height_cm.setFocus()
            self.height_cm.selectAll()

    def show_size(self, height_cm: float | None, weight_kg: float | None) -> None:
        """Fill in the size that is in use; None if there is none."""
        for field, value in ((self.height_cm, height_cm), (self.weight_kg, weight_kg)):
            field.setValue(field.minimum() if value is None else value)
        self.remove.setEnabled(height_cm is not None)

    def _enable(self) -> None:
        self.use.setEnabled(all(f.value() > f.minimum() for f in (self.height_cm, self.weight_kg)))

    def _choose(self) -> None:
        self.hide()
        self.chosen.emit(self.height_cm.value(), self.weight_kg.value(), self.store.isChecked())

    def _remove(self) -> None:
        self.hide()
        self.removed.emit()


def _field(low: float, high: float, suffix: str, name: str) -> QDoubleSpinBox:
    field = QDoubleSpinBox()
    field.setRange(low - 1.0, high)  # the lowest value stands for an empty field
    field.setSpecialValueText("not given")
    field.setValue(low - 1.0)
    field.setDecimals(0)
    field.setSuffix(suffix)
    field.setAccessibleName(name)
    return field
