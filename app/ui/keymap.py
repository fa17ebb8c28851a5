"""Actions and their keys: the defaults in `keymap.json`, and the user's changes."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtGui import QKeySequence

from app.ui import theme
from vjepa_core.resources import resource_path

MOUSE = (
    ("Draw with the active tool", "left button"),
    ("Previous or next frame", "wheel"),
    ("Previous or next annotated frame", "Shift + wheel"),
    ("Zoom at the pointer", "Ctrl + wheel"),
    ("Move the picture", "middle button, or Alt + left"),
    ("Grey levels: drag sideways for window, up and down for level", "right button"),
    ("Close an outline", "double click, Enter, or click its start"),
    ("Move a point of the long axis (with the tool Move)", "left button"),
    ("Derive the long axis from the masks again", "double click on one of its points"),
    ("Move the ED or ES flag on the curve", "left button"),
    ("Remove the last corner; discard the outline or stroke", "Backspace; Esc"),
)
"""Mouse actions on the picture, which cannot be changed."""


@dataclass(frozen=True)
class Action:
    """A command: id, text, group in the list of keys, and keys in portable notation."""

    id: str
    text: str
    group: str
    keys: tuple[str, ...]


class Keymap:
    """All actions by id, in the order in which they are listed.

    Attributes
    ----------
    warning : str or None
        Reason why the user's file could not be used; None if it was used or does not exist.
    """

    def __init__(self, actions: tuple[Action, ...], warning: str | None = None) -> None:
        self._actions = {a.id: a for a in actions}
        self.warning = warning

    def __iter__(self) -> Iterator[Action]:
        return iter(self._actions.values())

    def __getitem__(self, action: str) -> Action:
        return self._actions[action]

    def __contains__(self, action: object) -> bool:
        return action in self._actions

    def sequences(self, action: str) -> list[QKeySequence]:
        """Return the keys of an action; may be empty."""
        return [_parse(key) for key in self._actions[action].keys]

    def hint(self, action: str) -> str:
        """Return the text of an action with its first key, such as 'Brush (B)'."""
        entry, keys = self._actions[action], self.sequences(action)
        return f"{entry.text} ({_native(keys[0])})" if keys else entry.text

    def sheet_html(self) -> str:
        """Return the list of all keys and mouse actions as HTML for a `QTextBrowser`."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for action in self:
            if not action.id.startswith("class_"):
                keys = " or ".join(_native(s) for s in self.sequences(action.id))
                groups.setdefault(action.group, []).append((action.text, keys))
        digits = [_native(s[0]) for i in range(1, 10) if (s := self.sequences(f"class_{i}"))]
        groups.setdefault("Tools", []).append(("Draw structure 1 to 9", " ".join(digits)))
        groups["Mouse on the picture"] = list(MOUSE)
        return "".join(_table(name, rows) for name, rows in groups.items())


def load_keymap(user_file: Path | None) -> Keymap:
    """Return the default keys with a user's changes.

    Parameters
    ----------
    user_file : Path or None
        JSON object of action id to a key or a list of keys, such as ``{"play_pause": ["Space", "K"]}``; an
        empty list removes the keys of an action. A missing file changes nothing; an invalid file changes
        nothing either and is reported in `Keymap.warning`.
    """
    defaults = json.loads(resource_path("keymap.json").read_text(encoding="utf-8"))
    actions = tuple(Action(a["id"], a["text"], a["group"], tuple(a["keys"])) for a in defaults["actions"])
    if user_file is None or not user_file.exists():
        return Keymap(actions)
    try:
        wanted = _read_user_file(user_file, {a.id for a in actions})
    except (OSError, ValueError) as error:
        reason = "it is not valid JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        return Keymap(
            actions,
            f"{user_file.name} was not used ({reason}). The default keys apply: correct or delete the file.",
        )
    taken = {_native(_parse(key)) for keys in wanted.values() for key in keys}
    # A key that the user has assigned to one action no longer belongs to another.
    remaining = {a.id: tuple(k for k in a.keys if _native(_parse(k)) not in taken) for a in actions}
    return Keymap(tuple(replace(a, keys=wanted.get(a.id, remaining[a.id])) for a in actions))


def _read_user_file(path: Path, action_ids: set[str]) -> dict[str, tuple[str, ...]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is not an object of action names and keys")
    wanted: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for action, value in content.items():
        keys = [value] if isinstance(value, str) else value
        if action not in action_ids:
            raise ValueError(f"there is no action “{action}”")
        if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
            raise ValueError(f"the keys of “{action}” are not text")
        for key in keys:
            sequence = _parse(key)
            if sequence.isEmpty() or "Unknown" in sequence.toString() or not sequence.toString():
                raise ValueError(f"“{key}” is not a key")
            if owner.setdefault(_native(sequence), action) != action:
                raise ValueError(f"“{key}” is assigned to both “{owner[_native(sequence)]}” and “{action}”")
        wanted[action] = tuple(keys)
    return wanted


def _parse(key: str) -> QKeySequence:
    return QKeySequence(key, QKeySequence.SequenceFormat.PortableText)


def _native(sequence: QKeySequence) -> str:
    return sequence.toString(QKeySequence.SequenceFormat.NativeText)


def _table(name: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td width='280' style='padding: 2px 24px 2px 0'>{html.escape(text)}</td>"
        f"<td style='padding: 2px 0; color: {theme.ACCENT}'>{html.escape(keys)}</td></tr>"
        for text, keys in rows
    )
    head = f"<h4 style='margin: 10px 0 2px 0; color: {theme.MUTED}'>{html.escape(name)}</h4>"
    return f"{head}<table>{cells}</table>"
