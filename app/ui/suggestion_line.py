"""The sentence that says what is worth outlining next, with links to it."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QWidget

from app.ui import theme

FRAME, CINE = "frame", "cine"
_NAME = 26  # characters of a file's name


class SuggestionLine(QLabel):
    """A line or two; hidden where there is nothing to say."""

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


def suggestion_html(frame: int | None, here: int, cine: str | None, *, outlined: bool) -> str:
    """Return what is worth outlining next, as HTML with links `FRAME` and `CINE`.

    Parameters
    ----------
    frame, here
        The suggested frame, None for none, and the visible one.
    cine
        File name of the cine in which a label teaches more than in this one, None for none.
    outlined
        Whether anything is outlined on this cine.
    """
    begin = "next" if outlined else "first"
    said = []
    if frame is None and outlined:
        said.append("This cine is learnt well: further frames would help little.")
    elif frame == here:
        said.append(f"This frame is worth outlining {begin}.")
    elif frame is not None:
        said.append(f"Worth outlining {begin}: {_link(FRAME, f'frame {frame}')}")
    if cine is not None:
        name = cine if len(cine) <= _NAME else f"{cine[: _NAME // 2]}…{cine[-(_NAME // 2) :]}"
        # On a line of its own: a name must not be broken.
        said.append(f"{'Go on with' if frame is None else 'More is learnt from'}<br>{_link(CINE, name)}")
    return "<br>".join(f"<span style='color:{theme.MUTED}'>{one}</span>" for one in said)


def _link(target: str, text: str) -> str:
    return f"<a href='{target}' style='color:{theme.ACCENT}; text-decoration: none'>{escape(text)}</a>"
