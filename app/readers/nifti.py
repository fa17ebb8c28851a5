"""Reader of NIfTI images (x, y), (x, y, t) or (x, y, 1, t), as in CAMUS and from segmentation tools."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.domain.cine import Calibration, Cine, Frame, Timing, TimingSource
from app.domain.errors import CineError
from app.readers.bit_depth import Values
from app.readers.fragments import sha256_of
from app.readers.limits import MAX_UNPACKED, check_size
from app.readers.nifti_space import MM_PER_UNIT, affine_of, units_of
from app.readers.simple_cine import simple_cine
from app.readers.timing import IMPLAUSIBLE, NO_RATE, assumed_timing, even_timing, is_plausible

_MS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}
_MM_RANGE = (0.002, 20.0)
_SLICE_MS = 200.0
"""A longer step along the third axis, which the standard defines as spatial, is not interpreted as time."""


def open_nifti(path: Path) -> Cine:
    """Open a NIfTI image; the first axis is x (columns), the second y (rows), the last time.

    The time step is pixdim[4] of a 4D file. In a 3D file, whose third axis is spatial by the standard, it is
    pixdim[3] or pixdim[4] if the header states a unit of time and the value is a plausible step and neither a
    default nor a slice thickness. Otherwise 30 frames per second are assumed.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Cine

    Raises
    ------
    CineError
        The file is damaged, or a volume over time.
    """
    image = _load(path)
    shape = tuple(int(n) for n in image.shape)
    if any(n < 1 for n in shape):
        raise CineError(f"{path.name} has no frames; choose another file.")
    axis = _frame_axis(shape)
    if axis is None:
        raise CineError(
            f"{path.name} has the shape {shape}; a cine is (x, y, t) or (x, y): export one plane over time."
        )
    check_size(path.name, shape[0], shape[1])
    n = shape[axis] if axis < len(shape) else 1

    def plane(index: int) -> Values:
        rest = tuple(index if i == axis else 0 for i in range(2, len(shape)))
        return _grey(np.asanyarray(image.dataobj[(slice(None), slice(None), *rest)])).T

    try:
        to_grey = _grey_scale(plane, n)
    except Exception as error:
        raise CineError(f"{path.name} is truncated or damaged; copy or export it again.") from error

    def decode(index: int) -> Frame:
        try:
            return to_grey(plane(index))
        except Exception as error:
            raise CineError(
                f"{path.name}: frame {index} is damaged; copy or export the file again."
            ) from error

    timing, notes = _timing(image, len(shape), n)
    kind = f"NIfTI {image.get_data_dtype()}"
    return simple_cine(
        path,
        decode,
        n,
        timing=timing,
        content_hash=sha256_of(path),
        pixel_format=kind,
        calibration=_calibration(image),
        notes=notes,
        affine=affine_of(image),
    )


def _load(path: Path) -> Any:
    """Open an image without reading its data, after comparing the size in the header with the file's size."""
    import nibabel
    from nibabel.fileholders import FileHolder

    logging.getLogger("nibabel").setLevel(logging.CRITICAL)
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    damaged = CineError(f"{path.name} is a damaged or incomplete NIfTI file; copy or export it again.")
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        if packed:
            data = _unpacked(path)
            present, head = len(data), data[:348]
        else:
            present = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(348)
        two = head[4:8] == b"n+2\0"
        kind = nibabel.Nifti2Image if two else nibabel.Nifti1Image
        image: Any
        if packed:
            image = kind.from_bytes(data)
        elif head[344:347] == b"ni1":
            image = nibabel.Nifti1Pair.from_filename(path)
            present = Path(str(image.file_map["image"].filename)).stat().st_size
        else:
            holder = FileHolder(str(path))
            image = kind.from_file_map({"header": holder, "image": holder})
        needed = math.prod(int(n) for n in image.shape) * image.get_data_dtype().itemsize
    except CineError:
        raise
    except Exception as error:
        raise damaged from error
    if needed > present:
        raise damaged
    if image.get_data_dtype().kind not in "biufV":
        raise CineError(f"{path.name} has {image.get_data_dtype()} values; export grey levels instead.")
    return image


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as file:
        data = file.read(MAX_UNPACKED + 1)
    if len(data) > MAX_UNPACKED:
        raise CineError(
            f"{path.name} expands to more than {MAX_UNPACKED >> 20} MiB; decompress it to .nii, which is "
            "read frame by frame."
        )
    return data


def _frame_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis of time, 2 or 3; None for a shape that is not that of a cine."""
    if len(shape) in (2, 3):
        return 2
    if len(shape) >= 4 and shape[2] == 1 and all(n == 1 for n in shape[4:]):
        return 3
    return None


def _grey(values: np.ndarray) -> Values:
    """Convert RGB voxels to luma; return other values unchanged."""
    if values.dtype.names is None:
        return values
    weights = dict(zip(("R", "G", "B"), (0.299, 0.587, 0.114), strict=True))
    return np.asarray(sum(values[c] * np.float32(w) for c, w in weights.items()))


def _grey_scale(plane: Callable[[int], Values], n_frames: int) -> Callable[[Values], Frame]:
    """Return a function from a plane to uint8, which keeps grey levels and scales other values."""
    low, high = np.inf, -np.inf
    for index in range(n_frames):
        values = plane(index)
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if not low <= high:
        raise ValueError("no finite values")
    # Grey levels stored as float are common (CAMUS); fractions and wide integers must be scaled.
    if low >= 0 and 1.5 < high <= 255:
        low, scale = 0.0, 1.0
    else:
        scale = 255.0 / max(high - low, 1e-9)

    def convert(values: Values) -> Frame:
        if values.dtype == np.uint8 and scale == 1.0:
            return np.array(values, order="C")
        grey = np.nan_to_num((values.astype(np.float64) - low) * scale, posinf=255.0, neginf=0.0)
        return np.ascontiguousarray(np.rint(np.clip(grey, 0, 255)).astype(np.uint8))

    return convert


def _timing(image: Any, n_dims: int, n_frames: int) -> tuple[Timing, tuple[str, ...]]:
    if n_frames == 1:
        return assumed_timing(1), ()
    pixdim = [float(v) for v in image.header["pixdim"]]
    unit = _MS.get(units_of(image)[1], 0.0)
    if n_dims == 3:
        step = pixdim[3] * unit
        # A value like the pixel size, or a long step, is the distance of slices: ITK always states seconds.
        if is_plausible([step]) and step <= _SLICE_MS and pixdim[3] not in pixdim[1:3]:
            return even_timing(n_frames, step, TimingSource.CONTAINER), ()
    step = pixdim[4] * unit
    if is_plausible([step]):
        return even_timing(n_frames, step, TimingSource.CONTAINER), ()
    return assumed_timing(n_frames), (IMPLAUSIBLE if n_dims > 3 and step > 0 else NO_RATE,)


def _calibration(image: Any) -> Calibration | None:
    unit = units_of(image)[0]
    x, y = (abs(float(v)) * MM_PER_UNIT.get(unit, 0.0) for v in image.header["pixdim"][1:3])
    if unit == "unknown" and x == y == 1.0:
        return None  # the default of programs that lack the pixel size
    if not all(_MM_RANGE[0] <= v <= _MM_RANGE[1] for v in (x, y)):
        return None
    return Calibration(x, y, "NIfTI pixdim")
