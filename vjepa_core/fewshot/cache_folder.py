"""A folder of files that can be made again: bounded, the longest unused go first, shared by processes.

Nothing here is locked. Every step bears that another process writes, reads or removes the same files in that
moment, and that a system with mandatory locks (Windows) refuses to remove a file that somebody has open.
Knows no torch: `apical doctor` looks at the folder without it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

CAP_VARIABLE = "APICAL_FEATURE_CACHE_GB"
"""Environment variable with the largest size of the feature cache in GiB; 0 for no cache."""

DEFAULT_CAP = 8 * 2**30
"""Bytes. The largest encoders make 0.1 to 0.35 GB of a cine: a study of 20 fits."""

_FREE_BYTES, _FREE_SHARE = 2 * 2**30, 0.05
_SUFFIX = ".safetensors"
_TEMPORARY = ".tmp"
_ABANDONED_S = 3600.0


class Entry(NamedTuple):
    """A stored file; ordered by its last use, seconds since the epoch."""

    used: float
    size: int
    path: Path


class Cleared(NamedTuple):
    """What `CacheFolder.clear` removed, and how many files it had to leave because they are in use."""

    files: int
    size: int
    left: int


def parse_cap(text: str) -> int | None:
    """Bytes of a number of GiB ("8", "0.5"); None if it is no number from 0 on."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number * 2**30) if 0 <= number < math.inf else None


def cap_from_environment() -> int:
    """Largest size of the cache in bytes, from `CAP_VARIABLE`; the default where that says nothing useful."""
    text = os.environ.get(CAP_VARIABLE, "").strip()
    cap = parse_cap(text) if text else DEFAULT_CAP
    if cap is None:
        log.warning("%s is no number of GiB from 0 on: it is ignored.", CAP_VARIABLE)
        return DEFAULT_CAP
    return cap


class CacheFolder:
    """Files of one folder.

    Parameters
    ----------
    folder : Path
        Made when it is first needed; holds nothing else.
    max_bytes : int, optional
        Largest size of all files; 0 for no cache. Default `cap_from_environment()`.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.max_bytes = cap_from_environment() if max_bytes is None else max_bytes

    def entries(self) -> list[Entry]:
        """Stored files, the longest unused first."""
        found = []
        for path in self._listed():
            if path.suffix == _SUFFIX:
                with contextlib.suppress(OSError):  # removed since it was listed
                    status = path.stat()
                    found.append(Entry(status.st_mtime, status.st_size, path))
        return sorted(found)

    def size(self) -> int:
        """Bytes of all stored files."""
        return sum(entry.size for entry in self.entries())

    def limit(self, stored: int) -> int:
        """Bytes that files may take now, of which `stored` are taken: the disk is never filled up.

        2 GiB of it, or a twentieth of a small one, stay free for strokes and projects.
        """
        try:
            disk = shutil.disk_usage(self.folder)
        except OSError:  # no such folder yet; what the disk cannot take, it will refuse
            return self.max_bytes
        keep_free = min(_FREE_BYTES, int(disk.total * _FREE_SHARE))
        return max(0, min(self.max_bytes, stored + disk.free - keep_free))

    def clear(self) -> Cleared:
        """Remove all files but those that somebody is writing at the moment."""
        self._sweep()
        entries = self.entries()
        gone = [entry for entry in entries if remove(entry.path)]
        return Cleared(len(gone), sum(entry.size for entry in gone), len(entries) - len(gone))

    def path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def make_room(self, size: int) -> bool:
        """Remove the longest unused files until `size` more bytes fit; False where they never can."""
        self._sweep()
        entries = self.entries()
        total = sum(entry.size for entry in entries)
        target = self.limit(total) - size
        if target < 0:
            return False
        for entry in entries:
            if total <= target:
                break
            if remove(entry.path):
                total -= entry.size
        return total <= target

    def _sweep(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        for path in self._listed():
            # safetensors itself writes to a name that begins so.
            if path.name.endswith(_TEMPORARY) or path.name.startswith(_TEMPORARY):
                with contextlib.suppress(OSError):  # finished meanwhile
                    if time.time() - path.stat().st_mtime > _ABANDONED_S:
                        remove(path)

    def _listed(self) -> list[Path]:
        try:
            return list(self.folder.iterdir())
        except OSError:
            return []


def remove(path: Path) -> bool:
    """Remove a file; True if it is gone, whoever did it."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # in use, on a system that minds
        log.debug("a file of the cache cannot be removed: %s", error.strerror)
        return False
    return True


def touch(path: Path) -> None:
    """Mark a file as used just now."""
    try:
        os.utime(path)
    except OSError as error:
        log.debug("a file of the cache cannot be marked as used: %s", error.strerror)
