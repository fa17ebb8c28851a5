"""Messages above the picture, which stay until they are dismissed."""

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

MAX_VISIBLE = 3

_ICONS = {
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
        name, colour = _ICONS[level]
        self.setObjectName("message")
        self.setStyleSheet(
            f"#message {{ background: {theme.RAISED}; border: 0; border-left: 3px solid {colour};"
            f" border-bottom: 1px solid {theme.LINE}; }}"
        )
        self.setAccessibleName(f"{level.name.lower()}: {text}")
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 6, 5)
        row.setSpacing(10)
        icon = QLabel()
        icon.setPixmap(theme.tinted(name, colour, 18))
        row.addWidget(icon, 0, Qt.AlignmentFlag.AlignTop)
        body = QLabel(text)
        body.setTextFormat(Qt.TextFormat.PlainText)  # file names may contain markup
        body.setWordWrap(True)
        body.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        body.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row.addWidget(body, 1)
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
    """Displays up to three messages, the newest on top.

    Further warnings and errors wait until others are dismissed; further messages of level INFO are dropped.
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
        """Display a message on top; a message with the same text is replaced.

        Parameters
        ----------
        text : str
            Plain text.
        level : Level
            Severity. If there are too many messages, the oldest of the least severe ones waits or is dropped.
        action : tuple of str and callable, optional
            Label and callback of a button.
        """
        for message in [m for m in self._messages if m.text == text]:
            self._drop(message)
        message = _Message(text, Level(level), action, self._remove)
        self._messages.insert(0, message)
        self._column.insertWidget(0, message)
        self._arrange()

    def dismiss(self, text: str) -> None:
        """Remove the message with this text, if any."""
        for message in [m for m in self._messages if m.text == text]:
            self._remove(message)

    def clear(self) -> None:
        """Remove all messages, including waiting ones."""
        for message in list(self._messages):
            self._drop(message)
        self._arrange()

    def messages(self) -> list[tuple[Level, str]]:
        """Return level and text of the visible messages, newest first."""
        return [(m.level, m.text) for m in self._messages if not m.isHidden()]

    def waiting(self) -> int:
        """Return the number of waiting messages."""
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
        """Display the newest message and the most severe of the others."""
        shown = self._messages[:1] + sorted(self._messages[1:], key=lambda m: -m.level)[: MAX_VISIBLE - 1]
        for message in list(self._messages):
            if message not in shown and message.level is Level.INFO:
                self._drop(message)
            else:
                message.setVisible(message in shown)
        waiting = len(self._messages) - len(shown)
        self._more.setText(f"{waiting} more message{'s' if waiting > 1 else ''}: dismiss all")
        self._more.setVisible(waiting > 0)
        self.setVisible(bool(self._messages))
