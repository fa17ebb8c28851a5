"""First page: which encoders there are, how fast and how good; choose, compare, remove."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QProgressBar, QPushButton, QVBoxLayout, QWidget

from app.domain.errors import ApicalError
from app.encoders import registry
from app.encoders.inventory import EncoderEntry, list_encoders
from app.formatting import format_count
from app.ui import theme
from app.ui.dialog_widgets import ask, set_text_colour, wrapped_label
from app.ui.encoders.comparison_job import Comparing, order
from app.ui.encoders.details import Details
from app.ui.encoders.table import EncoderTable
from app.ui.encoders.timing_job import Timing
from app.workspace.workspace import Workspace
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.errors import CoreError

WHAT = (
    "The encoder reads the cine; what you outline trains a small head over it. "
    "Another encoder leaves your outlines as they are: open cines are learnt anew over it."
)


class ListPage(QWidget):
    """The table, details of the selected row, and what can be done with it."""

    import_wanted = Signal()
    trouble = Signal(str)
    told = Signal(str)

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._known: list[EncoderEntry] = []
        self._faults: list[str] = []
        self.timing = Timing(workspace, self)
        self.comparing = Comparing(workspace, self)
        self.table, self.details = EncoderTable(), Details()
        self.summary, self.state = wrapped_label(colour=theme.MUTED), wrapped_label()
        self._bar = QProgressBar()
        self._bar.setFixedHeight(6)
        self._bar.setTextVisible(False)
        self._build()
        self.table.chosen.connect(self._show_selected)
        self.table.itemDoubleClicked.connect(self._use)
        self.timing.changed.connect(self._show)
        self.timing.failed.connect(self.trouble)
        self.comparing.changed.connect(self._on_comparing)
        self.comparing.progress.connect(self._on_progress)
        self.comparing.refused.connect(lambda text: self._say(text, theme.WARNING))
        self.comparing.trouble.connect(self.trouble)
        workspace.labels_changed.connect(self._show_summary)
        workspace.cines_changed.connect(self._show_summary)
        self._on_comparing()

    def _build(self) -> None:
        self.use, self.bring = QPushButton("Use it"), QPushButton("Import...")
        self.compare, self.remove = QPushButton("Compare on my labels..."), QPushButton("Remove...")
        menu = QMenu(self.compare)
        self.compare_pair = menu.addAction("Selected one with the one in use")
        self.compare_every = menu.addAction("All encoders")
        self._menu = menu
        self.use.clicked.connect(self._use)
        self.bring.clicked.connect(self.import_wanted)
        self.remove.clicked.connect(self._ask_to_remove)
        self.compare.clicked.connect(self._ask_or_stop)
        self.compare_pair.triggered.connect(lambda: self._compare(every=False))
        self.compare_every.triggered.connect(lambda: self._compare(every=True))
        buttons = QHBoxLayout()
        for button in (self.use, self.compare, self.remove, self.bring):
            button.setAutoDefault(False)
            if button is self.bring:
                buttons.addStretch(1)
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(wrapped_label(WHAT, theme.MUTED))
        column.addWidget(self.table, 1)
        for widget in (self.summary, self.state, self._bar, self.details):
            column.addWidget(widget)
        column.addLayout(buttons)

    def stop(self) -> bool:
        """Measure and compare no more; True where a comparison was given up."""
        self.timing.stop()
        return self.comparing.stop()

    # What there is

    def refresh(self, select: str = "") -> None:
        """Read the cards again; another encoder than before may be selected."""
        before = [one.card for one in self._known]
        self._known, faults = list_encoders()
        for fault in faults:
            if fault not in self._faults:  # said once
                self.trouble.emit(fault)
        self._faults = faults
        if before and before != [one.card for one in self._known]:
            self.timing.again()
        self._show()
        if select:
            self.table.select(select)

    def _show(self) -> None:
        has_cine = self._workspace.current is not None
        self.table.show_encoders(self._known, self.timing, self.comparing.last, has_cine)
        self._show_summary()

    def _show_summary(self) -> None:
        last = self.comparing.last
        self.summary.setVisible(last is not None and last.n_frames > 0)
        if last is not None:
            of_all = "" if last.n_labelled <= last.n_frames else f" of {last.n_labelled:,}"
            text = (
                f"Measured on {format_count(last.n_frames, 'outlined frame')}{of_all}, each predicted from "
                f"the others. Differences are from {last.reference}, with 95 % confidence intervals. "
                "Frames of one cine are similar: results in other patients may differ."
            )
            stale = self.comparing.is_stale
            self.summary.setText(f"{text} You have outlined more or otherwise since." if stale else text)
            self.summary.setToolTip(last.note)
            set_text_colour(self.summary, theme.WARNING if stale else theme.MUTED)
        self._show_selected()

    def _show_selected(self) -> None:
        one = self.table.selected
        self.details.show_encoder(one, self.comparing.last)
        busy = self.comparing.running
        self.use.setEnabled(one is not None and one.is_usable and not one.in_use)
        self.remove.setEnabled(one is not None and one.is_own and not busy)
        self.remove.setToolTip("" if one is None or one.is_own else "It ships with the program and stays")
        outlined = self.comparing.has_labels()
        self.compare.setEnabled(busy or (outlined and len(self._known) > 1))
        self.compare.setToolTip("" if outlined else "Open a cine and outline a structure on two frames first")
        self.compare_pair.setEnabled(one is not None and one.is_usable and not one.in_use)
        self.compare_pair.setText(f"{one.name} with the one in use" if one else "The selected one")
        self.compare_every.setText(f"All {len(self._comparable())} encoders")

    # What the user does

    def _use(self) -> None:
        one = self.table.selected
        if one is None or one.in_use or not one.is_usable:
            return
        if not self._fits(one):
            ask(
                self,
                f"Use {one.name} although it is too big for this machine?",
                "Learning may be very slow, or end because the memory is full.",
                ("Use it", lambda: self._change(one.name)),
                ("Go back", None),
            )
            return
        self._change(one.name)

    def _change(self, name: str) -> None:
        try:
            self._workspace.change_encoder(name)
        except (ApicalError, CoreError) as error:
            self.trouble.emit(str(error))
            return
        learnt = "" if self._workspace.current is None else ": open cines are being learnt anew"
        self.told.emit(f"The program uses {name} from now on{learnt}.")
        self.refresh()

    def _comparable(self) -> list[str]:
        """Names of all that can be measured here, the one in use first."""
        return order([one for one in self._known if one.in_use or self._fits(one)])

    def _fits(self, one: EncoderEntry) -> bool:
        row = self.timing.row(one.name)
        return row is None or bool(row.get("fits", True))

    def _ask_or_stop(self) -> None:
        if self.comparing.stop():
            self._say("Not compared.")
        else:
            self._menu.popup(self.compare.mapToGlobal(QPoint(0, self.compare.height())))

    def _compare(self, *, every: bool) -> None:
        one = self.table.selected
        names = self._comparable()
        if not every and one is not None:
            names = order([k for k in self._known if k.in_use or k is one])
        self._say("Comparing on your labels: starting")
        self._bar.setRange(0, 0)
        self.comparing.start(names)

    def _ask_to_remove(self) -> None:
        one = self.table.selected
        if one is None or not one.is_own:
            return
        instead = f" The program goes on with {DEFAULT_ENCODER}." if one.in_use else ""
        ask(
            self,
            f"Remove {one.name}?",
            f"Its weights are deleted from this machine; your outlines stay.{instead}",
            ("Remove", lambda: self._remove(one)),
            ("Go back", None),
        )

    def _remove(self, one: EncoderEntry) -> None:
        try:
            if one.in_use:
                self._workspace.change_encoder(DEFAULT_ENCODER)  # first: an open file may not be deleted
            registry.remove(one.name)
        except (ApicalError, CoreError) as error:
            self.trouble.emit(str(error))
        else:
            self.told.emit(f"{one.name} is removed.")
        self.refresh()

    # Comparing

    def _on_comparing(self) -> None:
        running = self.comparing.running
        self._bar.setVisible(running)
        self.compare.setText("Stop comparing" if running else "Compare on my labels...")
        if not running:
            self._say("")
        self.timing.hold(running)  # which shows all anew

    def _on_progress(self, stage: str, done: int, total: int) -> None:
        self._bar.setRange(0, max(total, 1))
        self._bar.setValue(done)
        self._say(f"Comparing on your labels: {stage}, {done} of {total}")

    def _say(self, text: str, colour: str = "") -> None:
        self.state.setText(text)
        self.state.setVisible(bool(text))
        set_text_colour(self.state, colour)
