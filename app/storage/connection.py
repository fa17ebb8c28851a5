"""One SQLite connection: transactions, and errors as sentences for the user."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from app.storage.errors import project_error


class Connection:
    """A connection, in WAL mode where possible, that several threads may share.

    Parameters
    ----------
    path : Path
        The project file.
    synchronous : {"FULL", "NORMAL"}
        FULL: a transaction is on the disk when `transaction` ends. NORMAL: it survives the end of the
        process, but not a power cut.
    timeout_s : float
        Maximum time to wait for the transaction of another connection.
    checkpoint_pages : int
        Number of pages in the write-ahead log after which a commit moves them into the file.

    Raises
    ------
    ProjectError
        If the file cannot be opened.
    """

    def __init__(
        self, path: Path, synchronous: Literal["FULL", "NORMAL"], timeout_s: float, checkpoint_pages: int
    ) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            # isolation_level None: transactions begin and end only in `transaction`.
            self._sqlite = sqlite3.connect(
                path, timeout=timeout_s, isolation_level=None, check_same_thread=False
            )
            # On a file system without shared memory, SQLite keeps its rollback journal: slower, equally safe.
            self._sqlite.execute("PRAGMA journal_mode = WAL")
            self._sqlite.execute(f"PRAGMA synchronous = {synchronous}")
            self._sqlite.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
            self._sqlite.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as error:
            raise project_error(path, error) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all statements of the block together, or none; ProjectError if they cannot be written."""
        with self._lock:
            try:
                self._sqlite.execute("BEGIN IMMEDIATE")
                yield self._sqlite
                self._sqlite.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    if self._sqlite.in_transaction:
                        self._sqlite.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise project_error(self._path, error) from error
                raise

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query; ProjectError if the file cannot be read."""
        with self._lock:
            try:
                return self._sqlite.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise project_error(self._path, error) from error

    def close(self) -> None:
        """Close the connection, ignoring errors."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._sqlite.close()
