"""Finding a cine again whose file was moved or renamed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from app.domain.errors import ApicalError
from app.readers.suffixes import DICOM_SUFFIXES
from app.storage.records import CineRecord

_logger = logging.getLogger(__name__)


def relocate(
    record: CineRecord,
    search_folders: Iterable[Path],
    content_hash_of: Callable[[Path], str],
    max_hashed: int = 500,
) -> Path | None:
    """Find the file of a cine by its content.

    Looks where it was, then for files of the same name, then for others of a plausible suffix.

    Parameters
    ----------
    record
        The cine as the project knows it.
    search_folders
        Folders to search, with all below them; links to folders are not followed.
    content_hash_of
        Hash of a file's pixels, in the same way as `Cine.content_hash`; may raise ApicalError.
    max_hashed
        Files to read at most: reading a whole archive would take hours.

    Returns
    -------
    Path or None
        None where no file has that content.
    """
    folders = list(search_folders)
    hashed: set[Path] = set()
    for path in (record.path, *_same_name(folders, record.path.name), *_plausible(folders, record.path)):
        if path in hashed or not path.is_file():
            continue
        if len(hashed) >= max_hashed:
            _logger.info("gave up looking for a moved cine after %d files", max_hashed)
            return None
        hashed.add(path)
        try:
            if content_hash_of(path) == record.content_hash:
                return path
        except (ApicalError, OSError):
            continue  # not a cine, or not readable
    return None


def _files(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in sorted(names):
                yield Path(parent, name)


def _same_name(folders: list[Path], name: str) -> Iterator[Path]:
    return (path for path in _files(folders) if path.name == name)


def _plausible(folders: list[Path], lost: Path) -> Iterator[Path]:
    suffix = lost.suffix.lower()
    # DICOM files are named freely: 'IM_0001' and '1.2.840.113' have no suffix to speak of.
    free = suffix in DICOM_SUFFIXES or suffix[1:].isdigit()
    for path in _files(folders):
        other = path.suffix.lower()
        if other == suffix or (free and (other in DICOM_SUFFIXES or other[1:].isdigit())):
            yield path
