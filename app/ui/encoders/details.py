"""All that is known of one encoder."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QScrollArea, QWidget

from app.encoders.command_text import without_options
from app.encoders.comparison import EncoderComparison, EncoderResult
from app.encoders.inventory import EncoderEntry
from app.formatting import format_interval
from app.ui import theme

_HEIGHT = 190


class Details(QScrollArea):
    """Description, architecture, source, assumptions, licence, what it did on the user's labels."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setFixedHeight(_HEIGHT)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.text = QLabel()
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setWordWrap(True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setContentsMargins(10, 8, 10, 8)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setStyleSheet(f"background: {theme.RAISED};")
        self.setWidget(self.text)

    def show_encoder(self, one: EncoderEntry | None, compared: EncoderComparison | None) -> None:
        """Show this one; nothing for None."""
        self.text.setText("" if one is None else _html(one, compared))
        self.verticalScrollBar().setValue(0)


def _html(one: EncoderEntry, compared: EncoderComparison | None) -> str:
    card = one.card
    state = "in use" if one.in_use else "your own" if one.is_own else "ships with the program"
    head = f"<b>{escape(one.name)}</b>  <span style='color:{theme.MUTED}'>{state}</span>"
    measured = None if compared is None else compared.results.get(one.name)
    rows = []
    if compared is not None and measured is not None and measured.checksum == card.checksum:
        rows.append(("On your labels", _words(measured, compared)))
    rows.append(("Licence", card.licence))
    if assumed := _sentences(one.source.get("assumed")):
        rows.append(("Assumed", assumed))
    rows.append(("Form", f"{card.family}, {card.architecture}, {card.parameters:,} weights"))
    if file := _word(one.source.get("file")):
        container = _word(one.source.get("container"))
        rows.append(("Imported from", f"{file} ({container})" if container else file))
    if card.path is not None:
        rows.append(("File", str(card.path)))
    rows.append(("SHA-256", f"{card.checksum[:16]}..."))
    if recognised := _sentences(one.source.get("recognised")):
        rows.append(("Recognised", recognised))
    return f"{head}<br>{escape(card.description)}<br><table>{_table(rows)}</table>"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f"<tr><td style='color:{theme.MUTED}; padding-right: 14px; white-space: nowrap'>{escape(name)}</td>"
        f"<td>{escape(value)}</td></tr>"
        for name, value in rows
    )


def _words(measured: EncoderResult, compared: EncoderComparison) -> str:
    if measured.dice is None:
        return "too little is outlined to measure"
    each = ", ".join(f"{name} {dice:.3f}" for name, dice in measured.dice_by_structure.items())
    if measured.difference is None:
        return each
    verdict = {
        1: f"better than {compared.reference}",
        -1: f"worse than {compared.reference}",
        0: f"no difference to {compared.reference} that can be told from chance",
    }[measured.verdict]
    return f"{each}; {verdict}: {format_interval(*measured.difference)}"


def _sentences(value: object) -> str:
    return " ".join(without_options(str(one)) for one in value) if isinstance(value, list) else _word(value)


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
