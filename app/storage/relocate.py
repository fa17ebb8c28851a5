"""Search for the file of a cine that was moved or renamed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from app.domain.errors import ApicalError
from app.readers.suffixes import CINE_SUFFIXES, DICOM_SUFFIXES
from app.storage.records import CineRecord, Location

_logger = logging.getLogger(__name__)


def relocate(
    record: CineRecord,
    search_folders: Iterable[Path],
    content_hash_of: Callable[[Path], str],
    max_hashed: int = 500,
) -> Path | None:
    """Find the file of a cine by its content.

    The order is: the last known path, the same place relative to the project, files of the same name, other
    files with a suffix that the cine may have.

    Parameters
    ----------
    record : CineRecord
    search_folders : iterable of Path
        Folders to search with everything below them; links to folders are not followed.
    content_hash_of : callable
        Returns the hash of a file's pixels as in `Cine.content_hash`; may raise ApicalError.
    max_hashed : int
        Maximum number of files to read: reading a whole archive would take hours.

    Returns
    -------
    Path or None
        None if no file has that content.
    """
    hashed: set[Path] = set()
    for path in _candidates(record, list(search_folders)):
        if path in hashed or not path.is_file():
            continue
        if len(hashed) >= max_hashed:
            _logger.info("the search for a moved cine ended after %d files", max_hashed)
            return None
        hashed.add(path)
        try:
            if content_hash_of(path) == record.content_hash:
                return path
        except (ApicalError, OSError):
            continue  # not a cine, or not readable
    return None


def locate_beside_project(records: Iterable[CineRecord]) -> dict[int, Path]:
    """Find the files of cines that were moved together with their project, without opening a file.

    Parameters
    ----------
    records : iterable of CineRecord
        Cines of one project.

    Returns
    -------
    dict of int to Path
        By id of the cine; cines that are not found in or below the folder of the project are left out.
    """
    located = [(record.id, record.location) for record in records if record.location is not None]
    if not located:
        return {}
    cine_ids = {location.digest: cine_id for cine_id, location in located}
    folder, salt = located[0][1].folder, located[0][1].salt
    hashes = ((path, Location.hash(salt, folder, path)) for path in _files([folder]))
    return {cine_ids[digest]: path for path, digest in hashes if digest in cine_ids}


def _candidates(record: CineRecord, folders: list[Path]) -> Iterator[Path]:
    known, location = record.path, record.location
    if known is not None:
        yield known
    if location is not None:
        yield from (path for path in _files([location.folder]) if location.matches(path))
    if known is not None:
        yield from (path for path in _files(folders) if path.name == known.name)
    yield from (path for path in _files(folders) if _has_fitting_suffix(path, known))


def _files(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in sorted(names):
                yield Path(parent, name)


def _has_fitting_suffix(path: Path, known: Path | None) -> bool:
    other = path.suffix.lower()
    if known is None:
        return _may_be_dicom(other) or path.name.lower().endswith(CINE_SUFFIXES)
    suffix = known.suffix.lower()
    return other == suffix or (_may_be_dicom(suffix) and _may_be_dicom(other))


def _may_be_dicom(suffix: str) -> bool:
    """Return True for the suffixes of DICOM files, and for parts of names like 'IM.0001' or a UID."""
    return suffix in DICOM_SUFFIXES or suffix[1:].isdigit()
