"""Label images in a folder, one 8-bit PNG per frame."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.domain.errors import LabelError
from app.readers.suffixes import IMAGE_SUFFIXES, NIFTI_SUFFIXES

_FRAME = r"frame{sep}(\d+)"
_USUAL = re.compile(_FRAME.format(sep="_") + r"\.png", re.IGNORECASE)
_VARIANT = re.compile(
    _FRAME.format(sep="[ ._-]?") + r"(?:[ ._-]?(?:masks?|labels?|seg|segmentation|gt))?\.png", re.IGNORECASE
)
_IMAGES = (*IMAGE_SUFFIXES, ".gif", *NIFTI_SUFFIXES, ".npy", ".npz")
_EIGHT_BIT_MODES = ("L", "P")  # grey, or numbers with a palette: both hold the label itself
_MAX_LISTED = 10
_GREY = 0  # colour type of a PNG's header

_logger = logging.getLogger(__name__)


def read_folder(
    folder: Path, cine_shape: tuple[int, int, int]
) -> Iterator[tuple[int, str, NDArray[np.uint8]]]:
    """Read the label images of a folder.

    Files are named ``frame_0012.png``, with zero-based frame numbers; ``frame-12.png``, ``frame12_mask.png``
    and similar names are also read, with a warning. Other images in the folder are listed in a warning.

    Parameters
    ----------
    folder : Path
    cine_shape : tuple of int
        Frames, height and width of the cine.

    Yields
    ------
    tuple of int, str and ndarray of uint8, shape (height, width)
        Frame, file name and label image.

    Raises
    ------
    LabelError
        If the folder has no label image, or if one does not fit the cine or cannot be read.
    """
    n_frames, height, width = cine_shape
    files = _label_files(folder)
    for frame, file in files.items():
        if frame >= n_frames:
            raise LabelError(
                f"{file.name} is beyond the cine, which has {n_frames} frames (0 to {n_frames - 1}): "
                "rename or remove it."
            )
        yield frame, file.name, _read_png(file, (height, width))


def _label_files(folder: Path) -> dict[int, Path]:
    """Return the label images by frame; warn of unusual names and unused files."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise LabelError(
            f"{folder} cannot be read ({error.strerror}): check that you may read it."
        ) from error
    files: dict[int, Path] = {}
    variants, unused = [], []
    for file in found:
        match = _USUAL.fullmatch(file.name) or _VARIANT.fullmatch(file.name)
        if match is None or file.is_dir():
            unused.append(file)
            continue
        frame = int(match[1])
        if frame in files:
            raise LabelError(
                f"{files[frame].name} and {file.name} are labels of the same frame: keep one of them."
            )
        files[frame] = file
        if _USUAL.fullmatch(file.name) is None:
            variants.append(f"{file.name} (frame {frame})")
    if not files:
        content = _listed([f"{f.name}/" if f.is_dir() else f.name for f in unused])
        raise LabelError(
            f"{folder.name} contains no labels ({f'only {content}' if content else 'it is empty'}): "
            "name label images frame_0012.png, with frames numbered from 0."
        )
    images = [file.name for file in unused if file.name.lower().endswith(_IMAGES) and not file.is_dir()]
    if variants:
        _logger.warning("Read as labels of the frames in their names: %s.", _listed(variants))
    if images:
        _logger.warning(
            "Not used as labels: %s; a label image is named frame_0012.png, with frames numbered from 0.",
            _listed(images),
        )
    return files


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _read_png(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            if image.format != "PNG":
                raise LabelError(
                    f"{file.name} is a {image.format} and not a PNG, despite its name: save it as a PNG, "
                    "which stores every label unchanged."
                )
            if image.mode not in _EIGHT_BIT_MODES:
                raise LabelError(
                    f"{file.name} {_describe_mode(image.mode)}, mode {image.mode}, but an 8-bit label image "
                    "is expected: save it as an 8-bit grey PNG whose pixel values are the labels."
                )
            check_size(file.name, (image.height, image.width), size)
            return np.asarray(image, np.uint8) // _stretch(file)
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise LabelError(f"{file.name} cannot be read as a PNG: save it again, or remove it.") from error


def _describe_mode(mode: str) -> str:
    if mode.endswith("A"):
        return "has an alpha channel (transparency)"
    if mode.startswith("I"):
        return "has 16 bits per pixel"
    return "is black and white with one bit per pixel" if mode == "1" else "is in colour"


def _stretch(file: Path) -> int:
    """Return the factor by which Pillow scales grey values of two or four bits to eight."""
    with file.open("rb") as content:
        depth, colour = content.read(26)[24:26]  # the header comes first in every PNG
    return 255 // (2**depth - 1) if colour == _GREY and depth < 8 else 1


def check_size(name: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Raise LabelError if a label image differs from the cine in height or width."""
    if size != expected:
        raise LabelError(
            f"{name} is {size[1]}x{size[0]} pixels and the cine is {expected[1]}x{expected[0]}: "
            "draw the labels on the cine's own pixels."
        )
