"""Synthetic DICOM cines like those of an ultrasound machine: speckle in a sector, JPEG baseline."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage, generate_uid

FRAMES, ROWS, COLUMNS = 75, 600, 800


def write_cine(
    path: Path, frames: int = FRAMES, rows: int = ROWS, columns: int = COLUMNS, seed: int = 0
) -> Path:
    """Write a cine of moving speckle in a 90 degree sector: YBR_FULL_422, JPEG quality 90, 50 ms per frame.

    Parameters
    ----------
    path : Path
    frames, rows, columns : int
        Size of the cine.
    seed : int

    Returns
    -------
    Path
        The given path.
    """
    rng = np.random.default_rng(seed)
    # Speckle is Rayleigh distributed and log compressed; a grain is a few pixels wide.
    grain = cv2.GaussianBlur(rng.rayleigh(1.0, (rows, columns)).astype(np.float32), (0, 0), 1.5)
    sector = _sector(rows, columns)
    coded = []
    for index in range(frames):
        shift = round(6 * np.sin(2 * np.pi * index / 25))
        grey = np.clip(110 * np.log1p(np.roll(grain, shift, axis=0)), 0, 255) * sector
        coded.append(_jpeg(grey.astype(np.uint8)))
    _dataset(coded, rows, columns).save_as(path, enforce_file_format=True)
    return path


def _sector(rows: int, columns: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[0:rows, 0:columns]
    depth = np.hypot(y - 20, x - columns / 2)
    is_inside = np.abs(np.arctan2(x - columns / 2, np.maximum(y - 20, 1))) < np.pi / 4
    return np.asarray(is_inside & (depth < rows - 40) & (depth > 10), bool)


def _jpeg(grey: NDArray[np.uint8]) -> bytes:
    image, out = Image.fromarray(grey).convert("RGB"), BytesIO()
    image.save(out, "JPEG", quality=90, subsampling="4:2:2")
    return out.getvalue()


def _dataset(coded: list[bytes], rows: int, columns: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality = "US"
    ds.NumberOfFrames, ds.Rows, ds.Columns = len(coded), rows, columns
    ds.FrameTime, ds.FrameIncrementPointer = 50.0, 0x00181063
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = encapsulate(coded)
    ds["PixelData"].is_undefined_length = True
    return ds
