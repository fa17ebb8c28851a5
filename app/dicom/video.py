"""mp4, avi and other videos through OpenCV's FFmpeg, GIF through Pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageSequence

from app.dicom.fragments import sha256_of
from app.dicom.frame_cache import InOrder
from app.dicom.plain import NO_RATE, plain_cine
from app.dicom.timing import assumed, even
from app.domain.cine import Cine, Frame, Timing, TimingSource
from app.domain.errors import CineError

_COUNTED = 600
"""Frames up to which a video is walked through once for its true count and times."""
_FPS = (0.1, 2000.0)
_ESTIMATE, _ESTIMATE_SHARE = 2, 0.05
"""Frames, and share of them, by which a container's count may be off: some have but a duration."""


def open_video(path: Path) -> Cine:
    """Open a video; luma, every frame, at the container's times.

    Raises
    ------
    CineError
        No picture can be decoded.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened() or not capture.grab():
            raise CineError(f"{path.name} holds no video that can be decoded; convert it to mp4 (H.264).")
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        n_frames = stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        times = [capture.get(cv2.CAP_PROP_POS_MSEC)]
        if n_frames <= _COUNTED:
            while len(times) <= _COUNTED and capture.grab():
                times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
            n_frames = len(times)
    finally:
        capture.release()

    def start() -> Iterator[Frame]:
        frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        try:
            while True:
                ok, image = frames.read()
                if not ok:
                    return
                yield np.asarray(
                    image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8
                )
        finally:
            frames.release()

    timing, notes = _video_timing(n_frames, fps, times)
    if stated - n_frames > max(_ESTIMATE, _ESTIMATE_SHARE * stated):
        notes.append(
            f"The file is cut short: {n_frames} of {stated} frames can be read; copy it again if they matter."
        )
    return _cine(path, n_frames=n_frames, start=start, timing=timing, pixel_format="video", notes=notes)


def open_gif(path: Path) -> Cine:
    """Open an animated GIF; luma, at its own frame durations.

    Raises
    ------
    CineError
        Damaged.
    """
    try:
        with Image.open(path, formats=("GIF",)) as picture:
            n_frames = int(getattr(picture, "n_frames", 1))
            steps = [float(frame.info.get("duration") or 0) for frame in ImageSequence.Iterator(picture)]
    except Exception as error:
        raise CineError(f"{path.name} is a damaged GIF; save it again from where it came from.") from error

    def start() -> Iterator[Frame]:
        with Image.open(path, formats=("GIF",)) as gif:
            for frame in ImageSequence.Iterator(gif):
                yield np.array(frame.convert("RGB").convert("L"), np.uint8)

    notes: list[str] = []
    shown = np.asarray(steps[: n_frames - 1])  # how long the last one stays does not matter
    if n_frames > 1 and np.all(shown > 0):
        timing = Timing(np.concatenate([[0.0], np.cumsum(shown)]), TimingSource.CONTAINER)
    else:
        timing, notes = assumed(n_frames), [NO_RATE] if n_frames > 1 else []
    return _cine(path, n_frames=n_frames, start=start, timing=timing, pixel_format="GIF", notes=notes)


def _cine(
    path: Path,
    *,
    n_frames: int,
    start: Callable[[], Iterator[Frame]],
    timing: Timing,
    pixel_format: str,
    notes: list[str],
) -> Cine:
    def missing(index: int) -> CineError:
        return CineError(f"{path.name}: frame {index} cannot be decoded; convert the video to mp4 (H.264).")

    try:
        return plain_cine(
            path,
            InOrder(start, missing),
            n_frames,
            timing=timing,
            content_hash=sha256_of(path),
            pixel_format=pixel_format,
            notes=tuple(notes),
        )
    except CineError:
        raise
    except Exception as error:
        raise CineError(f"{path.name} is damaged; save it again from where it came from.") from error


def _video_timing(n_frames: int, fps: float, times: list[float]) -> tuple[Timing, list[str]]:
    """Each frame's own time where the video was walked through, else its stated rate."""
    stamps = np.asarray(times) - times[0]
    if len(stamps) == n_frames > 1 and np.all(np.diff(stamps) > 0):
        return Timing(stamps, TimingSource.CONTAINER), []
    if n_frames > 1 and _FPS[0] <= fps <= _FPS[1]:
        return even(n_frames, 1000.0 / fps, TimingSource.CONTAINER), []
    return assumed(n_frames), [NO_RATE] if n_frames > 1 else []
