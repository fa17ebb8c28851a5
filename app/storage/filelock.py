"""A lock on a file that dies with the process holding it, on Linux, macOS and Windows."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from app.domain.errors import ProjectError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        # flock, not lockf: it also tells two opens of one process apart.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Exclusive use of `path`, held through ``<path>.lock`` until `release` or the process's end.

    Raises
    ------
    ProjectError
        If somebody else holds it, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.with_name(path.name + ".lock")
        try:
            self._descriptor = self._acquire(path)
        except OSError as error:
            raise ProjectError(
                f"{path.name} cannot be opened because its folder cannot be written ({error.strerror}): "
                "allow writing there, or copy the project elsewhere."
            ) from error

    def _acquire(self, path: Path) -> int:
        while True:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _try_lock(descriptor)
            except OSError as error:
                os.close(descriptor)
                raise ProjectError(
                    f"{path.name} is already open in another window or command: "
                    "close it there, then try again."
                ) from error
            # The holder before us removes its lock file: a lock on a removed file guards nothing.
            with contextlib.suppress(FileNotFoundError):
                if sys.platform == "win32" or os.path.samestat(os.fstat(descriptor), self._file.stat()):
                    return descriptor
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock back and remove its file; calling twice does nothing."""
        if self._descriptor < 0:
            return
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                self._file.unlink()
        os.close(self._descriptor)
        self._descriptor = -1
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                self._file.unlink()
