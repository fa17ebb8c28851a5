"""Files of several pictures: animated GIF, PNG and WebP, and TIFF with several pages."""

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
from app.readers.frame_cache import InOrder
from app.readers.limits import MAX_PIXELS, check_size
from app.readers.simple_cine import plain_cine
from app.readers.timing import container_timing

# Larger pictures are refused by name before they are decoded; Pillow's warning would only reach stderr.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_FORMATS = ("GIF", "PNG", "WEBP", "TIFF")
_DEEP = ("I", "F")


def page_count(path: Path) -> int:
    """Pictures in the file: 1 for a format that holds one, 2 where there are several of an unknown kind."""
    try:
        with Image.open(path) as picture:
            return int(getattr(picture, "n_frames", 1)) if picture.format in _FORMATS else 1
    except Image.DecompressionBombError as error:
        raise too_large(path) from error
    except Exception:
        return 2 if _has_more_tiff_pages(path) else 1


def too_large(path: Path) -> CineError:
    """The error for a picture that Pillow refuses for its size."""
    return CineError(
        f"{path.name} says that its pictures have more than {MAX_PIXELS} pixels, more than Apical reads; "
        "scale it down."
    )


def _has_more_tiff_pages(path: Path) -> bool:
    """TIFF of a kind that OpenCV reads and Pillow does not, such as colour of 16 bits."""
    data = np.fromfile(path, np.uint8)
    if data[:2].tobytes() not in (b"II", b"MM"):
        return False
    try:
        found, pictures = cv2.imdecodemulti(data, cv2.IMREAD_GRAYSCALE, range=(1, 2))
    except cv2.error:
        return False
    return bool(found) and len(pictures) > 0


def open_pages(path: Path) -> Cine:
    """Open every picture of a file as a frame, at the file's own frame durations where it has them.

    Raises
    ------
    CineError
        Damaged from the first picture on, or too large.
    """
    pages, steps, notes = _survey(path)

    def pictures() -> Iterator[Values]:
        with Image.open(path, formats=_FORMATS) as file:
            for page in pages:
                file.seek(page)
                yield _values(file)

    try:
        to_grey, depth_notes = grey_scale(_readable(pictures()))
    except Exception as error:
        raise _damaged(path) from error
    durations = np.asarray(steps[: len(pages) - 1])  # how long the last one stays does not matter
    times = [0.0, *np.cumsum(durations).tolist()] if len(durations) == len(pages) - 1 else []
    timing, time_notes = container_timing(len(pages), times, 0.0)

    def missing(index: int) -> CineError:
        return CineError(f"{path.name}: frame {index} is damaged; go on with the others, or save it again.")

    def frames() -> Iterator[np.ndarray]:
        return (to_grey(picture) for picture in _readable(pictures()))

    return plain_cine(
        path,
        InOrder(frames, missing),
        len(pages),
        timing=timing,
        content_hash=sha256_of(path),
        pixel_format=_format(path),
        notes=(*notes, *depth_notes, *time_notes),
    )


def _survey(path: Path) -> tuple[list[int], list[float], list[str]]:
    """Pages that have the size of the first one, their durations in ms, and sentences for the user."""
    pages: list[int] = []
    steps: list[float] = []
    others, whole = 0, True
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
                    whole = False
                    break
                if file.size != size:
                    others += 1
                    continue
                pages.append(page)
                steps.append(float(file.info.get("duration") or 0))
    except CineError:
        raise
    except Image.DecompressionBombError as error:
        raise too_large(path) from error
    except UnidentifiedImageError as error:
        raise CineError(
            f"{path.name} is damaged, or holds several pictures of a kind that Apical cannot read; "
            "save them as grey pictures."
        ) from error
    except Exception as error:
        raise _damaged(path) from error
    if not pages:
        raise _damaged(path)
    notes = []
    if not whole:
        notes.append(
            f"The file is cut short or damaged: {len(pages)} of {stated} frames can be read; "
            "copy it again if they matter."
        )
    if others:
        notes.append(f"{others} pictures of another size than the first one are left out.")
    return pages, steps, notes


def _readable(pictures: Iterator[Values]) -> Iterator[Values]:
    """Pictures up to the first damaged one."""
    first = True
    while True:
        try:
            picture = next(pictures)
        except StopIteration:
            return
        except Exception:
            if first:
                raise
            return
        first = False
        yield picture


def _values(picture: Image.Image) -> Values:
    if picture.mode.startswith(_DEEP):
        return np.array(picture)
    if picture.mode == "L":
        return np.array(picture, np.uint8)
    return np.array(picture.convert("RGB").convert("L"), np.uint8)


def _format(path: Path) -> str:
    with Image.open(path, formats=_FORMATS) as file:
        return str(file.format)


def _damaged(path: Path) -> CineError:
    return CineError(f"{path.name} is damaged; save it again from where it came from.")
