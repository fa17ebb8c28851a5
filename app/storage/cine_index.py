"""The user's index of the paths of cines, outside every project.

Projects are shared, and names of folders and files often contain names of patients. Therefore a project
refers to a cine by the hash of its pixels, and its path is stored in this index, which stays on the machine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app import paths
from app.domain.errors import ApicalError
from app.storage.records import relative_path

_TABLE = """CREATE TABLE IF NOT EXISTS places (
    project TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    path BLOB NOT NULL,
    relative BLOB,
    PRIMARY KEY (project, content_hash)
) STRICT"""
_TIMEOUT_S = 1.0

_logger = logging.getLogger(__name__)


class CineIndex:
    """Paths by project and content hash, in a small SQLite file.

    An index that cannot be read counts as empty, and one that cannot be written is not changed: cines are
    then found by their content, or opened again by the user.

    Parameters
    ----------
    file : Path or None
        None for an index that stores nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    @classmethod
    def of_user(cls) -> CineIndex:
        """Return the index in the user's data folder."""
        try:
            return cls(paths.home() / "cine_index.sqlite")
        except ApicalError as error:
            _logger.info("paths of cines are not stored: %s", error)
            return cls(None)

    def paths(self, project: str, folder: Path) -> dict[str, Path]:
        """Return the path of every cine of a project by content hash.

        Parameters
        ----------
        project : str
            Identifier of the project.
        folder : Path
            Present folder of the project, in which cines that were moved together with it are found.
        """
        rows = self._run(
            lambda sql: sql.execute(
                "SELECT content_hash, path, relative FROM places WHERE project = ?", (project,)
            ).fetchall()
        )
        return {content_hash: _existing_path(folder, *row) for content_hash, *row in rows or ()}

    def path(self, project: str, folder: Path, content_hash: str) -> Path | None:
        """Return the path of one cine, None if it is unknown; parameters as in `paths`."""
        row = self._run(
            lambda sql: sql.execute(
                "SELECT path, relative FROM places WHERE project = ? AND content_hash = ?",
                (project, content_hash),
            ).fetchone()
        )
        return None if row is None else _existing_path(folder, *row)

    def store(self, project: str, folder: Path, found: Mapping[str, Path]) -> None:
        """Store absolute paths by content hash, and relative ones for cines in or below `folder`."""
        rows = []
        for content_hash, path in found.items():
            relative = relative_path(folder, path)
            beside = None if relative is None else os.fsencode(relative)
            rows.append((project, content_hash, os.fsencode(path), beside))

        def write(sql: sqlite3.Connection) -> None:
            with sql:
                sql.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", rows)

        self._run(write)

    def _run(self, operation: Callable[[sqlite3.Connection], Any]) -> Any:
        """Open the file for one operation and return its result; None if that fails."""
        if self._file is None:
            return None
        try:
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))
            with contextlib.closing(sqlite3.connect(self._file, timeout=_TIMEOUT_S)) as sql:
                # Do not wait for the disk: a cine whose path is lost in a power cut is found by content.
                sql.execute("PRAGMA synchronous = OFF")
                sql.execute(_TABLE)
                return operation(sql)
        except (sqlite3.Error, OSError) as error:
            _logger.info("the index of cines cannot be used: %s", type(error).__name__)
            return None


def _existing_path(folder: Path, stored: bytes, relative: bytes | None) -> Path:
    """Return the stored path, or the path relative to the project folder if only that one exists."""
    path = Path(os.fsdecode(stored))
    if relative is not None:
        beside = folder / os.fsdecode(relative)
        # Prefer the stored path: the folder of a project copy may contain another file of this name.
        if beside != path and not path.exists() and beside.exists():
            return beside
    return path
