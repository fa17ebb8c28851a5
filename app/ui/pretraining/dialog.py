"""The dialog of three steps; it stays open beside the work, and what it started never stops the window."""

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
from app.ui.pretraining.compare_page import ComparePage
from app.ui.pretraining.pick_page import PickPage
from app.ui.pretraining.watch_page import WatchPage
from app.workspace.notice import Level, Remark
from app.workspace.workspace import Workspace
from vjepa_core.errors import CoreError

PAUSED = "Pre-training saves and pauses. Go on with it under Learning, Pre-train on my cines."
STEPS = ("1  Cines", "2  Training", "3  Before and after")


class PretrainingDialog(QDialog):
    """Pre-train on my cines, over a workspace."""

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.setWindowTitle("Pre-train on my cines")
        self.setModal(False)
        self.resize(940, 700)
        self.banner = Banner()
        self.pick, self.watch, self.compare = PickPage(), WatchPage(), ComparePage()
        self._steps = [wrapped_label(text) for text in STEPS]
        self._pages = QStackedWidget()
        for page in (self.pick, self.watch, self.compare):
            self._pages.addWidget(page)
            page.trouble.connect(lambda text: self.banner.show_message(text, Level.ERROR))
        self._leftover = _Leftover()
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
        body.addWidget(self._leftover)
        body.addWidget(self._pages, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addLayout(head)
        column.addLayout(body, 1)
        self.pick.start_wanted.connect(self.start)
        self.watch.finished.connect(self.show_comparison)
        self.watch.keep_wanted.connect(self.show_comparison)
        self.watch.discarded.connect(self.discard)
        self.compare.discarded.connect(self.discard)
        self.compare.keep_wanted.connect(self.keep)
        self._leftover.go_on.clicked.connect(self._go_on)
        self._leftover.discard.clicked.connect(self._ask_to_discard)
        workspace.cines_changed.connect(self._refresh)
        self._show_page(self.pick)

    # The steps

    def show_picking(self) -> None:
        """First step, with what an earlier run left."""
        self._refresh()
        try:
            left = pending_runs()
        except ApicalError as error:
            left = []
            self.banner.show_message(str(error), Level.ERROR)
        self._leftover.show_run(left[0] if left else None)
        self._show_page(self.pick)

    def start(self, plan: Plan) -> None:
        """Second step, with a new run."""
        try:
            run = Run.create(plan)
        except ApicalError as error:
            self.banner.show_message(str(error), Level.ERROR)
            return
        self.pick.stop()
        self.go_on(run)

    def go_on(self, run: Run) -> None:
        """Second step, with a run that there is already."""
        self._leftover.hide()
        self._show_page(self.watch)
        self.watch.start(run)

    def show_comparison(self, run: Run) -> None:
        """Third step; a run that ends while nobody looks waits for the next time."""
        if not self.isVisible():
            return
        if run.card is None:
            self.banner.show_message(
                "The run has no encoder yet: let it train for a few steps.", Level.WARNING
            )
            return
        self._leftover.hide()
        self._show_page(self.compare)
        self.compare.show_run(run, self._workspace.project)

    def keep(self, run: Run, name: str) -> None:
        """Take the run's encoder over and let the program use it."""
        if run.card is None:
            return
        try:
            registry.keep(run.card, name)
            self._workspace.change_encoder(name)
            self.compare.stop()
            run.mark_kept()
        except (ApicalError, CoreError) as error:
            self.banner.show_message(str(error), Level.ERROR)
            return
        self.show_picking()
        self.banner.show_message(
            f"{name} is kept, and the program uses it from now on: open cines are being learnt anew.",
            Level.INFO,
        )

    def _show_page(self, page: QWidget) -> None:
        self._pages.setCurrentWidget(page)
        for place, step in enumerate(self._steps):
            here = place == self._pages.currentIndex()
            set_text_colour(step, theme.ACCENT if here else theme.FAINT)
            font = step.font()
            font.setBold(here)
            step.setFont(font)

    def _refresh(self) -> None:
        if self.isVisible():
            self.pick.refresh(self._workspace.entries)

    # What an earlier run left

    def _go_on(self) -> None:
        run = self._leftover.run
        if run is None:
            return
        if run.is_finished:
            self.show_comparison(run)
        elif run.is_busy:
            self.banner.show_message(
                f"{run.name} is still saving its last step: wait a minute, then try again.", Level.WARNING
            )
        else:
            self.go_on(run)

    def _ask_to_discard(self) -> None:
        ask(
            self,
            "Throw this run away?",
            "Its losses, its checkpoint and its encoder are deleted.",
            ("Throw away", lambda: self.discard(self._leftover.run)),
            ("Go back", None),
        )

    def discard(self, run: Run | None) -> None:
        """Delete a run and go back to the first step."""
        if run is not None:
            try:
                run.delete()
            except ApicalError as error:
                self.banner.show_message(str(error), Level.ERROR)
        self.show_picking()

    # Window

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not event.spontaneous() and not self.watch.running:
            self.show_picking()

    def reject(self) -> None:
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.pick.stop()
        self.compare.stop()
        if self.watch.running:
            self.watch.put_aside()  # it saves and ends by itself
            self._workspace.notice_raised.emit(Remark(PAUSED))
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Everywhere in the first step: the list is what takes files."""
        if self._pages.currentWidget() is self.pick and event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.pick.sources.dropEvent(event)


class _Leftover(QFrame):
    """Says that a run waits for an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.run: Run | None = None
        self.setObjectName("leftover")
        self.setStyleSheet(
            f"#leftover {{ background: {theme.RAISED}; border: 1px solid {theme.LINE}; border-radius: 4px; }}"
        )
        self.text = wrapped_label()
        self.go_on, self.discard = QPushButton("Go on"), QPushButton("Throw away...")
        row = QHBoxLayout(self)
        row.addWidget(self.text, 1)
        for button in (self.go_on, self.discard):
            button.setAutoDefault(False)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)

    def show_run(self, run: Run | None) -> None:
        """Offer to go on with this one; None for none."""
        self.run = run
        self.setVisible(run is not None)
        if run is None:
            return
        if run.is_finished:
            self.text.setText(f"{run.name} is finished, but neither kept nor thrown away.")
            self.go_on.setText("See before and after")
        else:
            self.text.setText(f"{run.name} is not finished: {run.step:,} of {run.plan.steps:,} steps done.")
            self.go_on.setText("Go on")
