"""Small intact files of all formats that the program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from app.bench.phantom_dicom import write_phantom_dicom

_FRAMES, _ROWS, _COLUMNS = 8, 96, 128


def write_samples(folder: Path) -> list[Path]:
    """Write cines as DICOM, video, animations, NIfTI and folders of images.

    Parameters
    ----------
    folder : Path
        An existing folder.

    Returns
    -------
    list of Path
        Files, and folders of images.
    """
    frames = _frames()
    return [
        *_dicom(folder, frames),
        *_videos(folder, frames),
        *_pages(folder, frames),
        *_nifti(folder, frames),
    ]


def write_label_samples(folder: Path) -> tuple[list[Path], tuple[int, int, int]]:
    """Write labels of the same cine as a folder of PNG files and as NIfTI.

    Parameters
    ----------
    folder : Path
        An existing folder.

    Returns
    -------
    paths : list of Path
    shape : tuple of int
        Frames, height and width of the cine.
    """
    import nibabel

    y, x = np.mgrid[:_ROWS, :_COLUMNS]
    label = (np.hypot(x - 64, y - 50) < 20).astype(np.uint8)
    pngs = folder / "labels"
    pngs.mkdir()
    for index in (0, 4):
        cv2.imwrite(str(pngs / f"frame_{index:04d}.png"), label)
    stack = np.full((_FRAMES, _ROWS, _COLUMNS), 255, np.uint8)
    stack[[0, 4]] = label
    nifti = folder / "labels.nii.gz"
    nibabel.save(nibabel.Nifti1Image(stack.transpose(2, 1, 0), np.eye(4)), nifti)
    return [pngs, nifti], (_FRAMES, _ROWS, _COLUMNS)


def _frames() -> NDArray[np.uint8]:
    """Draw a dark disk that beats in a sector of speckle."""
    y, x = np.mgrid[:_ROWS, :_COLUMNS].astype(np.float32)
    speckle = np.random.default_rng(0).rayleigh(60, (_ROWS, _COLUMNS)).astype(np.float32)
    sector = np.abs(x - 64) < 0.7 * (y + 6)
    frames = []
    for index in range(_FRAMES):
        radius = 16 + 5 * np.cos(2 * np.pi * index / _FRAMES)
        grey = np.where(np.hypot(x - 64, y - 50) < radius, 0.2, 1.0) * np.roll(speckle, index, 0)
        frames.append(np.where(sector, np.clip(grey, 8, 250), 0).astype(np.uint8))
    return np.stack(frames)


def _dicom(folder: Path, frames: NDArray[np.uint8]) -> list[Path]:
    written = []
    for name, jpeg in (("native.dcm", False), ("jpeg.dcm", True)):
        path = folder / name
        write_phantom_dicom(path, frames, fps=30, mm_per_px=(0.5, 0.6), view="A4C", jpeg=jpeg)
        written.append(path)
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        ds = dcmread(folder / "native.dcm")
        ds.compress(syntax)
        written.append(folder / f"{syntax.rsplit('.', 1)[1]}.dcm")
        ds.save_as(written[-1])
    rgb = dcmread(folder / "native.dcm")
    rgb.SamplesPerPixel, rgb.PhotometricInterpretation, rgb.PlanarConfiguration = 3, "RGB", 0
    rgb.PixelData = np.repeat(frames[..., None], 3, -1).tobytes()
    rgb.FrameTimeVector = [0.0] + [33.0] * (_FRAMES - 1)
    rgb.FrameIncrementPointer = 0x00181065
    wide = dcmread(folder / "native.dcm")
    wide.BitsAllocated, wide.BitsStored, wide.HighBit = 16, 12, 11
    wide.PixelData = (frames.astype("<u2") << 4).tobytes()
    wide["PixelData"].VR = "OW"
    wide.WindowCenter, wide.WindowWidth = 2048, 4096
    for name, ds in (("rgb.dcm", rgb), ("wide.dcm", wide)):
        ds.save_as(folder / name)
        written.append(folder / name)
    return written


def _videos(folder: Path, frames: NDArray[np.uint8]) -> list[Path]:
    written = []
    for name, codec in (("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c.mkv", "MJPG")):
        path = folder / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, (_COLUMNS, _ROWS))
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        writer.release()
        written.append(path)
    return written


def _pages(folder: Path, frames: NDArray[np.uint8]) -> list[Path]:
    pages = [Image.fromarray(frame) for frame in frames]
    written = []
    for name in ("a.gif", "b.png", "c.webp", "d.tif"):
        written.append(folder / name)
        options: dict[str, Any] = {} if name == "d.tif" else {"duration": 40}
        pages[0].save(written[-1], save_all=True, append_images=pages[1:], **options)
    pages[0].save(folder / "still.jpg", quality=90)
    for name, values in (("png8", frames), ("png10", frames.astype(np.uint16) << 2), ("tif", frames)):
        inside = folder / name
        inside.mkdir()
        for index, frame in enumerate(values):
            cv2.imwrite(str(inside / f"{index:02d}.{'tif' if name == 'tif' else 'png'}"), frame)
        written.append(inside)
    return [*written, folder / "still.jpg"]


def _nifti(folder: Path, frames: NDArray[np.uint8]) -> list[Path]:
    import nibabel

    written = []
    for name, values in (("a.nii", frames), ("b.nii.gz", frames.astype(np.float32))):
        image = nibabel.Nifti1Image(values.transpose(2, 1, 0)[:, :, None], np.eye(4))
        image.header.set_zooms((0.3, 0.3, 1.0, 0.04))
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, folder / name)
        written.append(folder / name)
    return written
