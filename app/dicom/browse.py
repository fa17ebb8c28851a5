"""Which files of a folder are cines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from app.domain.errors import CineError

CINE_SUFFIXES = (".dcm", ".dicom", ".mp4", ".avi", ".mkv", ".gif", ".nii", ".nii.gz")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_MAGIC_AT, _MAGIC = 128, b"DICM"


def cine_paths(paths: Iterable[Path]) -> list[Path]:
    """Files and folders as cines to open, in the order given.

    A folder stands for every cine in it and below it; one that holds only images is a cine itself.

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
        if not inside and any(f.suffix.lower() in IMAGE_SUFFIXES for f in path.iterdir()):
            inside = [path]
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


def _is_cine(file: Path) -> bool:
    if file.name.lower().endswith(CINE_SUFFIXES):
        return True
    if file.suffix.lower() in IMAGE_SUFFIXES or file.name.upper() == "DICOMDIR":
        return False
    try:
        with file.open("rb") as stream:
            stream.seek(_MAGIC_AT)
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
