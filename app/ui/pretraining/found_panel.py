"""What will be used of the chosen cines, what is left out and why, and how fast this machine is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtWidgets import QProgressBar, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from app.formatting import format_count, format_duration
from app.ui import theme
from app.ui.dialog_widgets import set_text_colour, wrapped_label

FEW_CINES = 20
MANY_CLIPS = 100_000


class FoundPanel(QWidget):
    """Shows the answer of `apical pretrain --estimate`, and how far that is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = QProgressBar()
        self._bar.setFixedHeight(6)
        self._bar.setTextVisible(False)
        self.used, self.time, self.caveats = (
            wrapped_label(bold=True),
            wrapped_label(),
            wrapped_label(colour=theme.WARNING),
        )
        self.left_out = QTreeWidget()
        self.left_out.setHeaderHidden(True)
        self.left_out.setAccessibleName("What is left out")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self._bar, self.used, self.time, self.caveats):
            column.addWidget(widget)
        column.addWidget(self.left_out, 1)
        column.addStretch()

    def say(self, text: str, colour: str = "") -> None:
        """One sentence instead of an answer."""
        for widget in (self._bar, self.time, self.caveats, self.left_out):
            widget.hide()
        self.used.setText(text)
        set_text_colour(self.used, colour)

    def show_progress(self, stage: str, done: int, total: int) -> None:
        """How far finding out is."""
        timing = stage == "timing"
        self.say("Timing two steps on this machine ..." if timing else "Reading the cines ...")
        self._bar.setRange(0, 0 if timing else total)
        self._bar.setValue(done)
        self._bar.show()

    def show_found(self, found: Mapping[str, Any]) -> None:
        """The answer."""
        self.say(
            f"{format_count(found['cines'], 'cine')}, {format_count(found['frames'], 'frame')}, "
            f"{format_duration(found['seconds_of_cine'])} of cine will be used."
        )
        self.left_out.clear()
        for reason, names in found["left_out"].items():
            top = QTreeWidgetItem([f"Left out, {reason}: {format_count(len(names), 'file')}"])
            top.addChildren([QTreeWidgetItem([str(name)]) for name in names])
            self.left_out.addTopLevelItem(top)
        self.left_out.setVisible(bool(found["left_out"]))

    def show_length(self, found: Mapping[str, Any], steps: int) -> None:
        """What so many steps mean on this machine."""
        total = found["reading_s"] + steps * found["seconds_a_step"]
        self.time.setText(
            f"{format_count(steps, 'step')} of {format_count(found['batch'], 'clip')}: about "
            f"{format_duration(total)} on this machine ({found['device_name']}; "
            f"{found['clips_per_second']:.1f} clips per second)."
        )
        self.caveats.setText("\n".join(_caveats(found, steps)))
        self.time.show()
        self.caveats.setVisible(bool(self.caveats.text()))


def _caveats(found: Mapping[str, Any], steps: int) -> list[str]:
    """What a user should know before hours of computing."""
    said, clips = [], steps * found["batch"]
    if clips < MANY_CLIPS:
        whole = format_duration(MANY_CLIPS / found["clips_per_second"])
        lead = "Without a GPU this is slow: the run" if found["device"] == "cpu" else "The run"
        said.append(
            f"{lead} sees {clips:,} clips. Encoders usually see {MANY_CLIPS:,} and more, which takes about "
            f"{whole} here: expect little change from a short run."
        )
    if found["cines"] < FEW_CINES:
        few = "One cine is" if found["cines"] == 1 else f"{found['cines']} cines are"
        said.append(f"{few} little to learn from: add more if you can.")
    return said
