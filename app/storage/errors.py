"""Errors of the disk and of SQLite as one sentence with a remedy."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from app.domain.errors import ApicalError, ProjectError


class ExportError(ApicalError):
    """Results cannot be written to the chosen folder."""


def project_error(path: Path, error: sqlite3.Error) -> ProjectError:
    """Return the error to raise for an error of SQLite on a project."""
    code = getattr(error, "sqlite_errorcode", None)
    match None if code is None else code & 0xFF:  # the low byte is the primary result code
        case sqlite3.SQLITE_FULL:
            text = f"The disk holding {path.name} is full: free some space, or save the project elsewhere."
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            text = f"{path.name} cannot be written: allow writing there, or save the project elsewhere."
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            text = f"{path.name} is locked by another program: close that program, then try again."
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path)
        case sqlite3.SQLITE_IOERR:
            text = (
                f"The disk holding {path.name} does not respond: reconnect it, or save the project elsewhere."
            )
        case _:
            text = f"{path.name} cannot be read or written ({error}): close it and open it again."
    return ProjectError(text)


def damaged(path: Path) -> ProjectError:
    """Return the error to raise for a project with damaged parts."""
    return ProjectError(f"{path.name} is damaged and was not changed: open a saved copy or a backup of it.")


def export_error(path: Path, error: OSError) -> ExportError:
    """Return the error to raise for an error of the operating system on writing results."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            text = f"The disk is full and {path} was not written: free some space, or choose another folder."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            text = f"{path} may not be written: allow writing there, or choose another folder."
        case _:
            text = f"{path} cannot be written ({error.strerror or error}): choose another folder."
    return ExportError(text)
