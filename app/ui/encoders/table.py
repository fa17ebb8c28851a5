"""The encoders, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from app.encoders.comparison import EncoderComparison
from app.encoders.inventory import EncoderEntry
from app.formatting import format_estimate, format_interval, format_parameters, format_size
from app.ui import theme
from app.ui.encoders.timing_job import Timing

COLUMNS = (
    "In use",
    "Name",
    "Family",
    "Size",
    "Trained",
    "Licence",
    "Time for this cine",
    "On your labels (Dice)",
)
_WIDTHS = (54, 0, 96, 112, 76, 168, 132, 178)
_ROW = 42


@dataclass(frozen=True)
class _Cell:
    text: str
    hint: str = ""
    colour: str = theme.TEXT


class EncoderTable(QTableWidget):
    """Shows what is known of every encoder; one row is selected."""

    chosen = Signal()  # another row is selected

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setAccessibleName("Encoders")
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for column, width in enumerate(_WIDTHS):
            if width:
                self.setColumnWidth(column, width)
        header.setSectionResizeMode(COLUMNS.index("Name"), QHeaderView.ResizeMode.Stretch)
        self._shown: list[EncoderEntry] = []
        self.itemSelectionChanged.connect(self.chosen)

    @property
    def selected(self) -> EncoderEntry | None:
        """The encoder of the selected row."""
        row = self.currentRow()
        return self._shown[row] if 0 <= row < len(self._shown) else None

    def select(self, name: str) -> None:
        """Select the row of this encoder, if there is one."""
        for row, one in enumerate(self._shown):
            if one.name == name:
                self.selectRow(row)

    def show_encoders(
        self,
        encoders: Sequence[EncoderEntry],
        timing: Timing,
        compared: EncoderComparison | None,
        has_cine: bool,
    ) -> None:
        """Bring the rows up to date; the selected encoder stays selected."""
        before = self.selected
        self.blockSignals(True)
        self._shown = list(encoders)
        self.setRowCount(len(encoders))
        for row, one in enumerate(encoders):
            cells = (
                _Cell(one.name, one.name),
                _Cell(one.card.family, one.card.family),
                _size(one),
                _trained(one),
                _Cell(one.card.licence.split(":")[0], one.card.licence),
                _time(one, timing, has_cine),
                _labels(one, compared),
            )
            self.setItem(row, 0, _mark(one))
            for column, cell in enumerate(cells, 1):
                self.setItem(row, column, _item(cell))
        wanted = next((r for r, one in enumerate(encoders) if before and one.name == before.name), None)
        if wanted is None:
            wanted = next((r for r, one in enumerate(encoders) if one.in_use), 0)
        self.selectRow(wanted)
        self.blockSignals(False)
        self.chosen.emit()


def _item(cell: _Cell) -> QTableWidgetItem:
    made = QTableWidgetItem(cell.text)
    made.setToolTip(cell.hint)
    made.setForeground(QColor(cell.colour))
    return made


def _mark(one: EncoderEntry) -> QTableWidgetItem:
    mark = QTableWidgetItem()
    if one.in_use:
        mark.setIcon(theme.icon("accept"))
        mark.setToolTip("The program uses this one")
        mark.setData(Qt.ItemDataRole.AccessibleTextRole, "in use")
    return mark


def _size(one: EncoderEntry) -> _Cell:
    first = format_parameters(one.card.parameters)
    if one.n_bytes is None:
        return _Cell(first, "Made from a seed when it is needed: nothing on the disk")
    if not one.is_usable:
        return _Cell(f"{first}\nfile is gone", "Import it again, or remove it", theme.ERROR)
    return _Cell(f"{first}\n{format_size(one.n_bytes)} on disk")


def _trained(one: EncoderEntry) -> _Cell:
    if one.card.trained:
        return _Cell("yes", "Its weights were trained on videos")
    return _Cell("no", "Random weights: masks rest on the image and on motion alone", theme.WARNING)


def _time(one: EncoderEntry, timing: Timing, has_cine: bool) -> _Cell:
    if not one.is_usable:
        return _Cell("-", colour=theme.FAINT)
    row = timing.row(one.name)
    if row is None:
        return _Cell(timing.state, timing.complaint, theme.FAINT)
    if not row.get("fits", True):
        need = row.get("memory_bytes")
        hint = str(row.get("note") or "It needs more memory than this machine has free.")
        amount = f"\nneeds {format_size(need)}" if isinstance(need, int | float) else ""
        return _Cell(f"too big here{amount}", hint, theme.WARNING)
    seconds, clip = row.get("cine_s"), row.get("clip_s")
    hint = f"Once for a cine, then it is kept. Estimated on {timing.device}." if timing.device else ""
    note = str(row.get("note") or "")
    if isinstance(seconds, int | float):
        return _Cell(format_estimate(seconds), note or hint)
    if isinstance(clip, int | float):
        text = f"{clip:.1f} s for 16 frames" if clip >= 0.05 else "under 0.1 s\nfor 16 frames"
        return _Cell(text, note or ("" if has_cine else "Open a cine to see how long it takes for that."))
    return _Cell("not known", note, theme.WARNING if note else theme.FAINT)


def _labels(one: EncoderEntry, compared: EncoderComparison | None) -> _Cell:
    measured = None if compared is None else compared.results.get(one.name)
    if compared is None or measured is None or measured.dice is None:
        return _Cell("-", "Not compared yet", theme.FAINT)
    if measured.checksum != one.card.checksum:
        return _Cell("-", "Another encoder of this name was compared", theme.FAINT)
    colour = {1: theme.BETTER, -1: theme.WARNING, 0: theme.TEXT}[measured.verdict]
    text = f"{measured.dice:.3f}"
    hint = "Mean overlap with your outlines: 1 is the same area, 0 no overlap."
    if measured.difference is not None:
        text += f"\n{format_interval(*measured.difference)}"
        hint += f" Below: difference from {compared.reference}, with its 95 % confidence interval."
    return _Cell(text, hint, colour)
