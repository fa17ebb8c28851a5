"""A folder of images as a cine, in natural order, and a single image as a cine of one frame."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import cv2
import numpy as np

from app.dicom.fragments import sha256_of
from app.dicom.plain import NO_RATE, plain_cine
from app.dicom.timing import assumed
from app.domain.cine import Cine, Frame
from app.domain.errors import CineError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which frame_2 comes before frame_10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]


def open_folder(folder: Path) -> Cine:
    """Open a folder of images of one size; the time between them is assumed.

    Raises
    ------
    CineError
        No images there, or of different sizes, or damaged.
    """
    files = sorted(
        (
            f
            for f in folder.iterdir()
            if f.suffix.lower() in SUFFIXES and not f.name.startswith(".") and f.is_file()
        ),
        key=lambda f: natural_key(f.name),
    )
    if not files:
        raise CineError(
            f"{folder.name} holds no images (png, jpg, bmp, tif); open a cine file itself, or another folder."
        )
    return _open(folder, files)


def open_image(path: Path) -> Cine:
    """Open one image as a cine of one frame.

    Raises
    ------
    CineError
        Damaged.
    """
    return _open(path, [path])


def _open(path: Path, files: list[Path]) -> Cine:
    first = _read(files[0])

    def decode(index: int) -> Frame:
        frame = _read(files[index])
        if frame.shape != first.shape:
            raise CineError(
                f"{files[index].name} is {frame.shape[1]}x{frame.shape[0]} pixels and the first image "
                f"{first.shape[1]}x{first.shape[0]}; put images of one size into the folder."
            )
        return frame

    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(sha256_of(file)))
    content_hash = sha256_of(path) if files == [path] else digest.hexdigest()
    n = len(files)
    return plain_cine(
        path,
        decode,
        n,
        timing=assumed(n),
        content_hash=content_hash,
        pixel_format=f"{files[0].suffix[1:].lower()} images",
        notes=(NO_RATE,) if n > 1 else (),
    )


def _read(file: Path) -> Frame:
    # Through memory: OpenCV cannot open every path on Windows.
    data = np.frombuffer(file.read_bytes(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None
    if image is None:
        raise CineError(f"{file.name} is a damaged image; save it again, or take it out of the folder.")
    return np.asarray(image, np.uint8)
