"""Strokes on frames with outdated predictions keep the visible masks."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from app.domain.cine import Frame
from app.domain.provenance import Provenance
from tests.e2e.conftest import ProgramDriver
from tests.ui.user_input import outline
from vjepa_core.service.messages import Stage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the engine is paused with SIGSTOP"),
]

CAVITY, WALL, ATRIUM = 1, 2, 3
FRAMES = (10, 11, 12, 13, 14)

Visible = dict[int, Frame]


@contextmanager
def paused_engine(driver: ProgramDriver) -> Iterator[None]:
    """Pause the engine process."""
    assert driver.workspace.learner.session is not None
    pid = driver.workspace.learner.session.engine_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        driver.qtbot.wait(100)  # reports that were already sent arrive
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def visible(driver: ProgramDriver) -> Visible:
    return {frame: driver.opened.masks(frame).shown.copy() for frame in FRAMES}


def are_equal(first: Visible, second: Visible) -> bool:
    return all(np.array_equal(first[frame], second[frame]) for frame in FRAMES)


def border(mask: Frame, value: int) -> tuple[float, float]:
    """Return a point on the left border of a structure, at half its height."""
    rows = np.flatnonzero((mask == value).any(axis=1))
    row = int(rows[len(rows) // 2])
    return float(np.flatnonzero(mask[row] == value)[0]), row + 0.5


def test_strokes_right_after_another_edit_keep_the_visible_masks(
    open_program: Callable[[Path], ProgramDriver], demo_cine_path: Path
) -> None:
    driver = open_program(demo_cine_path)
    user = driver.user
    driver.wait(lambda: driver.stage is Stage.DRAFT)
    user.go_to(10)
    seen = [visible(driver)]
    assert all((mask == CAVITY).any() and (mask == WALL).any() for mask in seen[0].values())

    with paused_engine(driver):
        user.keys("Return")  # accept
        seen.append(visible(driver))
        user.keys("Right", "B", "1")
        driver.window.canvas.set_brush_radius(6.0)
        user.click(*border(seen[-1][11], CAVITY))
        seen.append(visible(driver))
        user.keys("Right", "E")
        user.click(*border(seen[-1][12], WALL))
        seen.append(visible(driver))
        user.keys("Right", "P", "1")
        smaller = np.roll(seen[-1][13], 2, axis=0)
        user.drag(outline(smaller, CAVITY))
        seen.append(visible(driver))
        user.keys("Right", "Ctrl+Shift+E")
        seen.append(visible(driver))

        annotated = driver.opened.recorder.layer
        assert annotated.annotated_frames == FRAMES
        assert set(annotated.states(10).values()) == {Provenance.ACCEPTED}
        assert annotated.states(11) == annotated.states(13) == {CAVITY: Provenance.DRAWN}
        for frame in (11, 12, 13):
            for value in (CAVITY, WALL, ATRIUM):
                before, after = (int((s[frame] == value).sum()) for s in (seen[0], seen[-1]))
                assert after > 0.8 * before, f"structure {value} of frame {frame} was destroyed"
        assert not seen[-1][14].any()
        for step, expected in zip(range(len(seen) - 1, 0, -1), reversed(seen[:-1]), strict=True):
            user.keys("Ctrl+Z")
            assert are_equal(visible(driver), expected), f"undo of step {step}"
        assert annotated.annotated_frames == ()
        for step, expected in enumerate(seen[1:], start=1):
            user.keys("Ctrl+Y")
            assert are_equal(visible(driver), expected), f"redo of step {step}"
