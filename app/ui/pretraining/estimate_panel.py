"""Estimate of a run: used and skipped cines, and its duration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QProgressBar, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from app.formatting import format_count, format_duration
from app.ui import theme
from app.ui.dialog_widgets import set_text_colour, wrapped_label

FEW_CINES = 20
USUAL_CLIPS = 100_000


class EstimatePanel(QWidget):
    """Displays the result of `apical pretrain --estimate`, and its progress."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = QProgressBar()
        self._bar.setFixedHeight(6)
        self._bar.setTextVisible(False)
        self.used, self.time, self.warnings = (
            wrapped_label(bold=True),
            wrapped_label(),
            wrapped_label(colour=theme.WARNING),
        )
        self.skipped = QTreeWidget()
        self.skipped.setHeaderHidden(True)
        self.skipped.setAccessibleName("Skipped files")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self._bar, self.used, self.time, self.warnings):
            column.addWidget(widget)
        column.addWidget(self.skipped, 1)
        column.addStretch()

    def show_text(self, text: str, colour: str = "") -> None:
        """Display one sentence instead of an estimate."""
        for widget in (self._bar, self.time, self.warnings, self.skipped):
            widget.hide()
        self.used.setText(text)
        set_text_colour(self.used, colour)

    def show_progress(self, stage: str, done: int, total: int) -> None:
        """Display the progress of the estimate."""
        is_timing = stage == "timing"
        self.show_text("Measuring the time of two steps" if is_timing else "Reading the cines")
        self._bar.setRange(0, 0 if is_timing else total)
        self._bar.setValue(done)
        self._bar.show()

    def show_estimate(self, estimate: Mapping[str, Any]) -> None:
        """Display used and skipped cines."""
        self.show_text(
            f"{format_count(estimate['cines'], 'cine')}, {format_count(estimate['frames'], 'frame')}, "
            f"{format_duration(estimate['seconds_of_cine'])} of cine will be used."
        )
        self.skipped.clear()
        for reason, names in estimate["left_out"].items():
            top = QTreeWidgetItem([f"Skipped, {reason}: {format_count(len(names), 'file')}"])
            top.addChildren([QTreeWidgetItem([str(name)]) for name in names])
            self.skipped.addTopLevelItem(top)
        self.skipped.setVisible(bool(estimate["left_out"]))

    def show_length(self, estimate: Mapping[str, Any], steps: int) -> None:
        """Display the time of a number of steps, and warnings."""
        total = estimate["reading_s"] + steps * estimate["seconds_a_step"]
        self.time.setText(
            f"{format_count(steps, 'step')} of {format_count(estimate['batch'], 'clip')}: about "
            f"{format_duration(total)} on this machine ({estimate['device_name']}; "
            f"{estimate['clips_per_second']:.1f} clips per second)."
        )
        self.warnings.setText("\n".join(_warnings(estimate, steps)))
        self.time.show()
        self.warnings.setVisible(bool(self.warnings.text()))


def _warnings(estimate: Mapping[str, Any], steps: int) -> list[str]:
    """Return warnings about a run that is too short or has too few cines."""
    warnings, clips = [], steps * estimate["batch"]
    if clips < USUAL_CLIPS:
        usual_time = format_duration(USUAL_CLIPS / estimate["clips_per_second"])
        lead = "Training is slow without a GPU. The run" if estimate["device"] == "cpu" else "The run"
        warnings.append(
            f"{lead} uses {clips:,} clips. Encoders are usually trained on {USUAL_CLIPS:,} or more, which "
            f"takes about {usual_time} on this machine: expect little change from a short run."
        )
    if estimate["cines"] < FEW_CINES:
        subject = "One cine is" if estimate["cines"] == 1 else f"{estimate['cines']} cines are"
        warnings.append(f"{subject} very little data: add more cines if you can.")
    return warnings
