"""First step: choose cines, initial encoder and duration, and check the cines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.domain.errors import ApicalError
from app.encoders import registry
from app.formatting import format_duration
from app.pretraining.runs import Plan
from app.processes.child import STOPPED, Child
from app.readers.suffixes import CINE_SUFFIXES, name_filter
from app.ui import theme
from app.ui.child_monitor import ChildMonitor
from app.ui.dialog_widgets import wrapped_label
from app.ui.local_files import local_path
from app.ui.pretraining.estimate_panel import EstimatePanel
from app.ui.pretraining.source_list import SourceList
from app.workspace.cine_entry import CineEntry
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard

LENGTHS_S = (600, 1200, 3600, 4 * 3600, 8 * 3600)
MIN_STEPS = 20
PRIVACY = (
    "Only the ultrasound region is used; it is stated by the file or, in a video, detected from motion. "
    "No data leaves this machine."
)


class CinesPage(QWidget):
    """Chooses the data and the length of a run."""

    start_wanted = Signal(object)  # Plan
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.config = ""  # configuration file; '' for the default
        self.estimate: dict[str, Any] = {}
        self._cards: list[EncoderCard | None] = []
        self._monitor = ChildMonitor(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(18)
        row.addLayout(self._left(), 1)
        row.addLayout(self._right(), 1)
        self._monitor.progress.connect(self.panel.show_progress)
        self._monitor.ended.connect(self._on_ended)
        self.sources.changed.connect(self._discard_estimate)
        self.encoder.currentIndexChanged.connect(self._discard_estimate)
        self.length.currentIndexChanged.connect(self._show_length)
        self.steps.valueChanged.connect(self._show_length)
        self._discard_estimate()

    # Building

    def _left(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(6)
        self.sources = SourceList()
        files, folder = QPushButton("Add files..."), QPushButton("Add a folder...")
        files.clicked.connect(self._add_files)
        folder.clicked.connect(self._add_folder)
        buttons = QHBoxLayout()
        for button in (files, folder):
            button.setAutoDefault(False)
            buttons.addWidget(button)
        buttons.addStretch(1)
        column.addWidget(wrapped_label("Cines to train on", bold=True))
        column.addWidget(
            wrapped_label("Cines of the open project. Add more, or drop files and folders here.", theme.MUTED)
        )
        column.addWidget(self.sources, 1)
        column.addLayout(buttons)
        column.addWidget(wrapped_label(PRIVACY, theme.MUTED))
        return column

    def _right(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(6)
        self.encoder = QComboBox()
        self.encoder.setAccessibleName("Start from")
        self.length = QComboBox()
        self.length.setAccessibleName("Duration")
        for seconds in LENGTHS_S:
            self.length.addItem(f"About {format_duration(seconds)}".replace(".0", ""), seconds)
        self.length.addItem("A number of steps", 0)
        self.length.setCurrentIndex(1)
        self.steps = QSpinBox()
        self.steps.setRange(1, 10_000_000)
        self.steps.setValue(200)
        self.steps.setGroupSeparatorShown(True)
        self.steps.setSuffix(" steps")
        lengths = QHBoxLayout()
        lengths.addWidget(self.length, 1)
        lengths.addWidget(self.steps)
        self.check = QPushButton("See what will be used")
        self.check.setAutoDefault(False)
        self.check.clicked.connect(self.check_cines)
        self.panel = EstimatePanel()
        self.start = QPushButton("Start training")
        self.start.clicked.connect(self._start)
        last = QHBoxLayout()
        last.addStretch(1)
        last.addWidget(self.start)
        column.addWidget(wrapped_label("Start from", bold=True))
        column.addWidget(self.encoder)
        column.addSpacing(8)
        column.addWidget(wrapped_label("Duration", bold=True))
        column.addLayout(lengths)
        column.addSpacing(8)
        column.addWidget(self.check)
        column.addWidget(self.panel, 1)
        column.addLayout(last)
        return column

    # Contents

    def refresh(self, cines: Iterable[CineEntry]) -> None:
        """Update cines and encoders; the selection is kept if it still exists."""
        self.sources.show_project(cines)
        previous = self.encoder.currentText()
        cards, errors = registry.cards()
        used = registry.chosen()
        for error in errors.values():
            self.failed.emit(error)
        self._cards = [*cards, None]
        texts = [self._text(card, used) for card in self._cards]
        if texts == [self.encoder.itemText(i) for i in range(self.encoder.count())]:
            return
        self.encoder.blockSignals(True)
        self.encoder.clear()
        self.encoder.addItems(texts)
        in_use = next((i for i, card in enumerate(self._cards) if card and card.name == used), 0)
        self.encoder.setCurrentIndex(texts.index(previous) if previous in texts else in_use)
        self.encoder.blockSignals(False)
        self._discard_estimate()

    @staticmethod
    def _text(card: EncoderCard | None, used: str) -> str:
        if card is None:
            return "A new, untrained encoder"
        kind = "trained" if card.trained else "untrained"
        bundled = ", included" if card.name == DEFAULT_ENCODER else ""
        return f"{card.name} ({kind}{bundled}{', in use' if card.name == used else ''})"

    def plan(self) -> Plan:
        """Return the chosen data and length."""
        card = self._cards[self.encoder.currentIndex()] if self._cards else None
        steps = self._steps() or self.steps.value()
        return Plan(self.sources.chosen(), steps, card.name if card else "", self.config)

    def stop(self) -> None:
        """Stop checking the cines."""
        self._monitor.kill()
        self._discard_estimate()

    # Check

    def check_cines(self) -> None:
        """Read the cines and measure the time of a step in a child process."""
        if self._monitor.child is not None:
            self.stop()
            return
        self._discard_estimate()
        try:
            self._monitor.watch(self.plan().start_estimate())
        except ApicalError as error:
            self.failed.emit(str(error))
            return
        self.panel.show_progress("reading", 0, 0)
        self.check.setText("Stop checking")

    def _on_ended(self, child: Child) -> None:
        estimate = child.result()
        self._discard_estimate()
        if child.exit_code == 0 and "seconds_a_step" in estimate:
            self.estimate = estimate
            self.panel.show_estimate(estimate)
            self._show_length()
        elif child.exit_code != STOPPED:
            self.panel.show_text(child.error_message(), theme.WARNING)

    def _discard_estimate(self) -> None:
        """Discard the estimate, which does not apply to a changed selection."""
        if self._monitor.child is not None:
            self._monitor.kill()
        self.estimate = {}
        chosen = bool(self.sources.chosen())
        self.check.setEnabled(chosen)
        self.check.setText("See what will be used")
        self.panel.show_text(
            "Next: see what will be used, and how long the training takes."
            if chosen
            else "Select or add at least one cine.",
            theme.MUTED,
        )
        self._show_length()

    # Duration

    def _steps(self) -> int:
        """Return the number of steps for the chosen time; 0 if it is not known yet."""
        seconds = self.length.currentData()
        if not seconds:
            return self.steps.value()
        if not self.estimate:
            return 0
        training_s = seconds - self.estimate["reading_s"]
        return max(MIN_STEPS, round(training_s / self.estimate["seconds_a_step"]))

    def _show_length(self) -> None:
        self.steps.setVisible(not self.length.currentData())
        self.start.setEnabled(bool(self.estimate))
        if self.estimate:
            self.panel.show_length(self.estimate, self._steps())

    # Commands

    def _start(self) -> None:
        if self.estimate:
            self.start_wanted.emit(self.plan())

    def _add_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Add cines", "", name_filter(CINE_SUFFIXES))
        self.sources.add(local_path(name) for name in names)

    def _add_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Add a folder of cines")
        if name:
            self.sources.add([local_path(name)])
