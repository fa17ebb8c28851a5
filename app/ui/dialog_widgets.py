"""Labels and questions that all dialogs use."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QMessageBox, QWidget

from app.ui import theme

Answer = tuple[str, Callable[[], object] | None]


def wrapped_label(text: str = "", colour: str = "", *, bold: bool = False) -> QLabel:
    """Return a label that wraps its text; the text is never interpreted as markup."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    set_text_colour(label, colour)
    if bold:
        font = label.font()
        font.setBold(True)
        label.setFont(font)
    return label


def set_text_colour(label: QLabel, colour: str = "") -> None:
    """Set the colour of a label's text; '' for the default colour."""
    label.setStyleSheet(f"color: {colour or theme.TEXT};")


def ask(parent: QWidget, question: str, details: str, *answers: Answer) -> QMessageBox:
    """Ask a question without blocking; the callback of the chosen answer is called later.

    Parameters
    ----------
    parent : QWidget
        Widget whose window the question belongs to.
    question, details : str
        The question, and the consequences of the answers.
    *answers : tuple of str and callable or None
        Text and callback of each button. The last one is the default, and also the answer of the Esc key.
    """
    box = QMessageBox(QMessageBox.Icon.NoIcon, parent.window().windowTitle(), question, parent=parent)
    box.setInformativeText(details)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    callbacks: dict[object, Callable[[], object] | None] = {}
    for text, callback in answers:
        button = box.addButton(text, QMessageBox.ButtonRole.ActionRole)
        callbacks[button] = callback
    box.setDefaultButton(button)
    box.setEscapeButton(button)

    def call_chosen() -> None:
        callback = callbacks.get(box.clickedButton())
        if callback is not None:
            callback()

    box.finished.connect(call_chosen)
    box.open()
    return box
