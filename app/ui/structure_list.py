"""List of structures: the one to draw, the visible ones, and their states on the visible frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.domain.labels import LabelSet
from app.ui import theme


class StructureList(QWidget):
    """One row per structure: colour and name (click to draw it), state, digit key, and an eye to hide it."""

    structure_selected = Signal(int)
    visibility_changed = Signal(object)  # set of the values of the visible structures

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(6, 4, 6, 4)
        self._column.setSpacing(1)
        self._rows: list[QWidget] = []
        self._names: dict[int, QToolButton] = {}
        self._eyes: dict[int, QToolButton] = {}
        self._states: dict[int, QLabel] = {}
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self.structure_selected)

    def set_label_set(self, labels: LabelSet) -> None:
        """Display structures, all visible, the first one active."""
        for row in self._rows:
            self._column.removeWidget(row)
            row.deleteLater()
        for button in self._group.buttons():
            self._group.removeButton(button)
        self._rows, self._names, self._eyes, self._states = [], {}, {}, {}
        for digit, label in enumerate(labels.structures, start=1):
            name = QToolButton()
            name.setText(label.name)
            name.setIcon(theme.swatch(label.colour))
            name.setIconSize(QSize(18, 14))
            name.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            name.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            name.setStyleSheet("text-align: left;")
            name.setCheckable(True)
            name.setChecked(digit == 1)
            key = QLabel(str(digit) if digit <= 9 else "")
            key.setStyleSheet(f"color: {theme.MUTED};")
            eye = QToolButton()
            eye.setIcon(theme.icon("eye"))
            eye.setIconSize(QSize(16, 16))
            eye.setCheckable(True)
            eye.setChecked(True)
            eye.setStyleSheet("QToolButton:checked { background: transparent; border-color: transparent; }")
            eye.toggled.connect(lambda on, value=label.value: self._eye_toggled(value, on))
            self._describe_eye(eye, label.name)
            row = QWidget()
            cells = QHBoxLayout(row)
            cells.setContentsMargins(0, 0, 0, 0)
            cells.setSpacing(3)
            state = QLabel("")
            state.setObjectName("state")
            state.setStyleSheet(f"color: {theme.MUTED}; font-size: 10px;")
            self._states[label.value] = state
            for cell in (name, state, key, eye):
                cell.setFocusPolicy(Qt.FocusPolicy.NoFocus)
                cells.addWidget(cell)
            self._group.addButton(name, label.value)
            self._names[label.value], self._eyes[label.value] = name, eye
            self._rows.append(row)
            self._column.addWidget(row)

    def set_active(self, value: int) -> None:
        """Mark a structure as the one to draw, without a signal; unknown values are ignored."""
        if value in self._names:
            self._names[value].setChecked(True)

    def active(self) -> int:
        """Return the value of the structure to draw; -1 without structures."""
        return self._group.checkedId()

    def show_states(self, states: Mapping[int, str]) -> None:
        """Display the state of each structure on the visible frame."""
        for value, label in self._states.items():
            label.setText(states.get(value, ""))

    def show_structures(self, values: Collection[int] | None) -> None:
        """Make these structures visible; None for all."""
        for value, eye in self._eyes.items():
            if values is None or value in values:
                eye.setChecked(True)

    def value_at(self, digit: int) -> int | None:
        """Return the structure of a digit key 1..9, or None."""
        values = list(self._names)
        return values[digit - 1] if 1 <= digit <= len(values) else None

    def visible_structures(self) -> set[int]:
        """Return the values of the visible structures."""
        return {value for value, eye in self._eyes.items() if eye.isChecked()}

    def hidden_structures(self) -> set[int]:
        """Return the values of the hidden structures, as for `CineCanvas.set_hidden_structures`."""
        return set(self._eyes) - self.visible_structures()

    def _eye_toggled(self, value: int, on: bool) -> None:
        eye = self._eyes[value]
        eye.setIcon(theme.icon("eye" if on else "eye_off"))
        self._describe_eye(eye, self._names[value].text())
        self.visibility_changed.emit(self.visible_structures())

    @staticmethod
    def _describe_eye(eye: QToolButton, name: str) -> None:
        text = f"{'Hide' if eye.isChecked() else 'Show'} {name}"
        eye.setToolTip(text)
        eye.setAccessibleName(text)
