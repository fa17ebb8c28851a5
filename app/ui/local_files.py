"""Paths of dropped and selected files whose names may not be valid UTF-8."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QUrl

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def local_paths(urls: Iterable[QUrl]) -> list[Path]:
    """Return the paths of dropped URLs; URLs that are not local files are left out."""
    return [local_path(url.toLocalFile()) for url in urls if url.isLocalFile()]


def local_path(name: str) -> Path:
    """Return the path of a file name that Qt returned.

    Qt replaces bytes that are not valid UTF-8 with a replacement character. If no file has that name, the
    path of a file whose name Qt would display in the same way is returned.
    """
    path = Path(name)
    if _REPLACEMENT not in name or path.exists():
        return path
    found = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        found = found / (_find_displayed_as(found, part) if _REPLACEMENT in part else part)
    return found


def _find_displayed_as(folder: Path, displayed: str) -> str:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted as the system gives them
    except OSError:
        return displayed
    return next((n for n in names if _displayed(n) == _collapse_replacements(displayed)), displayed)


def _displayed(name: str) -> str:
    return _collapse_replacements(os.fsencode(name).decode(errors="replace"))


def _collapse_replacements(text: str) -> str:
    """Replace runs of replacement characters with one: decoders differ in their number."""
    while _REPLACEMENT * 2 in text:
        text = text.replace(_REPLACEMENT * 2, _REPLACEMENT)
    return text
