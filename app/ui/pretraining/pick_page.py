"""First step: which cines, from which encoder, for how long; and what will be used of them."""

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
from app.ui.pretraining.found_panel import FoundPanel
from app.ui.pretraining.sources import SourceList
from app.workspace.cine_entry import CineEntry
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard

LENGTHS_S = (600, 1200, 3600, 4 * 3600, 8 * 3600)
FEWEST_STEPS = 20
PRIVACY = (
    "Only the ultrasound region is used, from the file's tags or, in a video, found from what moves. "
    "Nothing leaves this machine."
)


class PickPage(QWidget):
    """Choose, see what will be used, start."""

    start_wanted = Signal(object)  # Plan
    trouble = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.config = ""  # a configuration file instead of the program's own choice
        self.estimate: dict[str, Any] = {}
        self._cards: list[EncoderCard | None] = []
        self._monitor = ChildMonitor(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(18)
        row.addLayout(self._left(), 1)
        row.addLayout(self._right(), 1)
        self._monitor.progress.connect(self.found.show_progress)
        self._monitor.ended.connect(self._on_ended)
        self.sources.changed.connect(self._outdated)
        self.encoder.currentIndexChanged.connect(self._outdated)
        self.length.currentIndexChanged.connect(self._show_length)
        self.steps.valueChanged.connect(self._show_length)
        self._outdated()

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
        column.addWidget(wrapped_label("Cines to learn from", bold=True))
        column.addWidget(
            wrapped_label("From the open project. Add more, or drop files and folders here.", theme.MUTED)
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
        self.length.setAccessibleName("How long")
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
        self.look = QPushButton("See what will be used")
        self.look.setAutoDefault(False)
        self.look.clicked.connect(self.find_out)
        self.found = FoundPanel()
        self.start = QPushButton("Start training")
        self.start.clicked.connect(self._start)
        last = QHBoxLayout()
        last.addStretch(1)
        last.addWidget(self.start)
        column.addWidget(wrapped_label("Start from", bold=True))
        column.addWidget(self.encoder)
        column.addSpacing(8)
        column.addWidget(wrapped_label("How long", bold=True))
        column.addLayout(lengths)
        column.addSpacing(8)
        column.addWidget(self.look)
        column.addWidget(self.found, 1)
        column.addLayout(last)
        return column

    # What there is to choose from

    def refresh(self, cines: Iterable[CineEntry]) -> None:
        """Bring cines and encoders up to date; what was chosen stays where it still exists."""
        self.sources.show_project(cines)
        before = self.encoder.currentText()
        known, faults = registry.cards()
        used = registry.chosen()
        for fault in faults.values():
            self.trouble.emit(fault)
        self._cards = [*known, None]
        texts = [self._text(card, used) for card in self._cards]
        if texts == [self.encoder.itemText(i) for i in range(self.encoder.count())]:
            return
        self.encoder.blockSignals(True)
        self.encoder.clear()
        self.encoder.addItems(texts)
        in_use = next((i for i, card in enumerate(self._cards) if card and card.name == used), 0)
        self.encoder.setCurrentIndex(texts.index(before) if before in texts else in_use)
        self.encoder.blockSignals(False)
        self._outdated()

    @staticmethod
    def _text(card: EncoderCard | None, used: str) -> str:
        if card is None:
            return "A new, untrained encoder"
        kind = "trained" if card.trained else "untrained"
        bundled = ", ships with the program" if card.name == DEFAULT_ENCODER else ""
        return f"{card.name} ({kind}{bundled}{', in use' if card.name == used else ''})"

    def plan(self) -> Plan:
        """What is chosen now."""
        card = self._cards[self.encoder.currentIndex()] if self._cards else None
        steps = self._steps() or self.steps.value()
        return Plan(self.sources.chosen(), steps, card.name if card else "", self.config)

    def stop(self) -> None:
        """Give up finding out."""
        self._monitor.kill()
        self._outdated()

    # Finding out

    def find_out(self) -> None:
        """Read the cines and time a step, in a process of its own."""
        if self._monitor.child is not None:
            self.stop()
            return
        self._outdated()
        try:
            self._monitor.watch(self.plan().start_estimate())
        except ApicalError as error:
            self.trouble.emit(str(error))
            return
        self.found.show_progress("reading", 0, 0)
        self.look.setText("Stop looking")

    def _on_ended(self, child: Child) -> None:
        answer = child.result()
        self._outdated()
        if child.exit_code == 0 and "seconds_a_step" in answer:
            self.estimate = answer
            self.found.show_found(answer)
            self._show_length()
        elif child.exit_code != STOPPED:
            self.found.say(child.error_message(), theme.WARNING)

    def _outdated(self) -> None:
        """What was found out no longer holds for what is chosen."""
        if self._monitor.child is not None:
            self._monitor.kill()
        self.estimate = {}
        chosen = bool(self.sources.chosen())
        self.look.setEnabled(chosen)
        self.look.setText("See what will be used")
        self.found.say(
            "Next: see what will be used, and how fast this machine is."
            if chosen
            else "Tick or add at least one cine.",
            theme.MUTED,
        )
        self._show_length()

    # How long

    def _steps(self) -> int:
        """Steps for the chosen time, 0 where that is not known."""
        seconds = self.length.currentData()
        if not seconds:
            return self.steps.value()
        if not self.estimate:
            return 0
        left = seconds - self.estimate["reading_s"]
        return max(FEWEST_STEPS, round(left / self.estimate["seconds_a_step"]))

    def _show_length(self) -> None:
        self.steps.setVisible(not self.length.currentData())
        self.start.setEnabled(bool(self.estimate))
        if self.estimate:
            self.found.show_length(self.estimate, self._steps())

    # What the user does

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
