"""The status bar: state of learning, pixel under the pointer, calibration, unsaved strokes."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel, QStatusBar

from app.domain.cine import Cine
from app.ui import theme

HOVER_WIDTH = 190


class StatusLine:
    """Texts in the status bar of a window.

    Attributes
    ----------
    engine, opening, hidden, hover, scale, saved : QLabel
        State of learning; number of cines being opened; note that masks are hidden; pixel under the pointer;
        calibration; unsaved strokes.
    """

    def __init__(self, bar: QStatusBar) -> None:
        bar.setSizeGripEnabled(False)
        self.engine = QLabel("No cine open")
        self.opening = QLabel("")
        self.hidden = QLabel("")
        self.hidden.setStyleSheet(f"color: {theme.WARNING};")
        self.hover = QLabel("")
        self.hover.setMinimumWidth(HOVER_WIDTH)
        self.scale = QLabel("")
        self.saved = QLabel("")
        notice = QLabel("Research use only")
        notice.setStyleSheet(f"color: {theme.WARNING};")
        left = (self.engine, self.opening, self.hidden)
        right = (self.hover, self.scale, self.saved, notice)
        for label in left:
            bar.addWidget(label)
        for label in right:
            bar.addPermanentWidget(label)
        for label in (*left, *right):
            label.setContentsMargins(6, 1, 6, 1)

    def show_engine(self, text: str) -> None:
        """Show the state of learning."""
        self.engine.setText(text)

    def show_opening(self, count: int) -> None:
        """Show the number of cines that are being opened."""
        self.opening.setText("" if count == 0 else f"Opening {count} cine{'s' if count > 1 else ''}")

    def show_hidden(self, text: str) -> None:
        """Show that masks are hidden; '' if they are not."""
        self.hidden.setText(text)

    def show_cine(self, cine: Cine | None) -> None:
        """Show the calibration of a cine that is now visible, and its source."""
        self.hover.setText("")
        self.show_scale(cine)

    def show_scale(self, cine: Cine | None) -> None:
        """Show the calibration of a cine and its source."""
        if cine is None:
            self.scale.setText("")
        elif cine.calibration is None:
            self.scale.setText("Not calibrated")
            self.scale.setToolTip("The file contains no usable pixel size: areas are given in pixels.")
        else:
            x, y = (f"{mm:.3f}" for mm in (cine.calibration.mm_per_px_x, cine.calibration.mm_per_px_y))
            self.scale.setText(f"{x} mm/px" if x == y else f"{x} x {y} mm/px")
            self.scale.setToolTip(f"Width and height of a pixel, from {cine.calibration.source}.")

    def show_hover(self, pixel: tuple[int, int, int] | None) -> None:
        """Show column, row and grey value under the pointer, or nothing."""
        self.hover.setText("" if pixel is None else f"x {pixel[0]}  y {pixel[1]}  grey {pixel[2]}")

    def show_saved(self, pending: int) -> None:
        """Show the number of unsaved strokes, or that all are saved."""
        if pending:
            self.saved.setText(f"{pending} stroke{'s' if pending > 1 else ''} not saved")
            self.saved.setStyleSheet(f"color: {theme.ERROR};")
        else:
            self.saved.setText("Saved")
            self.saved.setStyleSheet("")
