"""Tools, brush size and structures, at the left of the picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.domain.labels import LabelSet
from app.ui import theme
from app.ui.class_list import ClassList
from app.ui.keymap import Keymap
from app.workspace.gestures import ERASER, PAN, TOOLS

MAX_SLIDER_RADIUS = 60
MORE = {ERASER: ": removes every structure under it; with 'Draw behind', the selected one alone"}


class ToolPanel(QWidget):
    """What the left button does on the picture, and with which structure."""

    tool_chosen = Signal(str)
    class_chosen = Signal(int)
    radius_chosen = Signal(float)
    behind_changed = Signal(bool)
    from_prediction_changed = Signal(bool)
    scribbles_changed = Signal(bool)
    hidden_classes_changed = Signal(object)

    def __init__(self, keymap: Keymap, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        self._tools: dict[str, QToolButton] = {}
        group = QButtonGroup(self)
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, tool in enumerate(TOOLS):
            entry = f"tool_{tool}"
            button = QToolButton()
            button.setIcon(theme.icon(entry))
            button.setIconSize(QSize(20, 20))
            button.setText("Move" if tool == "pan" else keymap[entry].text)
            button.setToolTip(keymap.hint(entry) + MORE.get(tool, ""))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setCheckable(True)
            button.setChecked(tool == PAN)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _=False, t=tool: self.tool_chosen.emit(t))
            group.addButton(button)
            grid.addWidget(button, place // 2, place % 2)
            self._tools[tool] = button
        column.addLayout(grid)
        column.addLayout(self._brush_row(keymap))
        for box in self._options(keymap):
            column.addWidget(box)

        heading = QLabel("Structures")
        heading.setStyleSheet(f"color: {theme.MUTED}; margin-top: 6px;")
        column.addWidget(heading)
        self._classes = ClassList()
        self._classes.class_selected.connect(self.class_chosen)
        self._classes.visibility_changed.connect(
            lambda _: self.hidden_classes_changed.emit(self._classes.hidden_classes())
        )
        column.addWidget(self._classes)
        key = QLabel(
            "solid: drawn\nlong dashes: accepted\nshort dashes: predicted\n"
            "dots: predicted, outdated\ndimmed: left open by a scribble"
        )
        key.setStyleSheet(f"color: {theme.MUTED}; margin-left: 6px;")
        column.addWidget(key)
        column.addStretch(1)
        self._label_set: LabelSet | None = None

    def _brush_row(self, keymap: Keymap) -> QHBoxLayout:
        size = QHBoxLayout()
        self._radius_label = QLabel()
        self._radius_label.setMinimumWidth(70)
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(1, MAX_SLIDER_RADIUS)
        self._slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._slider.setToolTip(f"{keymap.hint('brush_smaller')}, {keymap.hint('brush_larger')}")
        self._slider.valueChanged.connect(lambda value: self.radius_chosen.emit(float(value)))
        size.addWidget(self._radius_label)
        size.addWidget(self._slider, 1)
        return size

    def _options(self, keymap: Keymap) -> tuple[QCheckBox, ...]:
        self._behind = behind = QCheckBox("Draw behind other structures")
        behind.setToolTip(keymap.hint("draw_behind") + ": a stroke fills only what no other structure covers")
        behind.toggled.connect(self.behind_changed)
        self._correct = correct = QCheckBox("Strokes correct the prediction")
        correct.setToolTip("A stroke starts from what is predicted of its structure on this frame")
        correct.setChecked(True)
        correct.toggled.connect(self.from_prediction_changed)
        self._scribbles = scribbles = QCheckBox("Scribbles: the rest stays open")
        scribbles.setToolTip(
            "On a frame without outlines, strokes say what lies under them and nothing of the rest, which is "
            "dimmed; the eraser says that no structure is there"
        )
        scribbles.toggled.connect(self.scribbles_changed)
        scribbles.toggled.connect(correct.setDisabled)  # a scribble starts from nothing
        for box in (behind, correct, scribbles):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return behind, correct, scribbles

    def set_label_set(self, labels: LabelSet) -> None:
        """Show these structures; the active one stays where it is still there."""
        if labels == self._label_set:
            return
        self._label_set = labels
        self._classes.set_label_set(labels)

    def active_class(self) -> int:
        """Label value that is drawn."""
        return self._classes.active()

    def choose_tool(self, tool: str) -> None:
        """Activate a tool."""
        self._tools[tool].setChecked(True)
        self.tool_chosen.emit(tool)

    def choose_class_at(self, place: int) -> None:
        """Draw the structure with this digit."""
        value = self._classes.value_at(place)
        if value is not None:
            self._classes.set_active(value)
            self.class_chosen.emit(value)

    def show_states(self, states: Mapping[int, str]) -> None:
        """Show the state of each structure on the visible frame, in a word."""
        self._classes.show_states(states)

    def show_structures(self, values: Collection[int] | None) -> None:
        """Make hidden structures visible; None for all of them."""
        self._classes.show_classes(values)

    def set_behind(self, on: bool) -> None:
        """Turn drawing behind other structures on or off."""
        self._behind.setChecked(on)

    def toggle_behind(self) -> None:
        """Turn drawing behind other structures on or off."""
        self._behind.toggle()

    def show_radius(self, radius: float) -> None:
        """Follow the brush."""
        self._radius_label.setText(f"Size {2 * radius:.0f} px")
        self._slider.blockSignals(True)
        self._slider.setValue(round(radius))
        self._slider.blockSignals(False)
