"""Beats of a cine: end-diastole and end-systole from R waves or from the curve of the cavity's size."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SMOOTHING_MS = 30.0
"""Standard deviation of the Gaussian over the curve before its extremes are sought."""

SMALLEST_SWING = 0.4
"""Share of the curve's range by which it must turn back before an extreme counts as one."""

SMALLEST_CHANGE = 0.03
"""A curve that changes by less than this share of its maximum shows no beats."""

FULL_SHARE = 0.8
"""The curve at an edge of the cine counts as end-diastole only if it lies in this upper part of its range."""

NEAREST_CHECKED_MS = 110.0
"""A proposed frame moves to one that a human has checked, if that one is at most this far away."""

SHORTEST_BEAT_MS = 300.0
LONGEST_BEAT_MS = 2400.0


class BeatSource(StrEnum):
    """Origin of the limits of the beats."""

    R_WAVES = "R waves of the file"
    CURVE = "size of the left ventricle"


@dataclass(frozen=True)
class Beat:
    """One heartbeat that lies completely on the cine.

    Attributes
    ----------
    ed, es : int
        Frames of end-diastole and end-systole.
    end : int
        Frame of the following end-diastole, or the last frame of the beat.
    """

    ed: int
    es: int
    end: int


@dataclass(frozen=True)
class Cycle:
    """Beats of a cine.

    Attributes
    ----------
    beats : tuple of Beat
        Complete beats in order.
    source : BeatSource
    heart_rate : float or None
        Beats per minute, from the mean interval of the R waves, else from that of the end-diastoles away from
        the edges of the cine; None without one.
    rate_source : BeatSource
        Origin of the heart rate.
    """

    beats: tuple[Beat, ...]
    source: BeatSource
    heart_rate: float | None
    rate_source: BeatSource


def find_cycle(
    size: NDArray[np.float64],
    times_ms: NDArray[np.float64],
    r_waves_ms: Sequence[float] | None = None,
    *,
    timed: bool = True,
) -> Cycle:
    """Find the complete beats of a cine.

    With two or more R waves, a beat lasts from one to the next: end-diastole is its first frame, end-systole
    the frame of the smallest cavity. Otherwise end-diastoles are the largest and end-systoles the smallest
    sizes of the smoothed curve. A beat whose beginning or end lies beyond the cine is left out.

    Parameters
    ----------
    size : (T,) float
        Area or volume of the LV cavity per frame; nan where it is unknown.
    times_ms : (T,) float
        Times of the frames.
    r_waves_ms : sequence of float, optional
        Times of R waves on the same clock; ignored if an interval is not plausible.
    timed : bool
        False if `times_ms` are assumed: then R waves cannot be assigned to frames, and the curve gives no
        heart rate.
    """
    waves = _plausible(r_waves_ms)
    rate = None if waves is None else 60_000.0 / float(np.diff(waves).mean())
    known = np.isfinite(size)
    if known.sum() < 3:
        return Cycle((), BeatSource.CURVE, rate, BeatSource.R_WAVES)
    filled = np.interp(np.arange(len(size)), np.flatnonzero(known), size[known])
    if waves is not None and timed:
        beats = _from_r_waves(filled, times_ms, waves)
        if beats:
            return Cycle(beats, BeatSource.R_WAVES, rate, BeatSource.R_WAVES)
    beats, curve_rate = _from_curve(filled, times_ms)
    if rate is not None:
        return Cycle(beats, BeatSource.CURVE, rate, BeatSource.R_WAVES)
    return Cycle(beats, BeatSource.CURVE, curve_rate if timed else None, BeatSource.CURVE)


def _plausible(r_waves_ms: Sequence[float] | None) -> NDArray[np.float64] | None:
    """Return the sorted R waves; None if there are fewer than two or if an interval is not plausible."""
    waves = np.sort(np.asarray(() if r_waves_ms is None else r_waves_ms, float))
    intervals = np.diff(waves)
    if not intervals.size:
        return None
    is_plausible = (intervals >= SHORTEST_BEAT_MS) & (intervals <= LONGEST_BEAT_MS)
    return waves if is_plausible.all() else None


def at_checked_frames(cycle: Cycle, checked: Collection[int], times_ms: NDArray[np.float64]) -> Cycle:
    """Move end-diastole and end-systole of the beats to frames that a human has checked, where one is near.

    Near the extremes the size of the ventricle hardly changes from frame to frame, but a prediction beside an
    outlined frame may be slightly larger or smaller than the outline.

    Parameters
    ----------
    cycle : Cycle
    checked : collection of int
        Frames whose LV cavity was drawn or accepted.
    times_ms : (T,) float
        Times of the frames.
    """

    def nearest(frame: int) -> int:
        distances = {abs(times_ms[other] - times_ms[frame]): other for other in sorted(checked)}
        closest = min(distances, default=np.inf)
        return distances[closest] if closest <= NEAREST_CHECKED_MS else frame

    moved = (replace(beat, ed=nearest(beat.ed), es=nearest(beat.es)) for beat in cycle.beats)
    beats = tuple(new if new.ed < new.es else old for new, old in zip(moved, cycle.beats, strict=True))
    return replace(cycle, beats=beats)


def _from_r_waves(
    size: NDArray[np.float64], times_ms: NDArray[np.float64], waves: NDArray[np.float64]
) -> tuple[Beat, ...]:
    step = float(np.median(np.diff(times_ms)))
    inside = waves[(waves >= times_ms[0] - step / 2) & (waves <= times_ms[-1] + step / 2)]
    frames = [int(np.abs(times_ms - wave).argmin()) for wave in inside]
    return tuple(
        Beat(ed, ed + 1 + int(size[ed + 1 : end].argmin()), end)
        for ed, end in pairwise(frames)
        if end - ed > 2
    )


def _from_curve(
    size: NDArray[np.float64], times_ms: NDArray[np.float64]
) -> tuple[tuple[Beat, ...], float | None]:
    """Return the beats and the heart rate."""
    smooth = _smoothed(size, times_ms)
    low, high = float(smooth.min()), float(smooth.max())
    if high - low < SMALLEST_CHANGE * high:
        return (), None
    turns = _turning_points(smooth, SMALLEST_SWING * (high - low))
    full = low + FULL_SHARE * (high - low)
    beats, intervals = [], []
    for place, (es, is_maximum) in enumerate(turns):
        if is_maximum or place in (0, len(turns) - 1):
            continue
        ed, end = turns[place - 1][0], turns[place + 1][0]
        at_edges = [frame for frame in (ed, end) if frame in (0, len(size) - 1)]
        duration = times_ms[end] - times_ms[ed]
        plausible = SHORTEST_BEAT_MS <= duration <= LONGEST_BEAT_MS
        if plausible and all(smooth[frame] >= full for frame in at_edges):
            beats.append(Beat(_sharpened(size, ed, np.argmax), _sharpened(size, es, np.argmin), end))
            if not at_edges:  # there, the largest size may lie beyond the cine
                intervals.append(duration)
    return tuple(beats), 60_000.0 / float(np.mean(intervals)) if intervals else None


def _sharpened(size: NDArray[np.float64], frame: int, pick: Callable[[NDArray[np.float64]], np.intp]) -> int:
    """Extreme of the curve itself next to that of the smoothed one."""
    start = max(frame - 1, 0)
    window = size[start : frame + 2]
    return start + int(pick(window))


def _smoothed(size: NDArray[np.float64], times_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(-0.5 * ((times_ms[:, None] - times_ms[None]) / SMOOTHING_MS) ** 2)
    smooth: NDArray[np.float64] = weights @ size / weights.sum(1)
    return smooth


def _turning_points(curve: NDArray[np.float64], swing: float) -> list[tuple[int, bool]]:
    """Alternating extremes (frame, is a maximum), both ends included; smaller oscillations are ignored."""
    found: list[tuple[int, bool]] = []
    highest = lowest = 0
    rising: bool | None = None
    for frame, value in enumerate(curve):
        highest = frame if value > curve[highest] else highest
        lowest = frame if value < curve[lowest] else lowest
        if rising is not False and value <= curve[highest] - swing:
            found.append((highest, True))
            rising, lowest = False, frame
        elif rising is not True and value >= curve[lowest] + swing:
            found.append((lowest, False))
            rising, highest = True, frame
    if rising is not None:
        found.append((highest, True) if rising else (lowest, False))
    return found
