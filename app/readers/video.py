"""Reader of mp4, avi and other videos, with OpenCV's FFmpeg."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from app.domain.cine import Cine, Frame
from app.domain.errors import CineError
from app.readers.fragments import sha256_of
from app.readers.frame_cache import SequentialDecoder
from app.readers.limits import check_size
from app.readers.simple_cine import simple_cine
from app.readers.timing import container_timing
from app.readers.video_boxes import has_hidden_frames, is_cut_short

_COUNTED_PIXELS = 500_000_000
"""Pixels up to which a video is decoded once to count its frames, which takes some seconds. For longer
videos, packets are counted, which are as many as the frames unless some are hidden or damaged."""
_PACKETS = [cv2.CAP_PROP_FORMAT, -1]
"""Option of OpenCV to return undecoded packets."""
_TOLERANCE, _RELATIVE_TOLERANCE = 2, 0.05
"""Deviation of the stated number of frames that is not reported: some containers only have a duration."""


def open_video(path: Path) -> Cine:
    """Open a video as luma, with all frames and the container's times.

    The frames are counted, because the number stated in a container may be absent or wrong.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Cine

    Raises
    ------
    CineError
        No frame can be decoded.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with _capture(path) as video:
        if not video.isOpened():
            raise _undecodable(path)
        width, height = (int(video.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        check_size(path.name, width, height)
        if not video.grab():
            raise _undecodable(path)
        fps = float(video.get(cv2.CAP_PROP_FPS))
        stated = _valid_count(video.get(cv2.CAP_PROP_FRAME_COUNT))
    times = _times(path, _PACKETS)
    if len(times) * width * height <= _COUNTED_PIXELS or has_hidden_frames(path):
        times = _times(path, [])
    n_frames = len(times)
    if n_frames == 0:
        raise _undecodable(path)

    def start() -> Iterator[Frame]:
        with _capture(path) as frames:
            while True:
                ok, image = frames.read()
                if not ok:
                    return
                if image.shape[:2] != (height, width):
                    raise CineError(f"{path.name} has frames of different sizes; convert it to mp4 (H.264).")
                yield np.asarray(
                    image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8
                )

    def missing(index: int) -> CineError:
        return CineError(f"{path.name}: frame {index} cannot be decoded; convert the video to mp4 (H.264).")

    timing, notes = container_timing(n_frames, times, fps)
    try:
        return simple_cine(
            path,
            SequentialDecoder(start, missing),
            n_frames,
            timing=timing,
            content_hash=sha256_of(path),
            pixel_format="video",
            notes=(*_count_notes(path, n_frames, stated), *notes),
        )
    except cv2.error as error:
        raise _undecodable(path) from error


def _count_notes(path: Path, n_frames: int, stated: int) -> list[str]:
    if stated - n_frames <= max(_TOLERANCE, _RELATIVE_TOLERANCE * stated):
        return []
    if is_cut_short(path):
        return [
            f"The file is truncated: {n_frames} of {stated} frames can be read; "
            "copy it again if you need the others."
        ]
    if has_hidden_frames(path):
        return []  # trimmed without recoding, on purpose
    return [f"The file states {stated} frames, but only {n_frames} can be decoded."]


@contextmanager
def _capture(path: Path, options: list[int] | None = None) -> Iterator[cv2.VideoCapture]:
    with _utf8_name(path) as name:
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, options or [])
        try:
            yield capture
        finally:
            capture.release()


@contextmanager
def _utf8_name(path: Path) -> Iterator[str]:
    """Return the file's name, or that of a link to it: OpenCV crashes for names that are not UTF-8.

    The alternative, reading through a Python file object, crashes for some damaged files.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="apical-") as folder:
            link = Path(folder) / "video"
            try:
                link.symlink_to(path)
            except OSError:  # no support for links
                shutil.copyfile(path, link)
            yield str(link)
    else:
        yield str(path)


def _times(path: Path, options: list[int]) -> list[float]:
    """Return the time stamps in ms of all frames, or of all packets with `_PACKETS`, in display order."""
    times = []
    with _capture(path, options) as video:
        while video.isOpened() and video.grab():
            times.append(float(video.get(cv2.CAP_PROP_POS_MSEC)))
    return sorted(times) if options else times


def _valid_count(value: float) -> int:
    return int(value) if 0 < value < 1e9 else 0


def _undecodable(path: Path) -> CineError:
    return CineError(f"{path.name} has no video that can be decoded; convert it to mp4 (H.264).")
