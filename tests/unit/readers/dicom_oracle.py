"""Synthetic ultrasound DICOM for tests: a moving disk in all pixel formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
PATIENT = "Smith^Secret"


def rgb_frames(n: int = 6, rows: int = 96, cols: int = 128) -> NDArray[np.uint8]:
    """Draw RGB frames (n, rows, cols, 3): a moving disk of colour (200, 120, 40) in a grey box."""
    frames = np.zeros((n, rows, cols, 3), np.uint8)
    frames[:, 10:86, 20:110] = 60
    for i, frame in enumerate(frames):
        cv2.circle(frame, (40 + 8 * i, 48), 12, (200, 120, 40), -1)
    return frames


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Convert to luma (Rec. 601)."""
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114]))


def ybr(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert RGB to YBR_FULL (PS3.3 C.7.6.3.1.2)."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.asarray(np.clip(np.rint(rgb @ matrix.T + (0, 128, 128)), 0, 255), np.uint8)


def dataset(n: int, rows: int, cols: int, photometric: str, **tags: Any) -> Dataset:
    """Create a header with patient data and FrameTime 40 ms; a value of None removes a tag."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = US_MULTIFRAME, generate_uid()
    ds.Modality, ds.PatientName, ds.PatientID, ds.StudyDate = "US", PATIENT, "ID-4711", "20010203"
    ds.PatientBirthDate = "19500607"
    ds.Rows, ds.Columns, ds.NumberOfFrames = rows, cols, n
    ds.SamplesPerPixel = 1 if photometric.startswith(("MONO", "PAL")) else 3
    ds.PhotometricInterpretation = photometric
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.FrameIncrementPointer, ds.FrameTime = 0x00181063, 40.0
    for keyword, value in tags.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def write(
    path: Path, ds: Dataset, pixels: bytes | list[bytes] | None, syntax: UID = ExplicitVRLittleEndian
) -> Path:
    """Write a file; a list of frames is encapsulated."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if isinstance(pixels, list):
        ds.PixelData = encapsulate(pixels)
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    elif pixels is not None:
        ds.PixelData = pixels
        ds["PixelData"].VR = "OW"
    ds.save_as(path, enforce_file_format=True)
    return path


def region(x0: int, y0: int, x1: int, y1: int, delta: float = 0.05, **tags: Any) -> Dataset:
    """Create an item of SequenceOfUltrasoundRegions; default: 2D tissue in cm."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = delta
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def grey_cine(path: Path, n: int = 6, **tags: Any) -> Path:
    """Write an uncompressed MONOCHROME2 cine."""
    frames = np.rint(luma(rgb_frames(n))).astype(np.uint8)
    return write(path, dataset(n, 96, 128, "MONOCHROME2", **tags), frames.tobytes())


def jpeg_cine(path: Path, n: int = 6, **tags: Any) -> Path:
    """Write a JPEG baseline YBR_FULL_422 cine."""
    frames = [
        cv2.imencode(".jpg", f[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for f in rgb_frames(n)
    ]
    return write(path, dataset(n, 96, 128, "YBR_FULL_422", **tags), frames, UID("1.2.840.10008.1.2.4.50"))
