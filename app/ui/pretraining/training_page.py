"""Second step: progress of the training, with losses and warnings; pause or cancel."""

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

MAX_WARNINGS = 3
COLLAPSE_ADVICE = (
    "If this continues, the encoder will be useless: start from a trained one, or use more cines."
)
_NUMBERS = re.compile(r"[\d.]+")


class TrainingPage(QWidget):
    """Starts, pauses, resumes and cancels a run."""

    finished = Signal(object)  # Run, after its last step
    keep_wanted = Signal(object)  # Run, stopped early by the user
    discarded = Signal(object)  # Run or None
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run: Run | None = None
        self._monitor = ChildMonitor(self)
        self._monitor.polled.connect(self._read_log)
        self._monitor.ended.connect(self._on_ended)
        self._stopping = ""  # purpose of a requested stop: "pause" or "keep"
        self._crashed = False
        self._rates: deque[float] = deque(maxlen=20)
        self._batch = self._step = 0
        self._warnings: dict[str, tuple[int, int, str]] = {}  # by kind: number, last step, text
        self._last: dict[str, Any] = {}
        self.state, self.speed = wrapped_label(bold=True), wrapped_label(colour=theme.MUTED)
        self._bar = QProgressBar()
        self._bar.setFixedHeight(6)
        self._bar.setTextVisible(False)
        self.curves = LossCurves()
        self.health = wrapped_label()
        self.pause, self.cancel = QPushButton("Pause"), QPushButton("Cancel...")
        self.compare = QPushButton("Compare before and after")
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
        """True while a process trains the run."""
        return self._monitor.child is not None

    # The run

    def start(self, run: Run) -> None:
        """Start or resume a run."""
        self.show_run(run)
        try:
            self._monitor.watch(run.start())
        except ApicalError as error:
            self.failed.emit(str(error))
        self._stopping, self._crashed = "", False
        self._show()

    def show_run(self, run: Run) -> None:
        """Display a run that is not being trained."""
        if self.run is not run:
            self.run = run
            self._batch, self._step, self._warnings, self._last = 0, 0, {}, {}
            self.curves.clear()
        self._rates.clear()
        self._read_log()
        self._show()

    def detach(self) -> None:
        """Let the run save and pause by itself, even if the window closes meanwhile."""
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
        """Ask the user to keep or discard the run so far."""
        if self.run is None:
            return
        if not (self.run.has_checkpoint or self._step):
            ask(
                self,
                "Stop this run?",
                "No step has been completed: there is nothing to keep.",
                ("Discard", self.discard),
                ("Continue training", None),
            )
            return
        ask(
            self,
            "Keep what has been trained so far?",
            f"{format_count(self._step, 'step')} of {self.run.plan.steps:,} are done. If you keep the "
            "result, the run ends here and its encoder is compared.",
            ("Keep", self._keep),
            ("Discard", self.discard),
            ("Continue training", None),
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

    # Progress

    def _read_log(self) -> None:
        if self.run is None:
            return
        entries, restarted = self.run.new_entries()
        if restarted:
            self.curves.clear()
            self._step, self._warnings = 0, {}
        for entry in entries:
            self.curves.add(entry)
            self._step, self._last = int(entry["step"]), entry
            for text in entry.get("warnings", ()):
                kind = _NUMBERS.sub("", text)
                count, *_ = self._warnings.pop(kind, (0,))
                self._warnings[kind] = (count + 1, self._step, text)  # latest last
            if self.running and isinstance(entry.get("clips_per_second"), int | float):
                self._rates.append(float(entry["clips_per_second"]))
        if entries or restarted:
            self._show()

    def _on_ended(self, child: Child) -> None:
        for question in self.findChildren(QMessageBox):
            question.close()  # it no longer applies
        reason, self._stopping = self._stopping, ""
        self._crashed = child.exit_code not in (0, STOPPED)
        self._read_log()
        self._show()
        if self.run is None:
            return
        if child.exit_code == 0:
            self.finished.emit(self.run)
        elif self._crashed:
            resume = "from the last checkpoint" if self.run.has_checkpoint else "from the start"
            self.failed.emit(f"The training stopped. {child.error_message()} Resume continues it {resume}.")
        elif reason == "keep":
            self.keep_wanted.emit(self.run)

    def _show(self) -> None:
        run = self.run
        if run is None:
            return
        steps, running = run.plan.steps, self.running
        done = not running and not self._crashed and self._step >= steps
        what = f"step {self._step:,} of {steps:,}"
        if running and self._stopping:
            text = f"Saving after the current step: {what}"
        elif running:
            text = f"Training: {what}" if self._step else "Starting: reading the cines"
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
            return "Saved" if self._step and not self._crashed else ""
        if not self._rates or self.run is None:
            return ""
        rate = sum(self._rates) / len(self._rates)
        left = (self.run.plan.steps - self._step) * self._clips() / rate
        return f"{rate:.1f} clips per second, about {format_duration(left)} left"

    def _clips(self) -> int:
        """Return the number of clips per step."""
        if not self._batch and self.run is not None:
            self._batch = self.run.batch
        return self._batch

    def _show_health(self) -> None:
        if self._warnings:
            lines = [
                f"Step {step}{f' ({count} times so far)' if count > 1 else ''}: {text}"
                for count, step, text in list(self._warnings.values())[-MAX_WARNINGS:]
            ]
            advice = [COLLAPSE_ADVICE] if any("collaps" in text for text in lines) else []
            self.health.setText("\n".join(lines + advice))
            set_text_colour(self.health, theme.WARNING)
            return
        self.health.setText(_health(self._last))
        set_text_colour(self.health, theme.MUTED)


def _health(entry: dict[str, Any]) -> str:
    """Return the figures of the collapse monitor as a sentence; '' without figures."""
    if entry.get("feature_std") is None or entry.get("effective_rank") is None:
        return ""
    return (
        f"No sign of collapse: features vary (standard deviation {entry['feature_std']:.2f}) and use "
        f"{entry['effective_rank']:.0f} directions."
    )
