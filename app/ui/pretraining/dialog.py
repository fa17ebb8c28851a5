"""The dialog for pre-training, in three steps."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from app.domain.errors import ApicalError
from app.encoders import registry
from app.pretraining.runs import Plan, Run, pending_runs
from app.ui import theme
from app.ui.banner import Banner
from app.ui.dialog_widgets import ask, set_text_colour, wrapped_label
from app.ui.pretraining.cines_page import CinesPage
from app.ui.pretraining.comparison_page import ComparisonPage
from app.ui.pretraining.training_page import TrainingPage
from app.workspace.notice import Level, Remark
from app.workspace.workspace import Workspace
from vjepa_core.errors import CoreError

PAUSED = "Pre-training is paused and saved. Continue it under Learning, Pre-train on my cines."
STEPS = ("1  Cines", "2  Training", "3  Before and after")


class PretrainingDialog(QDialog):
    """Pre-trains an encoder on the user's cines; non-modal.

    Attributes
    ----------
    cines, training, comparison : QWidget
        Pages of the three steps.
    unfinished : QWidget
        Offer to continue an earlier run.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.setWindowTitle("Pre-train on my cines")
        self.setModal(False)
        self.resize(940, 700)
        self.banner = Banner()
        self.cines, self.training, self.comparison = CinesPage(), TrainingPage(), ComparisonPage()
        self._steps = [wrapped_label(text) for text in STEPS]
        self._pages = QStackedWidget()
        for page in (self.cines, self.training, self.comparison):
            self._pages.addWidget(page)
            page.failed.connect(lambda text: self.banner.show_message(text, Level.ERROR))
        self.unfinished = UnfinishedRun()
        head = QHBoxLayout()
        head.setContentsMargins(14, 10, 14, 0)
        head.setSpacing(26)
        for step in self._steps:
            step.setWordWrap(False)
            head.addWidget(step)
        head.addStretch(1)
        body = QVBoxLayout()
        body.setContentsMargins(14, 8, 14, 12)
        body.setSpacing(10)
        body.addWidget(self.unfinished)
        body.addWidget(self._pages, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addLayout(head)
        column.addLayout(body, 1)
        self.cines.start_wanted.connect(self.start)
        self.training.finished.connect(self.show_comparison)
        self.training.keep_wanted.connect(self.show_comparison)
        self.training.discarded.connect(self.discard)
        self.comparison.discarded.connect(self.discard)
        self.comparison.keep_wanted.connect(self.keep)
        self.unfinished.go_on.clicked.connect(self._continue)
        self.unfinished.discard.clicked.connect(self._ask_to_discard)
        workspace.cines_changed.connect(self._refresh)
        self._show_page(self.cines)

    # The steps

    def show_cines(self) -> None:
        """Show the first step, and an earlier unfinished run, if any."""
        self._refresh()
        try:
            runs = pending_runs()
        except ApicalError as error:
            runs = []
            self.banner.show_message(str(error), Level.ERROR)
        self.unfinished.show_run(runs[0] if runs else None)
        self._show_page(self.cines)

    def start(self, plan: Plan) -> None:
        """Show the second step with a new run."""
        try:
            run = Run.create(plan)
        except ApicalError as error:
            self.banner.show_message(str(error), Level.ERROR)
            return
        self.cines.stop()
        self.resume(run)

    def resume(self, run: Run) -> None:
        """Show the second step with an existing run."""
        self.unfinished.hide()
        self._show_page(self.training)
        self.training.start(run)

    def show_comparison(self, run: Run) -> None:
        """Show the third step; a run that ends while the dialog is closed is offered later."""
        if not self.isVisible():
            return
        if run.card is None:
            self.banner.show_message(
                "The run has no encoder yet: continue training for a few steps.", Level.WARNING
            )
            return
        self.unfinished.hide()
        self._show_page(self.comparison)
        self.comparison.show_run(run, self._workspace.project)

    def keep(self, run: Run, name: str) -> None:
        """Add the encoder of a run under a name, and use it."""
        if run.card is None:
            return
        try:
            registry.keep(run.card, name)
            self._workspace.change_encoder(name)
            self.comparison.stop()
            run.mark_kept()
        except (ApicalError, CoreError) as error:
            self.banner.show_message(str(error), Level.ERROR)
            return
        self.show_cines()
        self.banner.show_message(
            f"{name} was kept and is now in use: open cines are being analysed again.",
            Level.INFO,
        )

    def _show_page(self, page: QWidget) -> None:
        self._pages.setCurrentWidget(page)
        for index, step in enumerate(self._steps):
            is_current = index == self._pages.currentIndex()
            set_text_colour(step, theme.ACCENT if is_current else theme.FAINT)
            font = step.font()
            font.setBold(is_current)
            step.setFont(font)

    def _refresh(self) -> None:
        if self.isVisible():
            self.cines.refresh(self._workspace.entries)

    # Earlier runs

    def _continue(self) -> None:
        run = self.unfinished.run
        if run is None:
            return
        if run.is_finished:
            self.show_comparison(run)
        elif run.is_busy:
            self.banner.show_message(
                f"{run.name} is still saving its last step: try again in a minute.", Level.WARNING
            )
        else:
            self.resume(run)

    def _ask_to_discard(self) -> None:
        ask(
            self,
            "Discard this run?",
            "Its log, checkpoint and encoder are deleted.",
            ("Discard", lambda: self.discard(self.unfinished.run)),
            ("Cancel", None),
        )

    def discard(self, run: Run | None) -> None:
        """Delete a run and go back to the first step."""
        if run is not None:
            try:
                run.delete()
            except ApicalError as error:
                self.banner.show_message(str(error), Level.ERROR)
        self.show_cines()

    # Window

    def showEvent(self, event: QShowEvent) -> None:
        """Show the first step unless a run is in progress."""
        super().showEvent(event)
        if not event.spontaneous() and not self.training.running:
            self.show_cines()

    def reject(self) -> None:
        """Close the dialog on Esc."""
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Stop the check and the comparison; a run in progress saves and pauses."""
        self.cines.stop()
        self.comparison.stop()
        if self.training.running:
            self.training.detach()
            self._workspace.notice_raised.emit(Remark(PAUSED))
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files everywhere in the first step."""
        if self._pages.currentWidget() is self.cines and event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Add the dropped files to the cines."""
        self.cines.sources.dropEvent(event)


class UnfinishedRun(QFrame):
    """Displays an earlier run that was neither kept nor discarded."""

    def __init__(self) -> None:
        super().__init__()
        self.run: Run | None = None
        self.setObjectName("unfinished")
        self.setStyleSheet(
            f"#unfinished {{ background: {theme.RAISED}; border: 1px solid {theme.LINE};"
            " border-radius: 4px; }"
        )
        self.text = wrapped_label()
        self.go_on, self.discard = QPushButton("Continue"), QPushButton("Discard...")
        row = QHBoxLayout(self)
        row.addWidget(self.text, 1)
        for button in (self.go_on, self.discard):
            button.setAutoDefault(False)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)

    def show_run(self, run: Run | None) -> None:
        """Offer to continue a run; hidden for None."""
        self.run = run
        self.setVisible(run is not None)
        if run is None:
            return
        if run.is_finished:
            self.text.setText(f"{run.name} is finished, but was neither kept nor discarded.")
            self.go_on.setText("Compare before and after")
        else:
            self.text.setText(f"{run.name} is not finished: {run.step:,} of {run.plan.steps:,} steps done.")
            self.go_on.setText("Continue")
