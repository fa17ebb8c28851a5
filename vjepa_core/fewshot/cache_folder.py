"""Folder of cache files with a size limit, shared by processes; the least recently used are removed first.

No locks are used. Every operation tolerates that another process writes, reads or removes the same files at
the same time, and that Windows does not allow removing an open file. Does not import torch, so that `apical
doctor` can inspect the folder without it.
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
"""Environment variable with the maximum size of the feature cache in GiB; 0 disables the cache."""

DEFAULT_CAP = 8 * 2**30
"""Default maximum size in bytes: 20 cines of 0.1 to 0.35 GB each with the largest encoders."""

_FREE_BYTES, _FREE_SHARE = 2 * 2**30, 0.05
_SUFFIX = ".safetensors"
_TEMPORARY = ".tmp"
_ABANDONED_S = 3600.0


class Entry(NamedTuple):
    """Stored file: last use (seconds since the epoch), size in bytes, path. Sorted by last use."""

    used: float
    size: int
    path: Path


class Cleared(NamedTuple):
    """Number and total size of files removed by `CacheFolder.clear`, and number of files left in use."""

    files: int
    size: int
    left: int


def parse_cap(text: str) -> int | None:
    """Convert a number of GiB ("8", "0.5") to bytes; None if it is not a non-negative number."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number * 2**30) if 0 <= number < math.inf else None


def cap_from_environment() -> int:
    """Return the maximum size of the cache in bytes from `CAP_VARIABLE`, or the default if it is invalid."""
    text = os.environ.get(CAP_VARIABLE, "").strip()
    cap = parse_cap(text) if text else DEFAULT_CAP
    if cap is None:
        log.warning("%s is not a non-negative number of GiB: it is ignored.", CAP_VARIABLE)
        return DEFAULT_CAP
    return cap


class CacheFolder:
    """Cache files in one folder.

    Parameters
    ----------
    folder : Path
        Folder for cache files only; created when needed.
    max_bytes : int, optional
        Maximum total size; 0 disables the cache. Default: `cap_from_environment()`.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.max_bytes = cap_from_environment() if max_bytes is None else max_bytes

    def entries(self) -> list[Entry]:
        """Return the stored files, least recently used first."""
        entries = []
        for path in self._listed():
            if path.suffix == _SUFFIX:
                with contextlib.suppress(OSError):  # removed in the meantime
                    status = path.stat()
                    entries.append(Entry(status.st_mtime, status.st_size, path))
        return sorted(entries)

    def size(self) -> int:
        """Return the total size of the stored files in bytes."""
        return sum(entry.size for entry in self.entries())

    def limit(self, stored: int) -> int:
        """Return the maximum total size in bytes, given that `stored` bytes are in use.

        2 GiB of the disk, or a twentieth of a small disk, stay free for projects.
        """
        try:
            disk = shutil.disk_usage(self.folder)
        except OSError:  # the folder does not exist yet; a full disk is detected when writing
            return self.max_bytes
        keep_free = min(_FREE_BYTES, int(disk.total * _FREE_SHARE))
        return max(0, min(self.max_bytes, stored + disk.free - keep_free))

    def clear(self) -> Cleared:
        """Remove all files except those that are being written."""
        self._sweep()
        entries = self.entries()
        removed = [entry for entry in entries if remove(entry.path)]
        return Cleared(len(removed), sum(entry.size for entry in removed), len(entries) - len(removed))

    def path(self, key: str) -> Path:
        """Return the path of the file for a key."""
        return self.folder / f"{key}{_SUFFIX}"

    def make_room(self, size: int) -> bool:
        """Remove the least recently used files until `size` more bytes fit; False if that is impossible."""
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
        """Remove temporary files of processes that were killed while writing."""
        for path in self._listed():
            # safetensors uses temporary names with this prefix.
            if path.name.endswith(_TEMPORARY) or path.name.startswith(_TEMPORARY):
                with contextlib.suppress(OSError):  # renamed in the meantime
                    if time.time() - path.stat().st_mtime > _ABANDONED_S:
                        remove(path)

    def _listed(self) -> list[Path]:
        try:
            return list(self.folder.iterdir())
        except OSError:
            return []


def remove(path: Path) -> bool:
    """Remove a file; return True if it no longer exists."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # in use, on Windows
        log.debug("a file of the cache cannot be removed: %s", error.strerror)
        return False
    return True


def touch(path: Path) -> None:
    """Set the time of last use of a file to now."""
    try:
        os.utime(path)
    except OSError as error:
        log.debug("a file of the cache cannot be marked as used: %s", error.strerror)
