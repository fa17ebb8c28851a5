"""Time of every frame, and the tag that it came from (PS3.3 C.7.6.5)."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from app.dicom.tags import number, numbers, value_of
from app.domain.cine import Timing, TimingSource

ASSUMED_FPS = 30.0
FRAME_TIME = 0x00181063
FRAME_TIME_VECTOR = 0x00181065
_SLOWEST_MS = 10_000.0
"""A longer step between two frames of a cine is a mistake in the file."""


def even(n_frames: int, step_ms: float, source: TimingSource) -> Timing:
    """Frames at equal steps, the first at 0 ms."""
    return Timing(np.arange(n_frames, dtype=np.float64) * step_ms, source)


def assumed(n_frames: int) -> Timing:
    """30 frames a second, and said to be assumed."""
    return even(n_frames, 1000.0 / ASSUMED_FPS, TimingSource.ASSUMED)


def dicom_timing(ds: Dataset, n_frames: int, declared: int) -> tuple[Timing, list[str]]:
    """Frame times in milliseconds from the first frame (FrameDelay is left out, as RWaveTimeVector does).

    FrameIncrementPointer decides between FrameTime and FrameTimeVector; what it does not name is
    still tried. Then RecommendedDisplayFrameRate, CineRate, and last an assumed rate. A value that
    makes no sense falls through to the next.

    Parameters
    ----------
    ds : Dataset
    n_frames : int
        Frames that can be read.
    declared : int
        NumberOfFrames, which the vector's length must match.

    Returns
    -------
    Timing
    list of str
        Warnings.
    """
    warnings: list[str] = []
    if min(declared, n_frames) == 1:  # one frame has no rate, also where the others were cut off
        return Timing(np.zeros(1), TimingSource.ASSUMED), warnings
    for keyword in _order(ds):
        if keyword not in ds:
            continue
        if keyword == "FrameTimeVector":
            steps = np.asarray(numbers(ds, keyword)[1:])  # the first has nothing before it
            if len(steps) == declared - 1 and _sane(steps):
                times = np.concatenate([[0.0], np.cumsum(steps)])[:n_frames]
                return Timing(times, TimingSource.FRAME_TIME_VECTOR), warnings
        else:
            value = number(ds, keyword) or 0.0
            step = value if keyword == "FrameTime" else (1000.0 / value if value > 0 else 0.0)
            if _sane(np.asarray([step])):
                return even(n_frames, step, TimingSource(keyword)), warnings
        warnings.append(f"{keyword} makes no sense and was not used.")
    warnings.append(f"The file does not say its frame rate: {ASSUMED_FPS:g} frames a second are assumed.")
    return assumed(n_frames), warnings


def _order(ds: Dataset) -> list[str]:
    first = ["FrameTime", "FrameTimeVector"]
    pointer = value_of(ds, "FrameIncrementPointer")
    tags = pointer if isinstance(pointer, list) or hasattr(pointer, "__iter__") else [pointer]
    named = [int(t) for t in tags if isinstance(t, int)]
    if FRAME_TIME_VECTOR in named and FRAME_TIME not in named:
        first.reverse()
    return [*first, "RecommendedDisplayFrameRate", "CineRate"]


def _sane(steps_ms: np.ndarray) -> bool:
    return bool(len(steps_ms) and np.all(np.isfinite(steps_ms) & (steps_ms > 0) & (steps_ms < _SLOWEST_MS)))
