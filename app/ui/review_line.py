"""A line with links to the frames with findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QWidget

from app.ui import theme

MAX_LISTED = 6
"""Number of frames that are listed; further ones are only counted."""


class ReviewLine(QLabel):
    """Lists frames to review; hidden while there are none."""

    frame_wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.linkActivated.connect(lambda link: self.frame_wanted.emit(int(link)))
        self.hide()

    def show_findings(self, findings: Mapping[int, Sequence[str]]) -> None:
        """List the frames with findings.

        Parameters
        ----------
        findings : mapping of int to sequence of str
            Findings on the prediction of each frame, as texts.
        """
        frames = sorted(frame for frame, reasons in findings.items() if reasons)
        links = [
            f"<a href='{frame}' style='color: {theme.ACCENT}; text-decoration: none'>{frame}</a>"
            for frame in frames[:MAX_LISTED]
        ]
        more = f" and {len(frames) - MAX_LISTED} more" if len(frames) > MAX_LISTED else ""
        noun = "frame" if len(frames) == 1 else "frames"
        self.setText(f"Check the prediction on {noun} {', '.join(links)}{more}" if frames else "")
        reasons = [f"{frame}: {escape(', '.join(findings[frame]))}" for frame in frames[:MAX_LISTED]]
        self.setToolTip(f"<qt>{'<br>'.join(reasons)}</qt>" if frames else "")
        self.setVisible(bool(frames))
