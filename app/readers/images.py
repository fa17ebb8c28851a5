"""Folders of images, in natural order, and single images as cines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from app.domain.cine import Cine, Frame
from app.domain.errors import CineError
from app.readers.bit_depth import Values, grey_scale
from app.readers.fragments import sha256_of
from app.readers.limits import check_size
from app.readers.multipage import open_pages, page_count, too_large
from app.readers.simple_cine import simple_cine
from app.readers.suffixes import images_in
from app.readers.timing import NO_RATE, assumed_timing

_BITS_PER_SAMPLE = 258
"""TIFF tag."""


def open_folder(folder: Path) -> Cine:
    """Open a folder of images of one size; their frame rate is assumed.

    A folder that contains one multi-page file is opened as this file.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Cine

    Raises
    ------
    CineError
        There are no images, or they have different sizes, are damaged or have several pages.
    """
    files = images_in(folder)
    if not files:
        raise CineError(
            f"{folder.name} contains no images (png, jpg, bmp, tif); open a cine file, or another folder."
        )
    if len(files) == 1:
        return open_image(files[0])
    for file in files:
        if (pages := page_count(file)) > 1:
            raise CineError(f"{file.name} has {pages} pages; open the file instead of its folder.")
    return _open(folder, files)


def open_image(path: Path) -> Cine:
    """Open an image as a cine with one frame for each page.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Cine

    Raises
    ------
    CineError
        The image is damaged or too large.
    """
    return open_pages(path) if page_count(path) > 1 else _open(path, [path])


def _open(path: Path, files: list[Path]) -> Cine:
    size = _size(files[0])
    to_grey: Callable[[Values], Frame] = _require_8_bit
    notes: list[str] = []
    if _is_deep(files):
        to_grey, notes = grey_scale(_read(file, size) for file in files)

    def decode(index: int) -> Frame:
        return to_grey(_read(files[index], size))

    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(sha256_of(file)))
    content_hash = sha256_of(path) if files == [path] else digest.hexdigest()
    n = len(files)
    return simple_cine(
        path,
        decode,
        n,
        timing=assumed_timing(n),
        content_hash=content_hash,
        pixel_format=f"{files[0].suffix[1:].lower()} images",
        notes=(*notes, NO_RATE) if n > 1 else tuple(notes),
    )


def _read(file: Path, size: tuple[int, int] | None) -> Values:
    """Read grey values at their stored bit depth; `size` is the required (width, height)."""
    found = _size(file)
    if size is not None and found is not None and found != size:
        raise CineError(
            f"{file.name} is {found[0]}x{found[1]} pixels and the first image "
            f"{size[0]}x{size[1]}; all images of a folder must have one size."
        )
    # From memory, because OpenCV cannot open every path.
    data = np.frombuffer(file.read_bytes(), np.uint8)
    if not _has_whole_chunks(data.tobytes()):
        raise CineError(f"{file.name} is a damaged image; save it again, or remove it from the folder.")
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:
        image = None
    if image is None:
        raise CineError(f"{file.name} is a damaged image; save it again, or remove it from the folder.")
    return np.asarray(image)


def _has_whole_chunks(data: bytes) -> bool:
    """Return False for a PNG with a chunk longer than the file, for which OpenCV allocates memory."""
    if not data.startswith(b"\x89PNG"):
        return True
    position = 8
    while position + 8 <= len(data) and data[position + 4 : position + 8] != b"IEND":
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return position <= len(data)


def _size(file: Path) -> tuple[int, int] | None:
    """Read width and height from the header; None for a format that only OpenCV may read."""
    try:
        with Image.open(file) as image:
            size = image.size
    except Image.DecompressionBombError as error:
        raise too_large(file) from error
    except FileNotFoundError:
        raise
    except Exception:
        return None
    check_size(file.name, *size)
    return size


def _is_deep(files: list[Path]) -> bool:
    """Return True if an image has more than 8 bits."""
    for file in files:
        with file.open("rb") as stream:
            head = stream.read(26)
        if head.startswith(b"\x89PNG") and head[24:25] == b"\x10":
            return True
        if head.startswith((b"II", b"MM")) and _tiff_bits(file) > 8:
            return True
    return False


def _tiff_bits(file: Path) -> int:
    try:
        with Image.open(file, formats=("TIFF",)) as image:
            bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))
            return max(bits) if isinstance(bits, tuple) else int(bits)
    except Exception:  # a format that only OpenCV reads
        return 8 * _read(file, None).dtype.itemsize


def _require_8_bit(values: Values) -> Frame:
    if values.dtype != np.uint8:
        raise CineError("The images have different bit depths; save all of them with 8 bits.")
    return np.asarray(values, np.uint8)
