"""Page with all encoders: speed and accuracy of each; choose, compare, remove."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QProgressBar, QPushButton, QVBoxLayout, QWidget

from app.domain.errors import ApicalError
from app.encoders import registry
from app.encoders.inventory import EncoderEntry, list_encoders
from app.formatting import format_count
from app.ui import theme
from app.ui.dialog_widgets import ask, set_text_colour, wrapped_label
from app.ui.encoders.comparison_job import ComparisonJob, comparison_names
from app.ui.encoders.details import EncoderDetails
from app.ui.encoders.table import EncoderTable
from app.ui.encoders.timing_job import TimingJob
from app.workspace.workspace import Workspace
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.errors import CoreError

HELP = (
    "The encoder extracts features from the cine; a small network learns your outlines from these features. "
    "If you change the encoder, your outlines stay, and open cines are analysed again."
)


class ListPage(QWidget):
    """Displays all encoders and details of the selected one.

    Attributes
    ----------
    entries : list of EncoderEntry
        Displayed encoders.
    """

    import_wanted = Signal()
    failed = Signal(str)
    done = Signal(str)

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.entries: list[EncoderEntry] = []
        self._errors: list[str] = []
        self.timing = TimingJob(workspace, self)
        self.comparison = ComparisonJob(workspace, self)
        self.table, self.details = EncoderTable(), EncoderDetails()
        self.summary, self.state = wrapped_label(colour=theme.MUTED), wrapped_label()
        self._bar = QProgressBar()
        self._bar.setFixedHeight(6)
        self._bar.setTextVisible(False)
        self._build()
        self.table.chosen.connect(self._show_selected)
        self.table.itemDoubleClicked.connect(self._use)
        self.timing.changed.connect(self._show)
        self.timing.failed.connect(self.failed)
        self.comparison.changed.connect(self._on_comparison)
        self.comparison.progress.connect(self._on_progress)
        self.comparison.refused.connect(lambda text: self._say(text, theme.WARNING))
        self.comparison.failed.connect(self.failed)
        workspace.labels_changed.connect(self._show_summary)
        workspace.cines_changed.connect(self._show_summary)
        self._on_comparison()

    def _build(self) -> None:
        self.use, self.import_ = QPushButton("Use"), QPushButton("Import...")
        self.compare, self.remove = QPushButton("Compare on my labels..."), QPushButton("Remove...")
        menu = QMenu(self.compare)
        self.compare_pair = menu.addAction("Selected encoder with the current one")
        self.compare_all = menu.addAction("All encoders")
        self._menu = menu
        self.use.clicked.connect(self._use)
        self.import_.clicked.connect(self.import_wanted)
        self.remove.clicked.connect(self._ask_to_remove)
        self.compare.clicked.connect(self._ask_or_stop)
        self.compare_pair.triggered.connect(lambda: self._compare(compare_all=False))
        self.compare_all.triggered.connect(lambda: self._compare(compare_all=True))
        buttons = QHBoxLayout()
        for button in (self.use, self.compare, self.remove, self.import_):
            button.setAutoDefault(False)
            if button is self.import_:
                buttons.addStretch(1)
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(wrapped_label(HELP, theme.MUTED))
        column.addWidget(self.table, 1)
        for widget in (self.summary, self.state, self._bar, self.details):
            column.addWidget(widget)
        column.addLayout(buttons)

    def stop(self) -> bool:
        """Stop timing and comparing; return True if a comparison was running."""
        self.timing.stop()
        return self.comparison.stop()

    # Contents

    def refresh(self, select: str = "") -> None:
        """List the encoders again, and select one by name."""
        previous = [entry.card for entry in self.entries]
        self.entries, errors = list_encoders()
        for error in errors:
            if error not in self._errors:  # only once
                self.failed.emit(error)
        self._errors = errors
        if previous and previous != [entry.card for entry in self.entries]:
            self.timing.restart()
        self._show()
        if select:
            self.table.select(select)

    def _show(self) -> None:
        has_cine = self._workspace.visible_cine is not None
        self.table.show_encoders(self.entries, self.timing, self.comparison.last, has_cine)
        self._show_summary()

    def _show_summary(self) -> None:
        last = self.comparison.last
        self.summary.setVisible(last is not None and last.n_frames > 0)
        if last is not None:
            of_all = "" if last.n_labelled <= last.n_frames else f" of {last.n_labelled:,}"
            text = (
                f"Measured on {format_count(last.n_frames, 'outlined frame')}{of_all}, each predicted from "
                f"the others. Differences are from {last.reference}, with 95 % confidence intervals. "
                "Frames of one cine are similar: results in other patients may differ."
            )
            outdated = self.comparison.is_outdated
            self.summary.setText(f"{text} Your outlines have changed since." if outdated else text)
            self.summary.setToolTip(last.note)
            set_text_colour(self.summary, theme.WARNING if outdated else theme.MUTED)
        self._show_selected()

    def _show_selected(self) -> None:
        entry = self.table.selected
        self.details.show_encoder(entry, self.comparison.last)
        busy = self.comparison.running
        self.use.setEnabled(entry is not None and entry.is_usable and not entry.in_use)
        self.remove.setEnabled(entry is not None and entry.is_own and not busy)
        self.remove.setToolTip(
            "" if entry is None or entry.is_own else "Included with Apical, cannot be removed"
        )
        outlined = self.comparison.has_labels()
        self.compare.setEnabled(busy or (outlined and len(self.entries) > 1))
        self.compare.setToolTip("" if outlined else "Open a cine and outline a structure on two frames first")
        self.compare_pair.setEnabled(entry is not None and entry.is_usable and not entry.in_use)
        self.compare_pair.setText(f"{entry.name} with the current encoder" if entry else "Selected encoder")
        self.compare_all.setText(f"All {len(self._comparable())} encoders")

    # Commands

    def _use(self) -> None:
        entry = self.table.selected
        if entry is None or entry.in_use or not entry.is_usable:
            return
        if not self._fits(entry):
            ask(
                self,
                f"{entry.name} is too large for this machine. Use it anyway?",
                "Learning may be very slow, or fail for lack of memory.",
                ("Use anyway", lambda: self._change(entry.name)),
                ("Cancel", None),
            )
            return
        self._change(entry.name)

    def _change(self, name: str) -> None:
        try:
            self._workspace.change_encoder(name)
        except (ApicalError, CoreError) as error:
            self.failed.emit(str(error))
            return
        analysis = "" if self._workspace.visible_cine is None else ": open cines are being analysed again"
        self.done.emit(f"{name} is now in use{analysis}.")
        self.refresh()

    def _comparable(self) -> list[str]:
        """Return the names of all encoders that fit this machine, the one in use first."""
        return comparison_names([e for e in self.entries if e.in_use or self._fits(e)])

    def _fits(self, entry: EncoderEntry) -> bool:
        row = self.timing.row(entry.name)
        return row is None or bool(row.get("fits", True))

    def _ask_or_stop(self) -> None:
        if self.comparison.stop():
            self._say("Comparison stopped")
        else:
            self._menu.popup(self.compare.mapToGlobal(QPoint(0, self.compare.height())))

    def _compare(self, *, compare_all: bool) -> None:
        entry = self.table.selected
        names = self._comparable()
        if not compare_all and entry is not None:
            names = comparison_names([e for e in self.entries if e.in_use or e is entry])
        self._say("Comparing on your labels: starting")
        self._bar.setRange(0, 0)
        self.comparison.start(names)

    def _ask_to_remove(self) -> None:
        entry = self.table.selected
        if entry is None or not entry.is_own:
            return
        replacement = f" {DEFAULT_ENCODER} will be used instead." if entry.in_use else ""
        ask(
            self,
            f"Remove {entry.name}?",
            f"Its weights are deleted from this machine; your outlines stay.{replacement}",
            ("Remove", lambda: self._remove(entry)),
            ("Cancel", None),
        )

    def _remove(self, entry: EncoderEntry) -> None:
        try:
            if entry.in_use:
                self._workspace.change_encoder(DEFAULT_ENCODER)  # some systems do not delete open files
            registry.remove(entry.name)
        except (ApicalError, CoreError) as error:
            self.failed.emit(str(error))
        else:
            self.done.emit(f"{entry.name} was removed.")
        self.refresh()

    # Comparing

    def _on_comparison(self) -> None:
        running = self.comparison.running
        self._bar.setVisible(running)
        self.compare.setText("Stop comparing" if running else "Compare on my labels...")
        if not running:
            self._say("")
        self.timing.hold(running)  # also updates the table

    def _on_progress(self, stage: str, done: int, total: int) -> None:
        self._bar.setRange(0, max(total, 1))
        self._bar.setValue(done)
        self._say(f"Comparing on your labels: {stage}, {done} of {total}")

    def _say(self, text: str, colour: str = "") -> None:
        self.state.setText(text)
        self.state.setVisible(bool(text))
        set_text_colour(self.state, colour)
