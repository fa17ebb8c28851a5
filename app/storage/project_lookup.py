"""Finding the project that a cine was last worked on in, so that opening the cine brings its work back."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from vjepa_core.atomic import write_text

logger = logging.getLogger(__name__)

SUFFIX = ".apical"
MAX_RECENT = 30


def automatic_path(folder: Path, content_hash: str) -> Path:
    """Where a cine's own project goes; the name is a hash, so it says nothing of the patient."""
    return folder / f"{content_hash[:16]}{SUFFIX}"


def find_project(content_hash: str, candidates: Iterable[Path], *, drawn: bool = False) -> Path | None:
    """Return the project, most recently written first, that knows a cine; None if none does.

    With `drawn`, only one that holds annotations of it counts.
    """
    existing = [path for path in dict.fromkeys(candidates) if path.is_file()]
    for path in sorted(existing, key=_written, reverse=True):
        if _contains(path, content_hash, drawn):
            return path
    return None


def projects_in(folder: Path) -> list[Path]:
    """Project files of a folder."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read_recent(file: Path) -> list[Path]:
    """Projects opened or saved lately, newest first; an unreadable list is an empty one."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(entries, list):
        return []
    return [Path(entry) for entry in entries if isinstance(entry, str)]


def remember(file: Path, project: Path) -> None:
    """Put a project at the head of the list of recent ones; a list that cannot be written is let be."""
    recent = [project, *(p for p in read_recent(file) if p != project)][:MAX_RECENT]
    try:
        write_text(file, json.dumps([str(p) for p in recent]))
    except OSError as error:
        logger.info("the list of recent projects was not written: %s", error.strerror)


def _written(path: Path) -> float:
    times = [path.stat().st_mtime]
    log = path.with_name(path.name + "-wal")
    if log.exists():
        times.append(log.stat().st_mtime)
    return max(times)


def _contains(path: Path, content_hash: str, drawn: bool) -> bool:
    """Return True if a project refers to a cine; with `drawn`, if it holds annotations of it."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)) as db:
            if not drawn:
                query = "SELECT 1 FROM cines WHERE content_hash = ?"
            elif db.execute("PRAGMA user_version").fetchone()[0] < 3:
                query = (
                    "SELECT 1 FROM cines JOIN annotations ON cine_id = cines.id "
                    "WHERE content_hash = ? LIMIT 1"
                )
            else:
                query = (
                    "SELECT 1 FROM cines JOIN layers ON cine_id = cines.id "
                    "JOIN annotations ON layer_id = layers.id WHERE content_hash = ? LIMIT 1"
                )
            row = db.execute(query, (content_hash,)).fetchone()
    except sqlite3.Error:
        return False
    return row is not None
