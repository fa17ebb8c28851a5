"""Frame times start at zero, rise, and agree with the frame rate, whatever a file states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from app.domain.cine import Timing, TimingSource
from app.readers.timing import container_timing, dicom_timing, even_timing

plausible_steps = st.lists(st.floats(2.0, 999.0), min_size=1, max_size=30)
any_number = st.floats(-1e6, 1e6) | st.sampled_from((0.0, 40.0, 33.33, 25.0, 30.0))


def check(timing: Timing, n_frames: int) -> None:
    """Assert what every timing guarantees."""
    times = timing.times_ms
    assert len(times) == n_frames
    assert times[0] == 0
    assert np.isfinite(times).all()
    assert (np.diff(times) > 0).all()
    if n_frames > 1:
        assert timing.fps == pytest.approx(1000 / np.diff(times).mean())


@given(plausible_steps)
def test_frame_rate_of_a_vector_is_that_of_its_mean_step(steps: list[float]) -> None:
    ds = Dataset()
    ds.FrameIncrementPointer = 0x00181065
    ds.FrameTimeVector = [0.0, *steps]
    timing, warnings = dicom_timing(ds, len(steps) + 1, len(steps) + 1)
    check(timing, len(steps) + 1)
    assert warnings == []
    assert timing.source is TimingSource.FRAME_TIME_VECTOR
    assert timing.times_ms[1:] == pytest.approx(np.cumsum(steps))


@given(
    st.integers(1, 20),
    st.none() | any_number,
    st.none() | st.lists(any_number, max_size=21),
    st.none() | st.integers(0, 100_000),
    st.none() | st.integers(0, 100_000),
    st.sampled_from((None, 0x00181063, 0x00181065)),
)
def test_any_header_gives_rising_times(
    n_frames: int,
    frame_time: float | None,
    vector: list[float] | None,
    cine_rate: int | None,
    display_rate: int | None,
    pointer: int | None,
) -> None:
    ds = Dataset()
    values = {
        "FrameTime": frame_time,
        "FrameTimeVector": vector,
        "CineRate": cine_rate,
        "RecommendedDisplayFrameRate": display_rate,
        "FrameIncrementPointer": pointer,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    timing, warnings = dicom_timing(ds, n_frames, n_frames)
    check(timing, n_frames)
    if timing.source is TimingSource.ASSUMED and n_frames > 1:
        assert warnings
        assert timing.fps == pytest.approx(30)


@given(
    st.integers(1, 20),
    st.lists(st.floats(-1e9, 1e9), max_size=20),
    st.floats(-10, 1e5) | st.just(float("nan")),
)
def test_any_container_gives_rising_times(n_frames: int, times_ms: list[float], fps: float) -> None:
    timing, _ = container_timing(n_frames, times_ms, fps)
    check(timing, n_frames)


@given(st.integers(1, 500), st.floats(2.0, 999.0))
def test_even_steps_give_their_rate(n_frames: int, step_ms: float) -> None:
    timing = even_timing(n_frames, step_ms, TimingSource.FRAME_TIME)
    check(timing, n_frames)
    assert timing.fps == (0 if n_frames == 1 else pytest.approx(1000 / step_ms))
