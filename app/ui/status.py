"""The line at the bottom: engine, pointer, calibration, whether all is saved."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel, QStatusBar

from app.domain.cine import Cine
from app.ui import theme


class StatusLine:
    """Labels in a window's status bar."""

    def __init__(self, bar: QStatusBar) -> None:
        bar.setSizeGripEnabled(False)
        self._engine = QLabel("no cine open")
        self._opening = QLabel("")
        self._hidden = QLabel("")
        self._hidden.setStyleSheet(f"color: {theme.WARNING};")
        self._hover = QLabel("")
        self._scale = QLabel("")
        self._saved = QLabel("")
        notice = QLabel("Research use only")
        notice.setStyleSheet(f"color: {theme.WARNING};")
        self._hover.setMinimumWidth(190)
        bar.addWidget(self._engine)
        bar.addWidget(self._opening)
        bar.addWidget(self._hidden)
        for label in (self._hover, self._scale, self._saved, notice):
            bar.addPermanentWidget(label)
        for label in (
            self._engine,
            self._opening,
            self._hidden,
            self._hover,
            self._scale,
            self._saved,
            notice,
        ):
            label.setContentsMargins(6, 1, 6, 1)
        self._cine: Cine | None = None

    def show_engine(self, text: str) -> None:
        """What the engine does."""
        self._engine.setText(text)

    def show_opening(self, count: int) -> None:
        """How many cines are still being opened."""
        self._opening.setText("" if count == 0 else f"opening {count} cine{'s' if count > 1 else ''}")

    def show_hidden(self, text: str) -> None:
        """That the masks are hidden; nothing for ''."""
        self._hidden.setText(text)

    def hidden_text(self) -> str:
        """What `show_hidden` was told last."""
        return self._hidden.text()

    def show_cine(self, cine: Cine | None) -> None:
        """Calibration, and where it came from."""
        self._cine = cine
        self._hover.setText("")
        if cine is None:
            self._scale.setText("")
        elif cine.calibration is None:
            self._scale.setText("not calibrated")
            self._scale.setToolTip("The file gives no usable size of a pixel: areas are in pixels")
        else:
            x, y = (f"{mm:.3f}" for mm in (cine.calibration.mm_per_px_x, cine.calibration.mm_per_px_y))
            self._scale.setText(f"{x} mm/px" if x == y else f"{x} x {y} mm/px")
            self._scale.setToolTip(f"Width and height of a pixel, from {cine.calibration.source}")

    def show_hover(self, under: tuple[int, int, int] | None) -> None:
        """Pixel under the pointer, None for none."""
        self._hover.setText("" if under is None else f"x {under[0]}  y {under[1]}  grey {under[2]}")

    def show_saved(self, pending: int) -> None:
        """Whether every stroke is on the disk."""
        if pending:
            self._saved.setText(f"{pending} stroke{'s' if pending > 1 else ''} not saved")
            self._saved.setStyleSheet(f"color: {theme.ERROR};")
        else:
            self._saved.setText("all saved")
            self._saved.setStyleSheet("")

    def engine_text(self) -> str:
        """What `show_engine` was told last."""
        return self._engine.text()
