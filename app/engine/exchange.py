"""The exchange folder, by which the program and its engine share pixels."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import ProjectError
from app.storage.filelock import FileLock
from vjepa_core.service.messages import SharedArray

_PREFIX = "exchange-"


class Exchange:
    """A private folder of memory-mapped arrays, deleted by `close`.

    Folders that killed programs have left behind are deleted first.

    Parameters
    ----------
    parent : Path
        Folder in which the exchange folder is created.

    Raises
    ------
    ProjectError
        If the folder cannot be written.
    """

    def __init__(self, parent: Path) -> None:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(parent)
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self._lock = FileLock(self.folder / "owner")
        except OSError as error:
            raise ProjectError(
                f"The cache folder {parent} cannot be written ({error.strerror}): free some space, or set "
                "APICAL_HOME to another folder."
            ) from error
        self._numbers = itertools.count()

    def put(self, array: NDArray[np.uint8]) -> SharedArray:
        """Write an array that the engine can map; raise ProjectError if it cannot be written."""
        shared = self.allocate(array.shape)
        mapped = shared.open(writable=True)
        mapped[...] = array
        return shared

    def allocate(self, shape: tuple[int, ...]) -> SharedArray:
        """Create an array of zeros that either process can fill; raise ProjectError if that fails."""
        try:
            return SharedArray.create(self.folder / f"{next(self._numbers)}.u8", shape)
        except OSError as error:
            raise ProjectError(
                f"The cache folder {self.folder.parent} is full or cannot be written ({error.strerror}): "
                "free some space there."
            ) from error

    def close(self) -> None:
        """Delete the folder."""
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            lock = FileLock(folder / "owner")
        except (ProjectError, OSError):
            continue  # in use
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)
