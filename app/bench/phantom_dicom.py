"""Write synthetic cines as ultrasound DICOM, with their labels, for tests and demonstrations.

``python -m app.bench.phantom_dicom --out cine.dcm --labels labels/`` writes a cine;
``python -m app.bench.phantom_dicom --sheet docs/phantom.png`` draws the figure of the documentation.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

_JPEG_QUALITY = 92
# A fixed date, so that the same phantom gives the same file.
_DATE, _TIME = "20000101", "120000"


def write_phantom_dicom(
    path: Path,
    frames: NDArray[np.uint8],
    *,
    fps: float,
    mm_per_px: tuple[float, float],
    view: str,
    heart_rate: float | None = None,
    jpeg: bool = False,
) -> None:
    """Write a cine as an Ultrasound Multi-frame Image (PS3.3 A.7) with calibrated region and frame time.

    Parameters
    ----------
    path : Path
    frames : ndarray, shape (frames, height, width), uint8
    fps : float
        Hz.
    mm_per_px : tuple of float
        Height and width of a pixel, mm.
    view : str
        "A4C" or "A2C", for the series description.
    heart_rate : float, optional
        Beats per minute.
    jpeg : bool
        Write JPEG baseline instead of uncompressed data.

    Raises
    ------
    ValueError
        The frames are not a uint8 stack, or a number is not positive.
    """
    if frames.ndim != 3 or frames.dtype != np.uint8 or not frames.size:
        raise ValueError(
            f"a cine is a uint8 stack (frames, height, width), not {frames.dtype} {frames.shape}"
        )
    if not (fps > 0 and min(mm_per_px) > 0):
        raise ValueError(f"frame rate and pixel size must be positive, not {fps} Hz and {mm_per_px} mm")
    ds = _instance(frames, f"{fps} {mm_per_px} {view} {heart_rate} {jpeg}")
    ds.SeriesDescription = f"Phantom {view}"
    _add_frames(ds, frames, fps)
    if heart_rate is not None:
        ds.HeartRate = round(heart_rate)
    ds.SequenceOfUltrasoundRegions = [_region(frames.shape[1], frames.shape[2], mm_per_px)]
    if jpeg:
        _compress(ds, frames)
    else:
        ds.PixelData = frames.tobytes() + b"\0" * (frames.size % 2)
        ds["PixelData"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)


def _instance(frames: NDArray[np.uint8], settings: str) -> Dataset:
    """Create the modules without the frames, marked as synthetic; UIDs are hashes of the content."""
    content = hashlib.sha256(settings.encode() + frames.tobytes()).hexdigest()
    ds = Dataset()
    ds.SOPClassUID = UltrasoundMultiFrameImageStorage
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(ds, keyword, generate_uid(entropy_srcs=[keyword, content]))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PatientName, ds.PatientID = "Phantom^Synthetic", "PHANTOM"
    ds.PatientBirthDate, ds.PatientSex = "", ""
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = _DATE, _TIME, "1", ""
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Synthetic echocardiogram"
    ds.SeriesNumber, ds.InstanceNumber, ds.Modality = 1, 1, "US"
    ds.BodyPartExamined = "HEART"
    ds.Manufacturer, ds.ManufacturerModelName = "Apical", "Phantom"
    ds.ContentDate, ds.ContentTime = _DATE, _TIME
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.DerivationDescription = "Computed, no patient"
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.PatientOrientation = ""
    return ds


def _add_frames(ds: Dataset, frames: NDArray[np.uint8], fps: float) -> None:
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.FrameTime = f"{1000.0 / fps:.6f}"
    ds.FrameIncrementPointer = 0x00181063  # FrameTime
    ds.RecommendedDisplayFrameRate = max(1, round(fps))


def _region(rows: int, columns: int, mm_per_px: tuple[float, float]) -> Dataset:
    """Describe the whole image as one tissue region in centimetres (PS3.3 C.8.5.5)."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
    region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 3, 3
    region.PhysicalDeltaY, region.PhysicalDeltaX = mm_per_px[0] / 10.0, mm_per_px[1] / 10.0
    return region


def _compress(ds: Dataset, frames: NDArray[np.uint8]) -> None:
    coded = [
        cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
        for frame in frames
    ]
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    ds.LossyImageCompressionRatio = f"{frames.size / sum(map(len, coded)):.2f}"
    ds.PixelData = encapsulate(coded)
    ds["PixelData"].VR = "OB"


def draw_sheet(path: Path, seed: int, side: int = 176) -> None:
    """Draw phantom frames below frames of pydicom's real A4C cine into a PNG.

    Parameters
    ----------
    path : Path
    seed : int
    side : int
        Side of one frame, pixels.
    """
    import torch
    from pydicom.examples import get_path

    from app.readers.open import open_cine
    from vjepa_core.phantom import A2C, A4C, make_cines
    from vjepa_core.phantom.sheet import contact_sheet, outlined

    generator = torch.Generator().manual_seed(seed)
    real = open_cine(Path(get_path("ybr_color")))
    rows: list[list[NDArray[np.uint8]]] = []
    rows.append([real.frame(i)[real.region.slices] for i in range(0, real.n_frames, real.n_frames // 6)][:6])
    beating = make_cines(1, frames=6, size=side, view=A4C, fps=(7.0, 7.0), generator=generator)
    rows.append(list(beating.frames[0].numpy()))
    rows.append(
        [
            outlined(f, m)
            for f, m in zip(*(x[0].numpy() for x in (beating.frames, beating.masks)), strict=True)
        ]
    )
    for view in (A4C, A4C, A2C, A2C):
        several = make_cines(6, frames=1, size=side, view=view, generator=generator)
        rows.append(list(several.frames[:, 0].numpy()))
    cv2.imwrite(str(path), contact_sheet(rows, side)[..., ::-1])


def main(arguments: list[str] | None = None) -> None:
    """Write a cine or draw the figure, from the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Default: the arguments of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m app.bench.phantom_dicom", description=__doc__)
    output = parser.add_mutually_exclusive_group(required=True)
    output.add_argument("--out", type=Path, help="DICOM file to write")
    output.add_argument("--sheet", type=Path, help="draw phantom and real frames into a PNG instead")
    parser.add_argument("--labels", type=Path, help="folder for label images, frame_0000.png and so on")
    parser.add_argument("--view", choices=("A4C", "A2C"), default="A4C")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--size", type=int, default=384, help="side of a frame in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--jpeg", action="store_true", help="write JPEG baseline instead of uncompressed data"
    )
    options = parser.parse_args(arguments)
    if options.sheet:
        draw_sheet(options.sheet, options.seed)
        return

    import torch

    from vjepa_core.phantom import VIEWS, make_cines

    cine = make_cines(
        1,
        frames=options.frames,
        size=options.size,
        view=VIEWS.index(options.view),
        generator=torch.Generator().manual_seed(options.seed),
    )
    height_mm, width_mm = cine.mm_per_px[0].tolist()
    write_phantom_dicom(
        options.out,
        cine.frames[0].numpy(),
        fps=float(cine.fps[0]),
        mm_per_px=(height_mm, width_mm),
        view=options.view,
        heart_rate=float(cine.heart_rate[0]),
        jpeg=options.jpeg,
    )
    if options.labels:
        options.labels.mkdir(parents=True, exist_ok=True)
        for index, mask in enumerate(cine.masks[0].numpy()):
            cv2.imwrite(str(options.labels / f"frame_{index:04d}.png"), mask)


if __name__ == "__main__":
    main()
