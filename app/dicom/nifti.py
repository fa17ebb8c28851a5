"""NIfTI (x, y), (x, y, t) or (x, y, 1, t), as CAMUS and segmentation tools write it; .nii and .nii.gz."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from app.dicom.fragments import sha256_of
from app.dicom.nifti_space import affine_of
from app.dicom.plain import NO_RATE, plain_cine
from app.dicom.region import sample_indices
from app.dicom.timing import assumed, even
from app.domain.cine import Calibration, Cine, Frame, Timing, TimingSource
from app.domain.errors import CineError

_MS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}
_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}
_STEP_MS = (0.2, 2000.0)
_MM_RANGE = (0.002, 20.0)


def open_nifti(path: Path) -> Cine:
    """Open a NIfTI image: the first axis is x (columns), the second y (rows), the last time.

    The time step is the voxel size along the last axis (pixdim[3] of a 3D file, pixdim[4] of a 4D
    one), or pixdim[4] of a 3D file, and counts only where the header states a unit of time: without
    one it is as likely a slice thickness, and 30 frames a second are assumed.

    Raises
    ------
    CineError
        Damaged, or a volume in space and time.
    """
    import nibabel

    logging.getLogger("nibabel").setLevel(logging.CRITICAL)
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    try:
        image: Any = nibabel.load(path)
        shape = tuple(int(n) for n in image.shape)
        stack = _stack(image)
    except Exception as error:
        raise CineError(
            f"{path.name} is a damaged or incomplete NIfTI file; copy or export it again."
        ) from error
    if 0 in shape:
        raise CineError(f"{path.name} holds no frames; choose another file.")
    if stack is None:
        raise CineError(
            f"{path.name} has the shape {shape}; a cine is (x, y, t) or (x, y): export one plane over time."
        )
    n = stack.shape[2]
    try:
        to_grey = _grey_scale(stack)
    except Exception as error:
        raise CineError(f"{path.name} is cut short or damaged; copy or export it again.") from error

    def decode(index: int) -> Frame:
        try:
            return to_grey(_plane(stack, index))
        except Exception as error:
            raise CineError(
                f"{path.name}: frame {index} is damaged; copy or export the file again."
            ) from error

    timing, notes = _timing(image, len(shape), n)
    kind = f"NIfTI {image.get_data_dtype()}"
    return plain_cine(
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


def _stack(image: Any) -> Any | None:
    """Array-like (x, y, t), lazy where the file is not compressed; None for another shape."""
    shape = tuple(image.shape)
    data = image.dataobj
    if str(image.get_filename()).endswith("gz") or image.get_data_dtype().names is not None:
        data = np.asanyarray(data)  # every slice would unzip the file again
    if data.dtype.names is not None:  # RGB voxels
        weights = dict(zip(("R", "G", "B"), (0.299, 0.587, 0.114), strict=True))
        data = np.sum([data[c] * np.float32(w) for c, w in weights.items()], axis=0)
    if len(shape) == 2:
        return np.asanyarray(data)[..., None]
    if len(shape) == 3:
        return data
    if len(shape) >= 4 and shape[2] == 1 and all(n == 1 for n in shape[4:]):
        return np.asanyarray(data).reshape(shape[0], shape[1], shape[3])
    return None


def _plane(stack: Any, index: int) -> np.ndarray:
    return np.asarray(stack[:, :, index]).T


def _grey_scale(stack: Any) -> Any:
    """Function from a plane to uint8: grey levels as they are, others stretched alike."""
    planes = [_plane(stack, i) for i in sample_indices(stack.shape[2])]
    low = min(float(np.nanmin(p)) for p in planes)
    high = max(float(np.nanmax(p)) for p in planes)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("no finite values")
    # Grey levels stored as float are common (CAMUS); fractions and wide integers need the stretch.
    if low >= 0 and 1.5 < high <= 255:
        low, scale = 0.0, 1.0
    else:
        scale = 255.0 / max(high - low, 1e-9)

    def convert(plane: np.ndarray) -> Frame:
        if plane.dtype == np.uint8 and scale == 1.0:
            return np.array(plane, order="C")
        grey = np.nan_to_num((plane.astype(np.float32) - low) * scale)
        return np.ascontiguousarray(np.rint(np.clip(grey, 0, 255)).astype(np.uint8))

    return convert


def _timing(image: Any, n_dims: int, n_frames: int) -> tuple[Timing, tuple[str, ...]]:
    if n_frames == 1:
        return assumed(1), ()
    pixdim = image.header["pixdim"]
    unit = _MS.get(image.header.get_xyzt_units()[1], 0.0)
    for axis in (4,) if n_dims > 3 else (3, 4):
        step = float(pixdim[axis]) * unit
        if _STEP_MS[0] <= step <= _STEP_MS[1]:
            return even(n_frames, step, TimingSource.CONTAINER), ()
    return assumed(n_frames), (NO_RATE,)


def _calibration(image: Any) -> Calibration | None:
    unit = image.header.get_xyzt_units()[0]
    x, y = (abs(float(v)) * _MM.get(unit, 0.0) for v in image.header["pixdim"][1:3])
    if unit == "unknown" and x == y == 1.0:
        return None  # what writers put when they do not know
    if not all(_MM_RANGE[0] <= v <= _MM_RANGE[1] for v in (x, y)):
        return None
    return Calibration(x, y, "NIfTI pixdim")
