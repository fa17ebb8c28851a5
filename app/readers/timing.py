"""Frame times and their source (PS3.3 C.7.6.5)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from app.domain.cine import Timing, TimingSource
from app.readers.tags import number, numbers, value_of

ASSUMED_FPS = 30.0
NO_RATE = f"The file does not state its frame rate: {ASSUMED_FPS:g} frames per second are assumed."
IMPLAUSIBLE = f"The frame times in the file are not plausible: {ASSUMED_FPS:g} frames per second are assumed."
FRAME_TIME = 0x00181063
FRAME_TIME_VECTOR = 0x00181065
_STEP_MS = (2.0, 1000.0)
"""Range of typical steps between frames, the upper end excluded: no scanner stores more than 500 Hz, and 1 Hz
or less does not resolve a beat. Other values are defaults or in other units."""
_GAP_MS = 10_000.0
"""A longer step between two frames is an error in the file."""
_MOST_R_WAVES = 1000
"""More values than this are damage: a cine lasts seconds."""


def even_timing(n_frames: int, step_ms: float, source: TimingSource) -> Timing:
    """Return the timing of frames at equal steps, the first at 0 ms."""
    return Timing(np.arange(n_frames, dtype=np.float64) * step_ms, source)


def assumed_timing(n_frames: int) -> Timing:
    """Return the timing of 30 frames per second, marked as assumed."""
    return even_timing(n_frames, 1000.0 / ASSUMED_FPS, TimingSource.ASSUMED)


def is_plausible(steps_ms: NDArray[np.float64] | list[float]) -> bool:
    """Check the steps between frames.

    Parameters
    ----------
    steps_ms : array_like, shape (n,)
        Milliseconds from each frame to the next.

    Returns
    -------
    bool
        True if all steps are above 0 and below 10 s, and their median is at least 2 ms and below 1 s; False
        if there are none.
    """
    steps = np.asarray(steps_ms, np.float64)
    if steps.size == 0 or not bool(np.all(np.isfinite(steps) & (steps > 0) & (steps < _GAP_MS))):
        return False
    return _STEP_MS[0] <= float(np.median(steps)) < _STEP_MS[1]


def container_timing(n_frames: int, times_ms: list[float], fps: float) -> tuple[Timing, list[str]]:
    """Choose the frame times of a video or animation: time stamps, else frame rate, else an assumed rate.

    Parameters
    ----------
    n_frames : int
    times_ms : list of float
        Time stamp of every frame; ignored if the length differs from `n_frames`.
    fps : float
        Frame rate in Hz stated in the file; 0 or NaN for none.

    Returns
    -------
    Timing
    list of str
        Warnings.
    """
    if n_frames < 2:
        return assumed_timing(n_frames), []
    stamps = np.asarray(times_ms, np.float64)
    if len(stamps) == n_frames and is_plausible(np.diff(stamps)):
        return Timing(stamps - stamps[0], TimingSource.CONTAINER), []
    if np.isfinite(fps) and fps > 0 and is_plausible([1000.0 / fps]):
        return even_timing(n_frames, 1000.0 / fps, TimingSource.CONTAINER), []
    states_some = (np.isfinite(fps) and fps > 0) or bool(np.any(stamps > 0))
    return assumed_timing(n_frames), [IMPLAUSIBLE if states_some else NO_RATE]


def dicom_timing(ds: Dataset, n_frames: int, declared: int | None) -> tuple[Timing, list[str]]:
    """Choose the frame times of a DICOM file, in milliseconds from the first frame.

    The first plausible value is used of FrameTime and FrameTimeVector (in the order given by
    FrameIncrementPointer), CineRate, RecommendedDisplayFrameRate (which may differ from the rate of the
    acquisition) and an assumed rate. FrameDelay is ignored: it only states when
    the first frame starts.

    Parameters
    ----------
    ds : Dataset
    n_frames : int
        Number of readable frames.
    declared : int or None
        NumberOfFrames. The length of FrameTimeVector must match it or `n_frames`.

    Returns
    -------
    Timing
    list of str
        Warnings.
    """
    warnings: list[str] = []
    if n_frames == 1:  # also for a truncated file: one frame has no rate
        return Timing(np.zeros(1), TimingSource.ASSUMED), warnings
    for keyword in _order(ds):
        if keyword not in ds:
            continue
        if keyword == "FrameTimeVector":
            steps = np.asarray(numbers(ds, keyword)[1:])  # the first value has no previous frame
            lengths = {n_frames - 1, (declared or n_frames) - 1}
            if len(steps) in lengths and len(steps) >= n_frames - 1 and is_plausible(steps):
                times = np.concatenate([[0.0], np.cumsum(steps)])[:n_frames]
                return Timing(times, TimingSource.FRAME_TIME_VECTOR), warnings
        else:
            value = number(ds, keyword) or 0.0
            step = value if keyword == "FrameTime" else (1000.0 / value if value > 0 else 0.0)
            if is_plausible([step]):
                return even_timing(n_frames, step, TimingSource(keyword)), warnings
        warnings.append(f"{keyword} is not plausible and is not used.")
    warnings.append(NO_RATE)
    return assumed_timing(n_frames), warnings


def r_waves(ds: Dataset) -> tuple[float, ...]:
    """Return the times of the R waves in ms, in order without repetition; empty if the file states none.

    HeartRate is not used: scanners write 0, a default, or the rate of another moment.

    References
    ----------
    DICOM PS3.3, R Wave Time Vector (0018,6060).
    """
    times = {time for time in numbers(ds, "RWaveTimeVector") if math.isfinite(time)}
    return tuple(sorted(times)) if len(times) <= _MOST_R_WAVES else ()


def _order(ds: Dataset) -> list[str]:
    keywords = ["FrameTime", "FrameTimeVector"]
    pointer = value_of(ds, "FrameIncrementPointer")
    tags = pointer if isinstance(pointer, list) or hasattr(pointer, "__iter__") else [pointer]
    named = [int(t) for t in tags if isinstance(t, int)]
    if FRAME_TIME_VECTOR in named and FRAME_TIME not in named:
        keywords.reverse()
    return [*keywords, "CineRate", "RecommendedDisplayFrameRate"]
