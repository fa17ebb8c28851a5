"""Exclusive use of a file by one process, for as long as that process lives."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from app.domain.errors import ProjectError


class FileLock:
    """Exclusive use of `path`, held through ``<path>.lock`` until `release` or the end of the process.

    Parameters
    ----------
    path : Path
        The file itself need not exist.

    Raises
    ------
    ProjectError
        If the file is already locked, by this or another process, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        import filelock  # imported late: it is slow, and not needed before the window is shown

        self._lock = filelock.FileLock(path.with_name(path.name + ".lock"), thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout as error:
            raise ProjectError(
                f"{path.name} is already open in another window or command: close it there, then try again."
            ) from error
        except OSError as error:
            raise ProjectError(
                f"{path.name} cannot be opened because its folder cannot be written ({error.strerror}): "
                "allow writing there, or copy the project elsewhere."
            ) from error

    def release(self) -> None:
        """Release the lock and remove its file; calling twice does nothing."""
        if not self._lock.is_locked:
            return
        if os.name == "posix":
            # Before the release: a process that waits on the removed file sees that and tries again.
            with contextlib.suppress(OSError):
                Path(self._lock.lock_file).unlink()
        self._lock.release()
