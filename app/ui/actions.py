"""The actions of the key map as QActions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QWidget

from app.ui import theme
from app.ui.keymap import Keymap
from vjepa_core.resources import resource_path

HELD = frozenset({"peek"})
"""Keys that act while they are held; the canvas handles them."""


def create_actions(keymap: Keymap, window: QWidget) -> dict[str, QAction]:
    """Create a QAction with text, shortcuts and icon for every entry of the key map.

    Parameters
    ----------
    keymap : Keymap
        Entries and their keys.
    window : QWidget
        Window in which the shortcuts work; parent of the actions.

    Returns
    -------
    dict of str to QAction
        Actions by id.
    """
    actions: dict[str, QAction] = {}
    for entry in keymap:
        if entry.id in HELD:
            continue
        action = QAction(entry.text, window)
        action.setObjectName(entry.id)
        action.setShortcuts(keymap.sequences(entry.id))
        action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        if resource_path("icons", f"{entry.id}.svg").exists():
            action.setIcon(theme.icon(entry.id))
        window.addAction(action)
        actions[entry.id] = action
    return actions


def connect_actions(actions: Mapping[str, QAction], handlers: Mapping[str, Callable[[], object]]) -> None:
    """Call a handler without arguments when its action is triggered."""
    for action_id, handler in handlers.items():
        actions[action_id].triggered.connect(partial(_call, handler))


def _call(handler: Callable[[], object], _checked: bool = False) -> None:
    handler()
