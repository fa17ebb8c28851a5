"""Table of encoders."""

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
from app.ui.encoders.timing_job import TimingJob

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
COLUMN_WIDTHS = (54, 0, 96, 112, 76, 168, 132, 178)
ROW_HEIGHT = 42


@dataclass(frozen=True)
class _Cell:
    text: str
    hint: str = ""
    colour: str = theme.TEXT


class EncoderTable(QTableWidget):
    """One row per encoder; one row is selected."""

    chosen = Signal()  # another row was selected

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setAccessibleName("Encoders")
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for column, width in enumerate(COLUMN_WIDTHS):
            if width:
                self.setColumnWidth(column, width)
        header.setSectionResizeMode(COLUMNS.index("Name"), QHeaderView.ResizeMode.Stretch)
        self._entries: list[EncoderEntry] = []
        self.itemSelectionChanged.connect(self.chosen)

    @property
    def selected(self) -> EncoderEntry | None:
        """Encoder of the selected row, or None."""
        row = self.currentRow()
        return self._entries[row] if 0 <= row < len(self._entries) else None

    def select(self, name: str) -> None:
        """Select the row of an encoder, if it exists."""
        for row, entry in enumerate(self._entries):
            if entry.name == name:
                self.selectRow(row)

    def show_encoders(
        self,
        encoders: Sequence[EncoderEntry],
        timing: TimingJob,
        comparison: EncoderComparison | None,
        has_cine: bool,
    ) -> None:
        """Update the rows; the selected encoder stays selected."""
        previous = self.selected
        self.blockSignals(True)
        self._entries = list(encoders)
        self.setRowCount(len(encoders))
        for row, entry in enumerate(encoders):
            cells = (
                _Cell(entry.name, entry.name),
                _Cell(entry.card.family, entry.card.family),
                _size(entry),
                _trained(entry),
                _Cell(entry.card.licence.split(":")[0], entry.card.licence),
                _time(entry, timing, has_cine),
                _labels(entry, comparison),
            )
            self.setItem(row, 0, _mark(entry))
            for column, cell in enumerate(cells, 1):
                self.setItem(row, column, _item(cell))
        selected = next(
            (r for r, entry in enumerate(encoders) if previous and entry.name == previous.name), None
        )
        if selected is None:
            selected = next((r for r, entry in enumerate(encoders) if entry.in_use), 0)
        self.selectRow(selected)
        self.blockSignals(False)
        self.chosen.emit()


def _item(cell: _Cell) -> QTableWidgetItem:
    item = QTableWidgetItem(cell.text)
    item.setToolTip(cell.hint)
    item.setForeground(QColor(cell.colour))
    return item


def _mark(entry: EncoderEntry) -> QTableWidgetItem:
    mark = QTableWidgetItem()
    if entry.in_use:
        mark.setIcon(theme.icon("accept"))
        mark.setToolTip("In use")
        mark.setData(Qt.ItemDataRole.AccessibleTextRole, "in use")
    return mark


def _size(entry: EncoderEntry) -> _Cell:
    first = format_parameters(entry.card.parameters)
    if entry.n_bytes is None:
        return _Cell(first, "Generated when needed: no file on disk")
    if not entry.is_usable:
        return _Cell(f"{first}\nfile is missing", "Import it again, or remove it", theme.ERROR)
    return _Cell(f"{first}\n{format_size(entry.n_bytes)} on disk")


def _trained(entry: EncoderEntry) -> _Cell:
    if entry.card.trained:
        return _Cell("yes", "Trained on videos")
    return _Cell("no", "Random weights: masks are based on grey values and motion only", theme.WARNING)


def _time(entry: EncoderEntry, timing: TimingJob, has_cine: bool) -> _Cell:
    if not entry.is_usable:
        return _Cell("-", colour=theme.FAINT)
    row = timing.row(entry.name)
    if row is None:
        return _Cell(timing.state, timing.error, theme.FAINT)
    if not row.get("fits", True):
        need = row.get("memory_bytes")
        hint = str(row.get("note") or "It needs more memory than is free on this machine.")
        amount = f"\nneeds {format_size(need)}" if isinstance(need, int | float) else ""
        return _Cell(f"too large{amount}", hint, theme.WARNING)
    seconds, clip = row.get("cine_s"), row.get("clip_s")
    hint = f"Needed once per cine. Estimated on {timing.device}." if timing.device else ""
    note = str(row.get("note") or "")
    if isinstance(seconds, int | float):
        return _Cell(format_estimate(seconds), note or hint)
    if isinstance(clip, int | float):
        text = f"{clip:.1f} s for 16 frames" if clip >= 0.05 else "under 0.1 s\nfor 16 frames"
        return _Cell(text, note or ("" if has_cine else "Open a cine to see the time for it."))
    return _Cell("unknown", note, theme.WARNING if note else theme.FAINT)


def _labels(entry: EncoderEntry, comparison: EncoderComparison | None) -> _Cell:
    result = None if comparison is None else comparison.results.get(entry.name)
    if comparison is None or result is None or result.dice is None:
        return _Cell("-", "Not compared yet", theme.FAINT)
    if result.checksum != entry.card.checksum:
        return _Cell("-", "A different encoder with this name was compared", theme.FAINT)
    colour = {1: theme.BETTER, -1: theme.WARNING, 0: theme.TEXT}[result.verdict]
    text = f"{result.dice:.3f}"
    hint = "Mean overlap with your outlines: 1 is the same area, 0 no overlap."
    if result.difference is not None:
        text += f"\n{format_interval(*result.difference)}"
        hint += f" Below: difference from {comparison.reference}, with its 95 % confidence interval."
    return _Cell(text, hint, colour)
