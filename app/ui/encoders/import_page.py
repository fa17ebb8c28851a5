"""Page that inspects and imports an encoder file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app import paths
from app.domain.errors import ApicalError
from app.encoders import child_commands
from app.encoders.command_text import without_options
from app.formatting import format_parameters, format_size
from app.processes.child import STOPPED, Child
from app.ui import theme
from app.ui.child_monitor import ChildMonitor
from app.ui.dialog_widgets import set_text_colour, wrapped_label
from vjepa_core.encoder.checkpoints.family import CHOICES

SUPPORTED = (
    "Supported: encoders of V-JEPA, V-JEPA 2, V-JEPA 2.1 and EchoJEPA, as published or from Hugging Face "
    "(.pt, .pth, .tar, .safetensors). Only numbers are read from the file: no code in it is executed."
)
BAR_STEPS = 1000  # the bytes of a large file exceed the range of a progress bar


class ImportPage(QWidget):
    """Displays the content of a file, asks for name and licence, and imports it."""

    imported = Signal(str)  # name
    closed = Signal()
    another_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._file = Path()
        self._found: dict[str, Any] = {}
        self._family = ""  # chosen by the user for the displayed content
        self._inspected_family = ""  # chosen by the user for the running inspection
        self._importing = False
        self._monitor = ChildMonitor(self)
        self._monitor.progress.connect(self._on_progress)
        self._monitor.ended.connect(self._on_ended)
        self.title, self.state = wrapped_label(bold=True), wrapped_label()
        self._bar = QProgressBar()
        self._bar.setFixedHeight(6)
        self._bar.setTextVisible(False)
        self.recognised, self.assumed, self.disk = wrapped_label(), wrapped_label(), wrapped_label()
        self.family, self.name, self.licence = QComboBox(), QLineEdit(), QLineEdit()
        for key, family in CHOICES.items():
            self.family.addItem("V-JEPA (the first)" if key == "v-jepa" else family, key)
        self.family.activated.connect(self._inspect_again)
        self.name.textChanged.connect(self._show)
        self.name.setMaxLength(60)
        self.help = wrapped_label(SUPPORTED, theme.MUTED)
        self._rows: dict[QWidget, QWidget] = {}  # label of each field
        self._build()

    def _build(self) -> None:
        form = QGridLayout()
        form.setHorizontalSpacing(16)
        form.setVerticalSpacing(9)
        form.setColumnStretch(1, 1)
        for row, (text, field) in enumerate(
            (
                ("Recognised", self.recognised),
                ("Assumed", self.assumed),
                ("Release", self.family),
                ("Name", self.name),
                ("Licence", self.licence),
                ("Disk space", self.disk),
            )
        ):
            field.setAccessibleName(text)
            self._rows[field] = wrapped_label(text, theme.MUTED)
            self._rows[field].setMinimumWidth(130)
            is_text = isinstance(field, QLabel)
            align = Qt.AlignmentFlag.AlignTop if is_text else Qt.AlignmentFlag.AlignVCenter
            form.addWidget(self._rows[field], row, 0, align)
            form.addWidget(field, row, 1)
        self.back, self.other = QPushButton("Back"), QPushButton("Choose another file...")
        self.start = QPushButton("Import")
        self.back.clicked.connect(self._back)
        self.other.clicked.connect(self.another_wanted)
        self.start.clicked.connect(self._import)
        self.start.setDefault(True)
        buttons = QHBoxLayout()
        for button in (self.back, self.other):
            button.setAutoDefault(False)
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(self.start)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        for widget in (self.title, self.state, self._bar, self.help):
            column.addWidget(widget)
        column.addLayout(form)
        column.addStretch(1)
        column.addLayout(buttons)

    @property
    def importing(self) -> bool:
        """True during an import."""
        return self._importing and self._monitor.child is not None

    def inspect(self, file: Path) -> None:
        """Inspect the content of a file."""
        self.stop()
        self._file, self._found, self._family = file, {}, ""
        self.family.setProperty("asked", False)
        self.title.setText(file.name)
        self._start_inspection("")

    def stop(self) -> bool:
        """Stop the running work; return True if it was an import, whose files are then removed."""
        was_importing = self.importing
        if was_importing:
            self._monitor.detach()
        else:
            self._monitor.kill()
        return was_importing

    # Recognising

    def _inspect_again(self) -> None:
        self._start_inspection(str(self.family.currentData()))

    def _start_inspection(self, family: str) -> None:
        self._monitor.kill()
        self._importing, self._inspected_family = False, family
        self._say("Reading the file")
        try:
            self._monitor.watch(child_commands.start_inspection(self._file, family))
        except ApicalError as error:
            self._say(str(error), theme.ERROR)
        self._show()

    def _show_found(self, found: dict[str, Any]) -> None:
        previous, self._found = self._found, found
        self._family = self._inspected_family
        family = f"{found.get('family', '')}, {format_parameters(int(found.get('parameters', 0)))}"
        self._say(f"{family}, {format_size(int(found.get('bytes', 0)))}")
        self.recognised.setText(_lines(found.get("recognised")))
        self.assumed.setText(_lines(found.get("assumed")))
        set_text_colour(self.assumed, theme.WARNING if found.get("ambiguous") else "")
        if found.get("ambiguous"):
            self.family.setProperty("asked", True)  # stays, so that the choice can be changed
        self.family.setCurrentIndex(self.family.findData(_family(found)))
        # Keep what the user has typed.
        for field, key in ((self.name, "name"), (self.licence, "licence")):
            if not previous or field.text() == str(previous.get(key, "")):
                field.setText(str(found.get(key, "")))
                field.setCursorPosition(0)
        self._show_disk_space(int(found.get("bytes", 0)))

    def _show_disk_space(self, needed: int) -> None:
        try:
            free = shutil.disk_usage(paths.encoders_dir()).free
        except (ApicalError, OSError):
            self.disk.setText(f"{format_size(needed)} needed")
            return
        self.disk.setText(f"{format_size(needed)} needed, {format_size(free)} free")
        set_text_colour(self.disk, theme.WARNING if free < needed else "")

    # Importing

    def _import(self) -> None:
        self._importing = True
        self._say("Importing: starting")
        try:
            licence = self.licence.text().strip()
            changed = "" if licence == self._found.get("licence") else licence
            name = self.name.text().strip()
            self._monitor.watch(child_commands.start_import(self._file, name, changed, self._family))
        except ApicalError as error:
            self._say(str(error), theme.ERROR)
        self._show()

    def _on_progress(self, stage: str, done: int, total: int) -> None:
        self._bar.setRange(0, BAR_STEPS)
        self._bar.setValue(round(BAR_STEPS * done / max(total, 1)))
        if self._importing:
            self._say(f"Importing: {stage}, {format_size(done)} of {format_size(total)}")

    def _on_ended(self, child: Child) -> None:
        answer = child.result()
        importing, self._importing = self._importing, False
        if child.exit_code == 0 and answer:
            if importing:
                self.imported.emit(str(answer.get("name", self.name.text())))
                return
            self._show_found(answer)
        elif child.exit_code == STOPPED:
            self._say("Stopped. Nothing was imported.")
        elif child.exit_code == 0:
            self._say("The file was not read: try again.", theme.ERROR)
        else:
            self._say(without_options(child.error_message()), theme.ERROR)
            if not importing and self._found:  # the chosen release does not fit: back to the previous one
                self.family.setCurrentIndex(self.family.findData(_family(self._found)))
        self._show()

    # Display

    def _back(self) -> None:
        if self.importing:
            child = self._monitor.child
            assert child is not None  # noqa: S101 - something is being imported
            child.request_stop()
            self._say("Stopping")
            self.back.setEnabled(False)
            return
        self.stop()
        self.closed.emit()

    def _say(self, text: str, colour: str = "") -> None:
        self.state.setText(text)
        set_text_colour(self.state, colour)

    def _show(self) -> None:
        running, has_content = self._monitor.child is not None, bool(self._found)
        self._bar.setRange(0, 0)
        self._bar.setVisible(running)
        self.back.setEnabled(True)
        self.back.setText("Stop" if self.importing else "Back")
        self.other.setEnabled(not self.importing)
        self.help.setVisible(not has_content)
        shown = {self.assumed: bool(self.assumed.text()), self.family: bool(self.family.property("asked"))}
        for field, label in self._rows.items():
            for widget in (field, label):
                widget.setVisible(has_content and shown.get(field, True))
        for entry in (self.family, self.name, self.licence):
            entry.setEnabled(not running)
        self.start.setEnabled(has_content and not running and bool(self.name.text().strip()))


def _family(found: dict[str, Any]) -> str:
    """Return the key of the recognised family."""
    return next((key for key, family in CHOICES.items() if family == found.get("family")), "")


def _lines(sentences: object) -> str:
    return (
        "\n".join(without_options(str(sentence)) for sentence in sentences)
        if isinstance(sentences, list)
        else ""
    )
