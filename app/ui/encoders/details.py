"""Details of one encoder."""

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

HEIGHT = 190


class EncoderDetails(QScrollArea):
    """Displays description, result on the user's labels, licence, architecture and source."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setFixedHeight(HEIGHT)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.text = QLabel()
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setWordWrap(True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setContentsMargins(10, 8, 10, 8)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setStyleSheet(f"background: {theme.RAISED};")
        self.setWidget(self.text)

    def show_encoder(self, entry: EncoderEntry | None, comparison: EncoderComparison | None) -> None:
        """Display an encoder, or nothing."""
        self.text.setText("" if entry is None else _html(entry, comparison))
        self.verticalScrollBar().setValue(0)


def _html(entry: EncoderEntry, comparison: EncoderComparison | None) -> str:
    card = entry.card
    state = "in use" if entry.in_use else "your own" if entry.is_own else "included with Apical"
    head = f"<b>{escape(entry.name)}</b>  <span style='color:{theme.MUTED}'>{state}</span>"
    result = None if comparison is None else comparison.results.get(entry.name)
    rows = []
    if comparison is not None and result is not None and result.checksum == card.checksum:
        rows.append(("On your labels", _describe_result(result, comparison)))
    rows.append(("Licence", card.licence))
    if assumed := _sentences(entry.source.get("assumed")):
        rows.append(("Assumed", assumed))
    rows.append(("Architecture", f"{card.family}, {card.architecture}, {card.parameters:,} parameters"))
    if file := _text(entry.source.get("file")):
        container = _text(entry.source.get("container"))
        rows.append(("Imported from", f"{file} ({container})" if container else file))
    if card.path is not None:
        rows.append(("File", str(card.path)))
    rows.append(("SHA-256", f"{card.checksum[:16]}..."))
    if recognised := _sentences(entry.source.get("recognised")):
        rows.append(("Recognised", recognised))
    return f"{head}<br>{escape(card.description)}<br><table>{_table(rows)}</table>"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f"<tr><td style='color:{theme.MUTED}; padding-right: 14px; white-space: nowrap'>{escape(name)}</td>"
        f"<td>{escape(value)}</td></tr>"
        for name, value in rows
    )


def _describe_result(result: EncoderResult, comparison: EncoderComparison) -> str:
    if result.dice is None:
        return "not compared: too few frames are outlined"
    dice = ", ".join(f"{name} {dice:.3f}" for name, dice in result.dice_by_structure.items())
    if result.difference is None:
        return dice
    verdict = {
        1: f"better than {comparison.reference}",
        -1: f"worse than {comparison.reference}",
        0: f"no significant difference from {comparison.reference}",
    }[result.verdict]
    return f"{dice}; {verdict}: {format_interval(*result.difference)}"


def _sentences(value: object) -> str:
    return " ".join(without_options(str(item)) for item in value) if isinstance(value, list) else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
