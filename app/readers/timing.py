"""Time of every frame, and the tag that it came from (PS3.3 C.7.6.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from app.domain.cine import Timing, TimingSource
from app.readers.tags import number, numbers, value_of

ASSUMED_FPS = 30.0
NO_RATE = f"The file does not say its frame rate: {ASSUMED_FPS:g} frames a second are assumed."
IMPLAUSIBLE = f"The frame times in the file are not plausible: {ASSUMED_FPS:g} frames a second are assumed."
FRAME_TIME = 0x00181063
FRAME_TIME_VECTOR = 0x00181065
_STEP_MS = (2.0, 1000.0)
"""Typical steps between the frames of a cine, the upper end excluded: 500 Hz is faster than any scanner
stores, and at 1 Hz or less no beat can be followed; such values are defaults or in other units."""
_GAP_MS = 10_000.0
"""A longer pause between two frames of one cine is a mistake in the file."""


def even(n_frames: int, step_ms: float, source: TimingSource) -> Timing:
    """Frames at equal steps, the first at 0 ms."""
    return Timing(np.arange(n_frames, dtype=np.float64) * step_ms, source)


def assumed(n_frames: int) -> Timing:
    """30 frames a second, and said to be assumed."""
    return even(n_frames, 1000.0 / ASSUMED_FPS, TimingSource.ASSUMED)


def is_plausible(steps_ms: NDArray[np.float64] | list[float]) -> bool:
    """True for times between frames that a cine can have, whatever file format states them.

    Parameters
    ----------
    steps_ms : array_like, shape (n,)
        Milliseconds from each frame to the next: all of them above 0 and below 10 s, and their median
        at least 2 ms and less than 1 s. False for none.
    """
    steps = np.asarray(steps_ms, np.float64)
    if steps.size == 0 or not bool(np.all(np.isfinite(steps) & (steps > 0) & (steps < _GAP_MS))):
        return False
    return _STEP_MS[0] <= float(np.median(steps)) < _STEP_MS[1]


def container_timing(n_frames: int, times_ms: list[float], fps: float) -> tuple[Timing, list[str]]:
    """Frame times of a video or animation: its time stamps, else its stated rate, else an assumed one.

    Parameters
    ----------
    n_frames : int
    times_ms : list of float
        Time stamp of every frame; of another length where they are not known.
    fps : float
        Stated frame rate in Hz; 0 or NaN where there is none.

    Returns
    -------
    Timing
    list of str
        Warnings.
    """
    if n_frames < 2:
        return assumed(n_frames), []
    stamps = np.asarray(times_ms, np.float64)
    if len(stamps) == n_frames and is_plausible(np.diff(stamps)):
        return Timing(stamps - stamps[0], TimingSource.CONTAINER), []
    if np.isfinite(fps) and fps > 0 and is_plausible([1000.0 / fps]):
        return even(n_frames, 1000.0 / fps, TimingSource.CONTAINER), []
    states_some = (np.isfinite(fps) and fps > 0) or bool(np.any(stamps > 0))
    return assumed(n_frames), [IMPLAUSIBLE if states_some else NO_RATE]


def dicom_timing(ds: Dataset, n_frames: int, declared: int | None) -> tuple[Timing, list[str]]:
    """Frame times in milliseconds from the first frame (FrameDelay is left out, as RWaveTimeVector does).

    FrameIncrementPointer decides between FrameTime and FrameTimeVector; what it does not name is
    still tried. Then CineRate, RecommendedDisplayFrameRate (a display rate need not be the one of the
    acquisition), and last an assumed rate. A value that is not plausible falls through to the next.

    Parameters
    ----------
    ds : Dataset
    n_frames : int
        Frames that can be read.
    declared : int or None
        NumberOfFrames. The vector's length must match it, or the frames that are there.

    Returns
    -------
    Timing
    list of str
        Warnings.
    """
    warnings: list[str] = []
    if n_frames == 1:  # one frame has no rate, also where the others were cut off
        return Timing(np.zeros(1), TimingSource.ASSUMED), warnings
    for keyword in _order(ds):
        if keyword not in ds:
            continue
        if keyword == "FrameTimeVector":
            steps = np.asarray(numbers(ds, keyword)[1:])  # the first has nothing before it
            lengths = {n_frames - 1, (declared or n_frames) - 1}
            if len(steps) in lengths and len(steps) >= n_frames - 1 and is_plausible(steps):
                times = np.concatenate([[0.0], np.cumsum(steps)])[:n_frames]
                return Timing(times, TimingSource.FRAME_TIME_VECTOR), warnings
        else:
            value = number(ds, keyword) or 0.0
            step = value if keyword == "FrameTime" else (1000.0 / value if value > 0 else 0.0)
            if is_plausible([step]):
                return even(n_frames, step, TimingSource(keyword)), warnings
        warnings.append(f"{keyword} makes no sense and was not used.")
    warnings.append(NO_RATE)
    return assumed(n_frames), warnings


def _order(ds: Dataset) -> list[str]:
    first = ["FrameTime", "FrameTimeVector"]
    pointer = value_of(ds, "FrameIncrementPointer")
    tags = pointer if isinstance(pointer, list) or hasattr(pointer, "__iter__") else [pointer]
    named = [int(t) for t in tags if isinstance(t, int)]
    if FRAME_TIME_VECTOR in named and FRAME_TIME not in named:
        first.reverse()
    return [*first, "CineRate", "RecommendedDisplayFrameRate"]
