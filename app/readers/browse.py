"""Which files of a folder are cines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from app.domain.errors import CineError
from app.readers.open import kind_of_file
from app.readers.suffixes import CINE_SUFFIXES, IMAGE_SUFFIXES


def cine_paths(paths: Iterable[Path]) -> list[Path]:
    """Files and folders as cines to open, in the order given.

    A folder stands for every cine in it and below it. One that holds only images is a cine itself, or, if
    these have several pages, stands for them.

    Raises
    ------
    CineError
        If a folder holds nothing that could be opened.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        below = (f for f in path.rglob("*") if not _hidden(f.relative_to(path)))
        inside = sorted((f for f in below if f.is_file() and _is_cine(f)), key=_in_human_order)
        if not inside:
            inside = _images(path)
        if not inside:
            raise CineError(f"{path} holds no cine; open a folder with DICOM files, videos, NIfTI or images.")
        found.extend(inside)
    return list(dict.fromkeys(found))


def _hidden(inside: Path) -> bool:
    """True for what systems keep beside the files: '._a.dcm', '.Trash', '__MACOSX'."""
    return any(part.startswith(".") or part == "__MACOSX" for part in inside.parts)


def _in_human_order(file: Path) -> list[tuple[int, str]]:
    """IM_2 comes before IM_10."""
    parts = re.split(r"(\d+)", str(file).lower())
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]


def _images(folder: Path) -> list[Path]:
    """The folder itself if it holds images, or those of its images that are cines of several pages."""
    images = [
        f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".")
    ]
    if not images:
        return []
    from app.readers.multipage import page_count

    stacks = sorted((f for f in images if page_count(f) > 1), key=_in_human_order)
    return stacks or [folder]


def _is_cine(file: Path) -> bool:
    if file.name.lower().endswith(CINE_SUFFIXES):
        return True
    if file.suffix.lower() in IMAGE_SUFFIXES or file.name.upper() == "DICOMDIR":
        return False
    try:
        return kind_of_file(file) in {"dicom", "nifti", "video", "gif"}
    except OSError:
        return False
