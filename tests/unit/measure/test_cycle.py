"""Beats of synthetic curves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain.measure.cycle import Beat, BeatSource, Cycle, at_checked_frames, find_cycle

BEAT_MS, STEP_MS = 900.0, 33.0
SYSTOLE = 0.38


def curve(
    start: float, *, noise: float = 0.0, beats: float = 2.7
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Volume in ml and times in ms from a phase of the beat on; end-diastole is phase 0."""
    times = np.arange(0.0, beats * BEAT_MS, STEP_MS)
    phase = (times / BEAT_MS + start) % 1
    falling = np.sin(np.pi * phase / (2 * SYSTOLE)) ** 2
    rising = np.cos(np.pi * (phase - SYSTOLE) / (2 * (1 - SYSTOLE))) ** 2
    volume: NDArray[np.float64] = 100.0 - 55.0 * np.where(phase < SYSTOLE, falling, rising)
    return volume + np.random.default_rng(1).normal(0.0, 1.0, times.size) * noise, times


@pytest.mark.parametrize("start", [0.0, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_complete_beats_are_found(start: float, noise: float) -> None:
    size, times = curve(start, noise=noise)
    cycle = find_cycle(size, times)
    assert cycle.source is BeatSource.CURVE
    assert len(cycle.beats) == 2
    assert cycle.heart_rate is None or cycle.heart_rate == pytest.approx(60_000 / BEAT_MS, rel=0.06)
    for beat in cycle.beats:
        end_diastole = (times[beat.ed] / BEAT_MS + start + 0.5) % 1 - 0.5
        end_systole = (times[beat.es] / BEAT_MS + start) % 1 - SYSTOLE
        assert abs(end_diastole) * BEAT_MS <= 2.5 * STEP_MS
        assert abs(end_systole) * BEAT_MS <= 2.5 * STEP_MS


def test_the_heart_rate_comes_from_intervals_within_the_cine() -> None:
    size, times = curve(0.2, beats=3.5)
    assert find_cycle(size, times).heart_rate == pytest.approx(60_000 / BEAT_MS, rel=0.03)


def test_an_incomplete_beat_gives_none() -> None:
    size, times = curve(0.1, beats=0.6)
    cycle = find_cycle(size, times)
    assert (cycle.beats, cycle.heart_rate) == ((), None)


def test_r_waves_limit_the_beats() -> None:
    size, times = curve(0.0)
    cycle = find_cycle(size, times, [0.0, 900.0, 1800.0])
    assert cycle.source is BeatSource.R_WAVES
    assert [beat.ed for beat in cycle.beats] == [0, 27]
    assert cycle.heart_rate == pytest.approx(66.7, abs=0.1)


def test_implausible_r_waves_are_ignored() -> None:
    size, times = curve(0.0)
    assert find_cycle(size, times, [0.0, 10.0, 20.0]).source is BeatSource.CURVE


def test_frames_without_a_ventricle_are_bridged() -> None:
    size, times = curve(0.2)
    size[[5, 6, 40]] = np.nan
    assert len(find_cycle(size, times).beats) == 2


@pytest.mark.parametrize("size", [np.full(30, 50.0), np.full(30, np.nan), np.array([1.0])])
def test_a_flat_or_unknown_curve_has_no_beats(size: NDArray[np.float64]) -> None:
    assert find_cycle(size, np.arange(len(size), dtype=np.float64) * STEP_MS).beats == ()


def test_without_frame_times_r_waves_give_the_rate_but_no_beats() -> None:
    size, times = curve(0.2)
    cycle = find_cycle(size, times, [0.0, 800.0, 1600.0], timed=False)
    assert (cycle.source, cycle.rate_source) == (BeatSource.CURVE, BeatSource.R_WAVES)
    assert cycle.heart_rate == pytest.approx(75.0)
    assert find_cycle(size, times, timed=False).heart_rate is None


def test_r_waves_outside_the_cine_leave_the_beats_to_the_curve() -> None:
    size, times = curve(0.2)
    cycle = find_cycle(size, times, [90_000.0, 90_900.0])
    assert (len(cycle.beats), cycle.source) == (2, BeatSource.CURVE)


def test_a_beat_that_begins_at_the_edge_of_the_cine_gives_no_heart_rate() -> None:
    size, times = curve(0.0, beats=1.6)
    size[1] = size[0] + 0.5  # the largest size is next to the edge
    cycle = find_cycle(size, times)
    assert len(cycle.beats) == 1
    assert cycle.heart_rate is None


def test_proposed_frames_move_to_checked_ones_nearby() -> None:
    times = np.arange(40, dtype=np.float64) * 40.0
    cycle = Cycle((Beat(10, 20, 30),), BeatSource.CURVE, None, BeatSource.CURVE)
    assert at_checked_frames(cycle, {9, 22}, times).beats == (Beat(9, 22, 30),)
    assert at_checked_frames(cycle, {8, 11}, times).beats == (Beat(11, 20, 30),)
    assert at_checked_frames(cycle, {6, 25}, times).beats == cycle.beats  # too far
    assert at_checked_frames(cycle, set(), times) == cycle
    close = Cycle((Beat(10, 12, 30),), BeatSource.CURVE, None, BeatSource.CURVE)
    assert at_checked_frames(close, {11}, times).beats == close.beats  # both would be the same frame
