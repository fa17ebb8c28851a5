"""A folder of images as a cine, in natural order, and a single image as a cine of one frame."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from natsort import natsorted, ns
from PIL import Image

from app.domain.cine import Cine, Frame
from app.domain.errors import CineError
from app.readers.bit_depth import Values, grey_scale
from app.readers.fragments import sha256_of
from app.readers.limits import check_size
from app.readers.multipage import open_pages, page_count, too_large
from app.readers.simple_cine import plain_cine
from app.readers.suffixes import IMAGE_SUFFIXES
from app.readers.timing import NO_RATE, assumed

_BITS_PER_SAMPLE = 258
"""Tag of TIFF."""


def open_folder(folder: Path) -> Cine:
    """Open a folder of images of one size; the time between them is assumed.

    A folder that holds one file of several pictures is a cine of these.

    Raises
    ------
    CineError
        No images there, or of different sizes, damaged, or several files of several pictures each.
    """
    files = natsorted(
        (
            f
            for f in folder.iterdir()
            if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".") and f.is_file()
        ),
        key=lambda f: f.name,
        alg=ns.IGNORECASE,
    )
    if not files:
        raise CineError(
            f"{folder.name} holds no images (png, jpg, bmp, tif); open a cine file itself, or another folder."
        )
    if len(files) == 1:
        return open_image(files[0])
    for file in files:
        if (pages := page_count(file)) > 1:
            raise CineError(f"{file.name} holds {pages} pictures; open it by itself, not as one of a folder.")
    return _open(folder, files)


def open_image(path: Path) -> Cine:
    """Open one image as a cine of one frame, or of as many as it has pages.

    Raises
    ------
    CineError
        Damaged or too large.
    """
    return open_pages(path) if page_count(path) > 1 else _open(path, [path])


def _open(path: Path, files: list[Path]) -> Cine:
    size = _size(files[0])
    to_grey: Callable[[Values], Frame] = _as_it_is
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
    return plain_cine(
        path,
        decode,
        n,
        timing=assumed(n),
        content_hash=content_hash,
        pixel_format=f"{files[0].suffix[1:].lower()} images",
        notes=(*notes, NO_RATE) if n > 1 else tuple(notes),
    )


def _read(file: Path, size: tuple[int, int] | None) -> Values:
    """Grey values at their own depth; `size` is what the picture must have, (width, height)."""
    found = _size(file)
    if size is not None and found is not None and found != size:
        raise CineError(
            f"{file.name} is {found[0]}x{found[1]} pixels and the first image "
            f"{size[0]}x{size[1]}; put images of one size into the folder."
        )
    # Through memory: OpenCV cannot open every path.
    data = np.frombuffer(file.read_bytes(), np.uint8)
    if not _has_whole_chunks(data.tobytes()):
        raise CineError(f"{file.name} is a damaged image; save it again, or take it out of the folder.")
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:
        image = None
    if image is None:
        raise CineError(f"{file.name} is a damaged image; save it again, or take it out of the folder.")
    return np.asarray(image)


def _has_whole_chunks(data: bytes) -> bool:
    """False for a PNG with a chunk longer than the file: OpenCV would allocate what it asks for."""
    if not data.startswith(b"\x89PNG"):
        return True
    at = 8
    while at + 8 <= len(data) and data[at + 4 : at + 8] != b"IEND":
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return at <= len(data)


def _size(file: Path) -> tuple[int, int] | None:
    """Width and height, from the header; None where only OpenCV may know the format."""
    try:
        with Image.open(file) as picture:
            size = picture.size
    except Image.DecompressionBombError as error:
        raise too_large(file) from error
    except FileNotFoundError:
        raise
    except Exception:
        return None
    check_size(file.name, *size)
    return size


def _is_deep(files: list[Path]) -> bool:
    """True where a picture has more than 8 bits."""
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
        with Image.open(file, formats=("TIFF",)) as picture:
            bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))
            return max(bits) if isinstance(bits, tuple) else int(bits)
    except Exception:  # a kind that only OpenCV reads
        return 8 * _read(file, None).dtype.itemsize


def _as_it_is(picture: Values) -> Frame:
    if picture.dtype != np.uint8:
        raise CineError("The images have different numbers of bits; save all of them with 8 bits.")
    return np.asarray(picture, np.uint8)
