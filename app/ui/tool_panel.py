"""Drawing tools, brush size, drawing options and structures."""

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
from app.ui.keymap import Keymap
from app.ui.structure_list import StructureList
from app.workspace.gestures import ERASER, PAN, TOOLS

MAX_SLIDER_RADIUS = 60
TOOL_HELP = {ERASER: ": removes all structures under it; with 'Draw behind', only the selected one"}


class ToolPanel(QWidget):
    """Selects the tool and structure that the left mouse button draws with.

    Attributes
    ----------
    structures : StructureList
        Structures.
    behind, correct, scribbles : QCheckBox
        Draw behind other structures; start strokes from the prediction; leave the rest of a frame unlabelled.
    """

    tool_chosen = Signal(str)
    structure_chosen = Signal(int)
    radius_chosen = Signal(float)
    behind_changed = Signal(bool)
    from_prediction_changed = Signal(bool)
    scribbles_changed = Signal(bool)
    hidden_structures_changed = Signal(object)

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
            button.setToolTip(keymap.hint(entry) + TOOL_HELP.get(tool, ""))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setCheckable(True)
            button.setChecked(tool == PAN)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _=False, t=tool: self.tool_chosen.emit(t))
            button.setObjectName(entry)
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
        self.structures = StructureList()
        self.structures.structure_selected.connect(self.structure_chosen)
        self.structures.visibility_changed.connect(
            lambda _: self.hidden_structures_changed.emit(self.structures.hidden_structures())
        )
        column.addWidget(self.structures)
        legend = QLabel(
            "solid: drawn\nlong dashes: accepted\nshort dashes: predicted\n"
            "dots: outdated prediction\ndimmed: unlabelled (scribbles)"
        )
        legend.setStyleSheet(f"color: {theme.MUTED}; margin-left: 6px;")
        column.addWidget(legend)
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
        self.behind = behind = QCheckBox("Draw behind other structures")
        behind.setToolTip(
            keymap.hint("draw_behind") + ": a stroke fills only pixels without another structure"
        )
        behind.toggled.connect(self.behind_changed)
        self.correct = correct = QCheckBox("Strokes correct the prediction")
        correct.setToolTip("A stroke starts from the prediction of its structure on this frame")
        correct.setChecked(True)
        correct.toggled.connect(self.from_prediction_changed)
        self.scribbles = scribbles = QCheckBox("Scribbles (rest unlabelled)")
        scribbles.setToolTip(
            "On a frame without outlines, strokes label only the pixels under them; the rest stays "
            "unlabelled and is dimmed. The eraser labels pixels as background"
        )
        scribbles.toggled.connect(self.scribbles_changed)
        scribbles.toggled.connect(correct.setDisabled)  # a scribble does not start from the prediction
        for box in (behind, correct, scribbles):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return behind, correct, scribbles

    def set_label_set(self, labels: LabelSet) -> None:
        """Display the structures of a label set."""
        if labels == self._label_set:
            return
        self._label_set = labels
        self.structures.set_label_set(labels)

    def active_structure(self) -> int:
        """Return the label value of the structure to draw."""
        return self.structures.active()

    def choose_tool(self, tool: str) -> None:
        """Activate a tool."""
        self._tools[tool].setChecked(True)
        self.tool_chosen.emit(tool)

    def choose_structure_at(self, digit: int) -> None:
        """Select the structure with this digit key."""
        value = self.structures.value_at(digit)
        if value is not None:
            self.structures.set_active(value)
            self.structure_chosen.emit(value)

    def show_states(self, states: Mapping[int, str]) -> None:
        """Display the state of each structure on the visible frame."""
        self.structures.show_states(states)

    def show_structures(self, values: Collection[int] | None) -> None:
        """Make hidden structures visible; None for all of them."""
        self.structures.show_structures(values)

    def set_behind(self, on: bool) -> None:
        """Turn drawing behind other structures on or off."""
        self.behind.setChecked(on)

    def toggle_behind(self) -> None:
        """Toggle drawing behind other structures."""
        self.behind.toggle()

    def show_radius(self, radius: float) -> None:
        """Display the radius of the brush in image columns."""
        self._radius_label.setText(f"Size {2 * radius:.0f} px")
        self._slider.blockSignals(True)
        self._slider.setValue(round(radius))
        self._slider.blockSignals(False)
