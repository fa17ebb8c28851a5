"""Third step: compare the new encoder on the user's labels, then keep or discard it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QProgressBar, QPushButton, QVBoxLayout, QWidget

from app.domain.errors import ApicalError
from app.encoders import child_commands, registry
from app.pretraining.runs import COMPARISON, Run
from app.processes.child import STOPPED, Child
from app.storage.project import Project
from app.ui import theme
from app.ui.child_monitor import ChildMonitor
from app.ui.dialog_widgets import ask, set_text_colour, wrapped_label
from app.ui.pretraining.comparison_view import ComparisonView
from vjepa_core.errors import CoreError


class ComparisonPage(QWidget):
    """Compares the encoders before and after a run."""

    keep_wanted = Signal(object, str)  # Run, name
    discarded = Signal(object)  # Run or None
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run: Run | None = None
        self._project: Project | None = None
        self._monitor = ChildMonitor(self)
        self._monitor.progress.connect(self._on_progress)
        self._monitor.ended.connect(self._on_ended)
        self.state = wrapped_label(bold=True)
        self._bar = QProgressBar()
        self._bar.setFixedHeight(6)
        self._bar.setTextVisible(False)
        self.comparison = ComparisonView()
        self.again = QPushButton("Compare")
        self.again.clicked.connect(self._compare_or_stop)
        self.name = QLineEdit()
        self.name.setMaximumWidth(220)
        self.name.setAccessibleName("Name of the new encoder")
        self.keep, self.discard = QPushButton("Keep and use"), QPushButton("Discard...")
        self.keep.clicked.connect(self._keep)
        self.discard.clicked.connect(self._ask_to_discard)
        top = QHBoxLayout()
        top.addWidget(self.state, 1)
        top.addWidget(self.again)
        bottom = QHBoxLayout()
        bottom.addWidget(self.discard)
        bottom.addStretch(1)
        name = wrapped_label("Name")
        name.setWordWrap(False)
        for widget in (name, self.name, self.keep):
            bottom.addWidget(widget)
        for button in (self.again, self.discard):
            button.setAutoDefault(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(top)
        column.addWidget(self._bar)
        column.addWidget(self.comparison, 1)
        column.addStretch()
        column.addLayout(bottom)

    def show_run(self, run: Run, project: Project | None) -> None:
        """Compare the encoder of a run with its initial encoder on the labels of a project."""
        self._monitor.kill()
        self.run, self._project = run, project
        self.name.setText(_free_name(run))
        self.comparison.clear()
        self._compare()

    def stop(self) -> None:
        """Stop comparing."""
        self._monitor.kill()
        self._show_resting("Not compared")

    def _compare_or_stop(self) -> None:
        if self._monitor.child is not None:
            self.stop()
        else:
            self._compare()

    def _compare(self) -> None:
        run, project = self.run, self._project
        self._show_resting("")
        if run is None or run.card is None:
            return
        if project is None:
            self.again.hide()
            self._say(
                "Not compared: open a cine with outlines first, or decide without a comparison.",
                theme.WARNING,
            )
            return
        try:
            before = run.plan.encoder or registry.chosen()
            encoders = [before, str(run.card)]
            child = child_commands.start_comparison(encoders, project.path, run.folder / COMPARISON)
            self._monitor.watch(child)
        except (ApicalError, CoreError) as error:
            self.failed.emit(str(error))
            return
        self._bar.setRange(0, 0)
        self._bar.show()
        self.again.setText("Stop comparing")
        self._say("Fitting heads to your labels with both encoders")

    def _on_progress(self, stage: str, done: int, total: int) -> None:
        self._bar.setRange(0, max(total, 1))
        self._bar.setValue(done)
        self._say(f"Comparing on your labels: {stage}, {done} of {total}")

    def _on_ended(self, child: Child) -> None:
        result = child.result()
        if child.exit_code == 0 and result:
            scored = any(encoder.get("mean_dice") is not None for encoder in result.get("encoders", ()))
            self._show_resting(
                "Overlap with your outlines (Dice): 1 is the same area, 0 no overlap"
                if scored
                else "Too few frames are outlined to measure the overlap: see the pictures"
            )
            self.comparison.show_result(result)
        elif child.exit_code == 2:  # for example nothing is outlined: the user can still decide
            self._show_resting(child.error_message())
            set_text_colour(self.state, theme.WARNING)
        elif child.exit_code != STOPPED:
            self._show_resting("Not compared")
            self.failed.emit(f"The comparison failed. {child.error_message()}")

    def _show_resting(self, text: str) -> None:
        self._bar.hide()
        self.again.show()
        self.again.setText("Compare again")
        self._say(text)

    def _say(self, text: str, colour: str = "") -> None:
        self.state.setText(text)
        set_text_colour(self.state, colour)

    def _keep(self) -> None:
        if self.run is not None:
            self.keep_wanted.emit(self.run, self.name.text().strip())

    def _ask_to_discard(self) -> None:
        ask(
            self,
            "Discard the new encoder?",
            "The run and its encoder are deleted; the current encoder stays in use.",
            ("Discard", self._discard),
            ("Cancel", None),
        )

    def _discard(self) -> None:
        self._monitor.kill()
        run, self.run = self.run, None
        self.discarded.emit(run)


def _free_name(run: Run) -> str:
    """Return an unused name for the new encoder."""
    taken = {card.name.lower() for card in registry.cards()[0]}
    number = run.number
    while f"my-cines-{number}" in taken:
        number += 1
    return f"my-cines-{number}"
