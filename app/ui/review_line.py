"""The line that lists frames whose prediction is implausible, with links to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QWidget

from app.ui import theme

MOST = 6
"""Frames that are named; the others are counted."""


class ReviewLine(QLabel):
    """A line or two; hidden where there is nothing to review."""

    frame_wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.linkActivated.connect(lambda link: self.frame_wanted.emit(int(link)))
        self.hide()

    def show_findings(self, findings: Mapping[int, Sequence[str]]) -> None:
        """List the frames with findings; nothing where there are none.

        Parameters
        ----------
        findings
            What is implausible about the prediction of each frame, in words.
        """
        frames = sorted(frame for frame, reasons in findings.items() if reasons)
        links = [
            f"<a href='{frame}' style='color: {theme.ACCENT}; text-decoration: none'>{frame}</a>"
            for frame in frames[:MOST]
        ]
        more = f" and {len(frames) - MOST} more" if len(frames) > MOST else ""
        noun = "frame" if len(frames) == 1 else "frames"
        self.setText(f"Check the prediction on {noun} {', '.join(links)}{more}" if frames else "")
        reasons = [f"{frame}: {escape(', '.join(findings[frame]))}" for frame in frames[:MOST]]
        self.setToolTip(f"<qt>{'<br>'.join(reasons)}</qt>" if frames else "")
        self.setVisible(bool(frames))
