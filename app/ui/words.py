"""Numbers in words, and questions that stop nothing but their dialog."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QMessageBox, QWidget

from app.ui import theme

Answer = tuple[str, Callable[[], object] | None]

BETTER = "#7fc28a"
"""Of a figure that is better than the one it is compared with."""


def duration(seconds: float) -> str:
    """'40 seconds', '12 minutes', '3.5 hours', '2 days'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    if seconds < 48 * 3600:
        hours = seconds / 3600
        return f"{hours:.1f} hours" if hours < 10 else f"{hours:.0f} hours"
    return f"{seconds / 86400:.0f} days"


def count(number: int, noun: str) -> str:
    """'1 cine', '1,200 cines'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def label(text: str = "", colour: str = "", *, bold: bool = False) -> QLabel:
    """A line that wraps; its text is never markup."""
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setWordWrap(True)
    paint(made, colour)
    if bold:
        font = made.font()
        font.setBold(True)
        made.setFont(font)
    return made


def paint(made: QLabel, colour: str = "") -> None:
    """Colour of a line; '' for that of all text."""
    made.setStyleSheet(f"color: {colour or theme.TEXT};")


def ask(parent: QWidget, text: str, more: str, *answers: Answer) -> QMessageBox:
    """Ask without stopping the program: the answers' calls come when one is chosen.

    Parameters
    ----------
    text, more
        The question, and what follows from the answers.
    answers
        Text of a button and what it does; None does nothing. The last one is also that of the Esc key.
    """
    box = QMessageBox(QMessageBox.Icon.NoIcon, parent.window().windowTitle(), text, parent=parent)
    box.setInformativeText(more)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    calls: dict[object, Callable[[], object] | None] = {}
    for words, call in answers:
        button = box.addButton(words, QMessageBox.ButtonRole.ActionRole)
        calls[button] = call
    box.setDefaultButton(button)
    box.setEscapeButton(button)

    def answered() -> None:
        call = calls.get(box.clickedButton())
        if call is not None:
            call()

    box.finished.connect(answered)
    box.open()
    return box
