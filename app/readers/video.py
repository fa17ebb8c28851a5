"""mp4, avi and other videos through OpenCV's FFmpeg."""

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
from app.readers.frame_cache import InOrder
from app.readers.limits import check_size
from app.readers.simple_cine import plain_cine
from app.readers.timing import container_timing
from app.readers.video_boxes import has_hidden_frames, is_cut_short

_WALKED = 500_000_000
"""Pixels up to which a video is decoded once to count its frames: some seconds. In a longer one the packets
are counted, which are as many as the frames unless some are hidden or damaged."""
_PACKETS = [cv2.CAP_PROP_FORMAT, -1]
"""Makes OpenCV hand out packets as they are."""
_ESTIMATE, _ESTIMATE_SHARE = 2, 0.05
"""Frames, and share of them, by which a container's count may be off: some have but a duration."""


def open_video(path: Path) -> Cine:
    """Open a video; luma, every frame, at the container's times.

    The frames are counted: a container may state no count, or a wrong one.

    Raises
    ------
    CineError
        No picture can be decoded.
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
        stated = _whole(video.get(cv2.CAP_PROP_FRAME_COUNT))
    times = _times(path, _PACKETS)
    if len(times) * width * height <= _WALKED or has_hidden_frames(path):
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
                    raise CineError(
                        f"{path.name} changes the size of its pictures; convert it to mp4 (H.264)."
                    )
                yield np.asarray(
                    image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8
                )

    def missing(index: int) -> CineError:
        return CineError(f"{path.name}: frame {index} cannot be decoded; convert the video to mp4 (H.264).")

    timing, notes = container_timing(n_frames, times, fps)
    try:
        return plain_cine(
            path,
            InOrder(start, missing),
            n_frames,
            timing=timing,
            content_hash=sha256_of(path),
            pixel_format="video",
            notes=(*_count_notes(path, n_frames, stated), *notes),
        )
    except cv2.error as error:
        raise _undecodable(path) from error


def _count_notes(path: Path, n_frames: int, stated: int) -> list[str]:
    if stated - n_frames <= max(_ESTIMATE, _ESTIMATE_SHARE * stated):
        return []
    if is_cut_short(path):
        return [
            f"The file is cut short: {n_frames} of {stated} frames can be read; copy it again if they matter."
        ]
    if has_hidden_frames(path):
        return []  # trimmed without recoding: what is left out was left out on purpose
    return [f"The file says that it holds {stated} frames, but only {n_frames} can be decoded."]


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
    """The file's name, or one of a link to it: OpenCV ends the process when it gets one that is not UTF-8.

    Reading through a Python file, which OpenCV can as well, ends the process for some damaged files.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="apical-") as folder:
            link = Path(folder) / "video"
            try:
                link.symlink_to(path)
            except OSError:  # a system without links
                shutil.copyfile(path, link)
            yield str(link)
    else:
        yield str(path)


def _times(path: Path, options: list[int]) -> list[float]:
    """Time stamps in ms of every frame, or with `_PACKETS` of every packet, in the order of display."""
    times = []
    with _capture(path, options) as video:
        while video.isOpened() and video.grab():
            times.append(float(video.get(cv2.CAP_PROP_POS_MSEC)))
    return sorted(times) if options else times


def _whole(value: float) -> int:
    return int(value) if 0 < value < 1e9 else 0


def _undecodable(path: Path) -> CineError:
    return CineError(f"{path.name} holds no video that can be decoded; convert it to mp4 (H.264).")
