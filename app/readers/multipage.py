"""Files with several images: animated GIF, PNG and WebP, and multi-page TIFF."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from app.domain.cine import Cine
from app.domain.errors import CineError
from app.readers.bit_depth import Values, grey_scale
from app.readers.fragments import sha256_of
from app.readers.frame_cache import SequentialDecoder
from app.readers.limits import MAX_PIXELS, check_size
from app.readers.simple_cine import simple_cine
from app.readers.timing import container_timing

# Larger images are rejected before they are decoded; Pillow's warning would only fill stderr.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_FORMATS = ("GIF", "PNG", "WEBP", "TIFF")
_DEEP = ("I", "F")
"""First letters of Pillow's modes with more than 8 bits."""


def page_count(path: Path) -> int:
    """Count the pages of an image file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
        2 for several pages of a format that Pillow cannot read.

    Raises
    ------
    CineError
        The image is too large.
    """
    try:
        with Image.open(path) as image:
            return int(getattr(image, "n_frames", 1)) if image.format in _FORMATS else 1
    except Image.DecompressionBombError as error:
        raise too_large(path) from error
    except Exception:
        return 2 if _has_more_tiff_pages(path) else 1


def too_large(path: Path) -> CineError:
    """Return the error for an image that Pillow rejects because of its size."""
    return CineError(
        f"{path.name} has images of more than {MAX_PIXELS} pixels, which is more than Apical reads; "
        "save it at a smaller size."
    )


def _has_more_tiff_pages(path: Path) -> bool:
    """Check for pages in a TIFF that OpenCV reads and Pillow does not, such as 16-bit colour."""
    data = np.fromfile(path, np.uint8)
    if data[:2].tobytes() not in (b"II", b"MM"):
        return False
    try:
        found, images = cv2.imdecodemulti(data, cv2.IMREAD_GRAYSCALE, range=(1, 2))
    except cv2.error:
        return False
    return bool(found) and len(images) > 0


def open_pages(path: Path) -> Cine:
    """Open the pages of a file as frames, with the frame durations of the file if it states them.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Cine

    Raises
    ------
    CineError
        The first page is damaged, or the images are too large.
    """
    pages, steps, notes = _list_pages(path)

    def stored() -> Iterator[Values]:
        with Image.open(path, formats=_FORMATS) as file:
            for page in pages:
                file.seek(page)
                yield _values(file)

    try:
        to_grey, depth_notes = grey_scale(_until_damage(stored()))
    except Exception as error:
        raise _damaged(path) from error
    durations = np.asarray(steps[: len(pages) - 1])  # the duration of the last frame is not needed
    times = [0.0, *np.cumsum(durations).tolist()] if len(durations) == len(pages) - 1 else []
    timing, time_notes = container_timing(len(pages), times, 0.0)

    def missing(index: int) -> CineError:
        return CineError(f"{path.name}: frame {index} is damaged; use the others, or save the file again.")

    def frames() -> Iterator[np.ndarray]:
        return (to_grey(values) for values in _until_damage(stored()))

    return simple_cine(
        path,
        SequentialDecoder(frames, missing),
        len(pages),
        timing=timing,
        content_hash=sha256_of(path),
        pixel_format=_format(path),
        notes=(*notes, *depth_notes, *time_notes),
    )


def _list_pages(path: Path) -> tuple[list[int], list[float], list[str]]:
    """Return the pages that have the size of the first one, their durations in ms, and notes for the user."""
    pages: list[int] = []
    steps: list[float] = []
    other_sizes, is_complete = 0, True
    try:
        with Image.open(path, formats=_FORMATS) as file:
            size, stated = file.size, int(getattr(file, "n_frames", 1))
            check_size(path.name, *size)
            for page in range(stated):
                try:
                    file.seek(page)
                    if file.format != "TIFF":
                        file.load()
                except Exception:
                    is_complete = False
                    break
                if file.size != size:
                    other_sizes += 1
                    continue
                pages.append(page)
                steps.append(float(file.info.get("duration") or 0))
    except CineError:
        raise
    except Image.DecompressionBombError as error:
        raise too_large(path) from error
    except UnidentifiedImageError as error:
        raise CineError(
            f"{path.name} is damaged, or has several pages in a format that Apical cannot read; "
            "save them as grey images."
        ) from error
    except Exception as error:
        raise _damaged(path) from error
    if not pages:
        raise _damaged(path)
    notes = []
    if not is_complete:
        notes.append(
            f"The file is truncated or damaged: {len(pages)} of {stated} frames can be read; "
            "copy it again if you need the others."
        )
    if other_sizes:
        notes.append(
            f"{other_sizes} pages are skipped because their size differs from that of the first page."
        )
    return pages, steps, notes


def _until_damage(pages: Iterator[Values]) -> Iterator[Values]:
    """Yield pages up to the first damaged one; raise if it is the first of all."""
    is_first = True
    while True:
        try:
            values = next(pages)
        except StopIteration:
            return
        except Exception:
            if is_first:
                raise
            return
        is_first = False
        yield values


def _values(image: Image.Image) -> Values:
    if image.mode.startswith(_DEEP):
        return np.array(image)
    if image.mode == "L":
        return np.array(image, np.uint8)
    return np.array(image.convert("RGB").convert("L"), np.uint8)


def _format(path: Path) -> str:
    with Image.open(path, formats=_FORMATS) as file:
        return str(file.format)


def _damaged(path: Path) -> CineError:
    return CineError(f"{path.name} is damaged; save it again from where it came from.")
