"""Find the cines in files and folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from natsort import natsorted, ns

from app.domain.errors import CineError
from app.readers.open import format_of
from app.readers.suffixes import CINE_SUFFIXES, IMAGE_SUFFIXES, images_in


def cine_paths(paths: Iterable[Path]) -> list[Path]:
    """List the cines in files and folders, in the given order, each once.

    A folder is replaced by all cines in it and in its subfolders. A folder that contains only images is one
    cine, unless some of them are multi-page files: then each of those is a cine.

    Parameters
    ----------
    paths : iterable of Path

    Returns
    -------
    list of Path

    Raises
    ------
    CineError
        A folder contains nothing that can be opened.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        visible = (file for file in path.rglob("*") if not _is_hidden(file.relative_to(path)))
        cines = _sorted(file for file in visible if file.is_file() and _is_cine(file)) or _images(path)
        if not cines:
            raise CineError(
                f"{path} contains no cine; open a folder with DICOM files, videos, NIfTI or images."
            )
        found.extend(cines)
    return list(dict.fromkeys(found))


def _is_hidden(relative: Path) -> bool:
    """Match files that operating systems add: '._a.dcm', '.Trash', '__MACOSX'."""
    return any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)


def _sorted(files: Iterable[Path]) -> list[Path]:
    """Sort in natural order: IM_2 before IM_10."""
    return natsorted(files, key=str, alg=ns.IGNORECASE)


def _images(folder: Path) -> list[Path]:
    """Return the folder itself if it contains images, or those images that have several pages."""
    images = images_in(folder)
    if not images:
        return []
    from app.readers.multipage import page_count

    return [file for file in images if page_count(file) > 1] or [folder]


def _is_cine(file: Path) -> bool:
    if file.name.lower().endswith(CINE_SUFFIXES):
        return True
    if file.suffix.lower() in IMAGE_SUFFIXES or file.name.upper() == "DICOMDIR":
        return False
    try:
        found = format_of(file)
    except OSError:
        return False
    return found is not None and not found.is_image
