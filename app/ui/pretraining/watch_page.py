"""Second step: the losses live, how the encoder fares, and the ways to interrupt."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QMessageBox, QProgressBar, QPushButton, QVBoxLayout, QWidget

from app.domain.errors import ApicalError
from app.formatting import format_count, format_duration
from app.pretraining.runs import Run
from app.processes.child import STOPPED, Child
from app.ui import theme
from app.ui.child_monitor import ChildMonitor
from app.ui.dialog_widgets import ask, set_text_colour, wrapped_label
from app.ui.pretraining.curves import LossCurves

MOST_WARNINGS = 3
USELESS = "If this goes on the encoder will be of no use: start from a trained one, or with more cines."
_FIGURES = re.compile(r"[\d.]+")


class WatchPage(QWidget):
    """One run: start, pause, resume, cancel."""

    finished = Signal(object)  # Run, all its steps done
    keep_wanted = Signal(object)  # Run, stopped before its end: what there is shall be looked at
    discarded = Signal(object)  # Run or None
    trouble = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run: Run | None = None
        self._monitor = ChildMonitor(self)
        self._monitor.polled.connect(self._read_log)
        self._monitor.ended.connect(self._on_ended)
        self._stopping = ""  # "pause", "keep": why it was asked to stop
        self._crashed = False
        self._rates: deque[float] = deque(maxlen=20)
        self._batch = self._step = 0
        self._warnings: dict[str, tuple[int, int, str]] = {}  # by kind: how often, last step, words
        self._last: dict[str, Any] = {}
        self.state, self.speed = wrapped_label(bold=True), wrapped_label(colour=theme.MUTED)
        self._bar = QProgressBar()
        self._bar.setFixedHeight(6)
        self._bar.setTextVisible(False)
        self.curves = LossCurves()
        self.health = wrapped_label()
        self.pause, self.cancel = QPushButton("Pause"), QPushButton("Cancel...")
        self.compare = QPushButton("See before and after")
        self.pause.clicked.connect(self._pause_or_resume)
        self.cancel.clicked.connect(self.ask_to_cancel)
        self.compare.clicked.connect(lambda: self.keep_wanted.emit(self.run))
        buttons = QHBoxLayout()
        for button in (self.pause, self.cancel):
            button.setAutoDefault(False)
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(self.compare)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.state, self._bar, self.speed):
            column.addWidget(widget)
        column.addWidget(self.curves, 1)
        column.addStretch()
        column.addWidget(self.health)
        column.addLayout(buttons)

    @property
    def running(self) -> bool:
        """True while a process works on the run."""
        return self._monitor.child is not None

    # The run

    def start(self, run: Run) -> None:
        """Begin or go on."""
        self.show_run(run)
        try:
            self._monitor.watch(run.start())
        except ApicalError as error:
            self.trouble.emit(str(error))
        self._stopping, self._crashed = "", False
        self._show()

    def show_run(self, run: Run) -> None:
        """Show what is known of a run that nobody works on."""
        if self.run is not run:
            self.run = run
            self._batch, self._step, self._warnings, self._last = 0, 0, {}, {}
            self.curves.clear()
        self._rates.clear()
        self._read_log()
        self._show()

    def put_aside(self) -> None:
        """Pause and save, whether or not anybody is still there to see it."""
        child = self._monitor.child
        if child is not None:
            self._stopping = self._stopping or "pause"
            child.detach()
            self._show()

    def _pause_or_resume(self) -> None:
        child = self._monitor.child
        if child is None:
            if self.run is not None:
                self.start(self.run)
            return
        self._stopping = "pause"
        child.request_stop()
        self._show()

    def ask_to_cancel(self) -> None:
        """Ask whether what is there is to be kept."""
        if self.run is None:
            return
        if not (self.run.has_checkpoint or self._step):
            ask(
                self,
                "Stop this run?",
                "No step is done yet: there is nothing to keep.",
                ("Throw away", self.discard),
                ("Go on training", None),
            )
            return
        ask(
            self,
            "Keep what has been trained so far?",
            f"{format_count(self._step, 'step')} of {self.run.plan.steps:,} are done. If you keep it, the "
            "run ends here, and its encoder is compared as it is.",
            ("Keep", self._keep),
            ("Throw away", self.discard),
            ("Go on training", None),
        )

    def _keep(self) -> None:
        child = self._monitor.child
        if child is None:
            self.keep_wanted.emit(self.run)
            return
        self._stopping = "keep"
        child.request_stop()
        self._show()

    def discard(self) -> None:
        """End the run and delete it."""
        self._monitor.kill()
        run, self.run = self.run, None
        self.discarded.emit(run)

    # What comes of it

    def _read_log(self) -> None:
        if self.run is None:
            return
        entries, anew = self.run.new_entries()
        if anew:
            self.curves.clear()
            self._step, self._warnings = 0, {}
        for entry in entries:
            self.curves.add(entry)
            self._step, self._last = int(entry["step"]), entry
            for text in entry.get("warnings", ()):
                kind = _FIGURES.sub("", text)
                often, *_ = self._warnings.pop(kind, (0,))
                self._warnings[kind] = (often + 1, self._step, text)  # the newest last
            if self.running and isinstance(entry.get("clips_per_second"), int | float):
                self._rates.append(float(entry["clips_per_second"]))
        if entries or anew:
            self._show()

    def _on_ended(self, child: Child) -> None:
        for question in self.findChildren(QMessageBox):
            question.close()  # overtaken: answered now, it would be about a run that is over
        why, self._stopping = self._stopping, ""
        self._crashed = child.exit_code not in (0, STOPPED)
        self._read_log()
        self._show()
        if self.run is None:
            return
        if child.exit_code == 0:
            self.finished.emit(self.run)
        elif self._crashed:
            saved = (
                "Resume goes on from the last checkpoint"
                if self.run.has_checkpoint
                else "Resume starts it again"
            )
            self.trouble.emit(f"The training stopped. {child.error_message()} {saved}; nothing else is lost.")
        elif why == "keep":
            self.keep_wanted.emit(self.run)

    def _show(self) -> None:
        run = self.run
        if run is None:
            return
        steps, running = run.plan.steps, self.running
        done = not running and not self._crashed and self._step >= steps
        what = f"step {self._step:,} of {steps:,}"
        if running and self._stopping:
            text = f"Saving, after the step that it is at: {what}"
        elif running:
            text = f"Training: {what}" if self._step else "Starting: the cines are read"
        elif self._crashed:
            text = f"Stopped unexpectedly: {what}"
        else:
            text = f"Finished: {what}" if done else f"Paused: {what}"
        self.state.setText(text)
        busy = running and not self._step
        self._bar.setRange(0, 0 if busy else steps)
        self._bar.setValue(0 if busy else min(self._step, steps))
        self.speed.setText(self._speed(running))
        self._show_health()
        self.pause.setText("Pause" if running else "Resume")
        self.pause.setEnabled(not done and not (running and bool(self._stopping)))
        self.cancel.setEnabled(not done)
        self.compare.setVisible(not running and run.card is not None)

    def _speed(self, running: bool) -> str:
        if not running:
            return "Saved; its memory is free." if self._step and not self._crashed else ""
        if not self._rates or self.run is None:
            return ""
        rate = sum(self._rates) / len(self._rates)
        left = (self.run.plan.steps - self._step) * self._clips() / rate
        return f"{rate:.1f} clips a second, about {format_duration(left)} left"

    def _clips(self) -> int:
        """Clips a step."""
        if not self._batch and self.run is not None:
            self._batch = self.run.batch
        return self._batch

    def _show_health(self) -> None:
        if self._warnings:
            told = [
                f"Step {step}{f' ({often} times so far)' if often > 1 else ''}: {text}"
                for often, step, text in list(self._warnings.values())[-MOST_WARNINGS:]
            ]
            tail = [USELESS] if any("collaps" in text for text in told) else []
            self.health.setText("\n".join(told + tail))
            set_text_colour(self.health, theme.WARNING)
            return
        self.health.setText(_health(self._last))
        set_text_colour(self.health, theme.MUTED)


def _health(entry: dict[str, Any]) -> str:
    """The collapse monitor's numbers, in words, where it has no complaint."""
    if entry.get("feature_std") is None or entry.get("effective_rank") is None:
        return ""
    return (
        f"No sign of collapse: the features differ (deviation {entry['feature_std']:.2f}) and use "
        f"{entry['effective_rank']:.0f} directions."
    )
