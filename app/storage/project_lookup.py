"""Search for the project in which a cine was last annotated, and the list of recent projects."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from vjepa_core.atomic import write_text

logger = logging.getLogger(__name__)

SUFFIX = ".apical"
MAX_RECENT = 30
_BACKUP = re.compile(r"\.backup-v\d+\.apical$")


def automatic_path(folder: Path, content_hash: str) -> Path:
    """Return the path of a project for one cine; the name is a hash, which says nothing about the patient."""
    return folder / f"{content_hash[:16]}{SUFFIX}"


def find_project(content_hash: str, candidates: Iterable[Path], *, drawn: bool = False) -> Path | None:
    """Return the most recently written project that refers to a cine; None if there is none.

    Parameters
    ----------
    content_hash : str
        Of the cine.
    candidates : iterable of Path
        Projects; files that are no projects are skipped.
    drawn : bool
        Consider only projects with annotations of the cine.
    """
    existing = [path for path in dict.fromkeys(candidates) if path.is_file()]
    for path in sorted(existing, key=_last_write, reverse=True):
        if _contains(path, content_hash, drawn):
            return path
    return None


def projects_in(folder: Path) -> list[Path]:
    """Return the project files of a folder, without the copies stored before a migration."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not _BACKUP.search(path.name))


def read_recent(file: Path) -> list[Path]:
    """Return the recently opened or saved projects, newest first; none if the list is unreadable."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(entries, list):
        return []
    return [Path(entry) for entry in entries if isinstance(entry, str)]


def add_recent(file: Path, project: Path) -> None:
    """Put a project at the start of the list of recent projects, if the list can be written."""
    recent = [project, *(p for p in read_recent(file) if p != project)][:MAX_RECENT]
    try:
        write_text(file, json.dumps([str(p) for p in recent]))
    except OSError as error:
        logger.info("the list of recent projects was not written: %s", error.strerror)


def _last_write(path: Path) -> float:
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
