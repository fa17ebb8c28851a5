"""A sentence with links to the frame or cine worth outlining next."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QWidget

from app.ui import theme

FRAME, CINE = "frame", "cine"
MAX_NAME_LENGTH = 26


class SuggestionLine(QLabel):
    """Displays a suggestion; hidden while there is none."""

    frame_wanted = Signal()
    cine_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.linkActivated.connect(self._follow)
        self.hide()

    def show_html(self, html: str) -> None:
        """Show a sentence of `suggestion_html`; '' hides the line."""
        if html != self.text():
            self.setText(html)
        self.setVisible(bool(html))

    def _follow(self, link: str) -> None:
        (self.cine_wanted if link == CINE else self.frame_wanted).emit()


def suggestion_html(frame: int | None, visible: int, cine: str | None, *, outlined: bool) -> str:
    """Return the suggestion as HTML with links `FRAME` and `CINE`.

    Parameters
    ----------
    frame : int or None
        Suggested frame.
    visible : int
        Visible frame.
    cine : str or None
        File name of the cine in which outlines improve the result most, if it is not this one.
    outlined : bool
        True if a frame of this cine is outlined.

    Returns
    -------
    str
        One or two lines; '' without a suggestion.
    """
    order = "next" if outlined else "first"
    lines = []
    if frame is None and outlined:
        lines.append("Enough is outlined on this cine: more outlines would help little.")
    elif frame == visible:
        lines.append(f"This frame is worth outlining {order}.")
    elif frame is not None:
        lines.append(f"Worth outlining {order}: {_link(FRAME, f'frame {frame}')}")
    if cine is not None:
        text = "Continue with" if frame is None else "Outlines would help more in"
        lines.append(
            f"{text}<br>{_link(CINE, _shorten(cine))}"
        )  # a line of its own, so that it is not wrapped
    return "<br>".join(f"<span style='color:{theme.MUTED}'>{line}</span>" for line in lines)


def _shorten(name: str) -> str:
    half = MAX_NAME_LENGTH // 2
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[:half]}…{name[-half:]}"


def _link(target: str, text: str) -> str:
    return f"<a href='{target}' style='color:{theme.ACCENT}; text-decoration: none'>{escape(text)}</a>"
