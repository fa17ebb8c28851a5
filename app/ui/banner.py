"""Messages above the picture that wait to be read and stop nothing."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.ui import theme
from app.workspace.notice import Level

MOST = 3


_LOOK = {
    Level.INFO: ("info", theme.ACCENT),
    Level.WARNING: ("warning", theme.WARNING),
    Level.ERROR: ("error", theme.ERROR),
}

Action = tuple[str, Callable[[], object]]


class _Message(QFrame):
    def __init__(
        self, text: str, level: Level, action: Action | None, dismiss: Callable[[_Message], None]
    ) -> None:
        super().__init__()
        self.text, self.level = text, level
        name, colour = _LOOK[level]
        self.setObjectName("message")
        self.setStyleSheet(
            f"#message {{ background: {theme.RAISED}; border: 0; border-left: 3px solid {colour};"
            f" border-bottom: 1px solid {theme.LINE}; }}"
        )
        self.setAccessibleName(f"{level.name.lower()}: {text}")
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 6, 5)
        row.setSpacing(10)
        sign = QLabel()
        sign.setPixmap(theme.tinted(name, colour, 18))
        row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        words = QLabel(text)
        words.setTextFormat(Qt.TextFormat.PlainText)  # a file name is never markup
        words.setWordWrap(True)
        words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row.addWidget(words, 1)
        if action is not None:
            label, callback = action
            button = QPushButton(label)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _checked=False: callback())
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        close = QToolButton()
        close.setIcon(theme.icon("close"))
        close.setIconSize(QSize(14, 14))
        close.setObjectName("dismiss")
        close.setToolTip("Dismiss")
        close.setAccessibleName("Dismiss")
        close.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        close.clicked.connect(lambda: dismiss(self))
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)


class Banner(QWidget):
    """At most three messages, the newest on top; takes no room when there are none.

    Warnings and errors for which there is no room wait, and come up as others are dismissed.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._messages: list[_Message] = []  # newest first
        self._more = QToolButton()
        self._more.setObjectName("more")
        self._more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._more.clicked.connect(self.clear)
        self._column.addWidget(self._more)
        self.hide()

    def show_message(self, text: str, level: Level = Level.INFO, action: Action | None = None) -> None:
        """Put a message on top; the same text is not repeated but moves up.

        Parameters
        ----------
        text
            One plain sentence.
        level
            How much it matters. When there are too many, the oldest of the least important ones waits, or
            goes if it was mere information.
        action
            Label and callback of one button, or None.
        """
        for message in [m for m in self._messages if m.text == text]:
            self._drop(message)
        message = _Message(text, Level(level), action, self._remove)
        self._messages.insert(0, message)
        self._column.insertWidget(0, message)
        self._arrange()

    def dismiss(self, text: str) -> None:
        """Take the message with this text away, if it is there."""
        for message in [m for m in self._messages if m.text == text]:
            self._remove(message)

    def clear(self) -> None:
        """Take all messages away, those that wait as well."""
        for message in list(self._messages):
            self._drop(message)
        self._arrange()

    def messages(self) -> list[tuple[Level, str]]:
        """Level and text of what is shown, newest first."""
        return [(m.level, m.text) for m in self._messages if not m.isHidden()]

    def waiting(self) -> int:
        """How many messages wait for room."""
        return sum(m.isHidden() for m in self._messages)

    def _remove(self, message: _Message) -> None:
        self._drop(message)
        self._arrange()

    def _drop(self, message: _Message) -> None:
        self._messages.remove(message)
        self._column.removeWidget(message)
        message.hide()
        message.deleteLater()

    def _arrange(self) -> None:
        """Show the newest and the most important of the others."""
        shown = self._messages[:1] + sorted(self._messages[1:], key=lambda m: -m.level)[: MOST - 1]
        for message in list(self._messages):
            if message not in shown and message.level is Level.INFO:
                self._drop(message)
            else:
                message.setVisible(message in shown)
        waiting = len(self._messages) - len(shown)
        self._more.setText(f"{waiting} more message{'s' if waiting > 1 else ''}: dismiss all")
        self._more.setVisible(waiting > 0)
        self.setVisible(bool(self._messages))
