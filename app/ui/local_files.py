"""Files that the window is handed by the system, by names that may not be UTF-8."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QUrl

_LOST = "\N{REPLACEMENT CHARACTER}"


def local_paths(urls: Iterable[QUrl]) -> list[Path]:
    """Paths of what was dropped, without what is not a file of this machine."""
    return [local_path(url.toLocalFile()) for url in urls if url.isLocalFile()]


def local_path(name: str) -> Path:
    """The path that Qt's name stands for.

    Qt puts a replacement character for every byte that is not UTF-8. Where no file has such a name, the one
    whose real name looks like it is meant.
    """
    path = Path(name)
    if _LOST not in name or path.exists():
        return path
    found = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        found = found / (_alike(found, part) if _LOST in part else part)
    return found


def _alike(folder: Path, shown: str) -> str:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted as the system gives them
    except OSError:
        return shown
    return next((n for n in names if _as_shown(n) == _squeezed(shown)), shown)


def _as_shown(name: str) -> str:
    return _squeezed(os.fsencode(name).decode(errors="replace"))


def _squeezed(text: str) -> str:
    """Decoders differ in how many characters they put for a run of bad bytes."""
    while _LOST * 2 in text:
        text = text.replace(_LOST * 2, _LOST)
    return text
