"""The main workflow in the real window with the real engine, with mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.demo import starter_labels
from tests.e2e.conftest import ProgramDriver
from tests.ui.user_input import dice, outline, scribble
from vjepa_core.service.messages import Stage

pytestmark = pytest.mark.slow

CAVITY, WALL, ATRIUM = 1, 2, 3
OpenProgram = Callable[[Path], ProgramDriver]


def draw_heart(driver: ProgramDriver, frame: int) -> None:
    """Outline the left ventricle and brush the atrium, as in the starter labels."""
    truth = starter_labels()[frame]
    driver.user.go_to(frame)
    driver.user.keys("P", "1")
    driver.user.drag(outline(truth, CAVITY))
    driver.user.keys("B", "3")
    driver.window.canvas.set_brush_radius(4.0)
    driver.user.drag(scribble(truth, ATRIUM))


def test_draw_predict_undo_crash_accept_close_and_reopen(
    open_program: OpenProgram, demo_cine_path: Path
) -> None:
    truth = starter_labels()
    driver = open_program(demo_cine_path)
    user = driver.user

    # Drawing with the mouse labels the drawn shape.
    draw_heart(driver, 6)
    assert dice(driver.drawn(6), truth[6], CAVITY) > 0.93
    assert dice(driver.drawn(6), truth[6], ATRIUM) > 0.8
    assert driver.opened.recorder.pending == 0

    # Frames without annotations get masks of the heart.
    driver.wait_until_up_to_date()
    assert dice(driver.predicted(24), truth[24], CAVITY) > 0.6
    assert (driver.predicted(24) == WALL).sum() > 1000  # not annotated anywhere: from the draft head
    draw_heart(driver, 24)
    driver.wait_until_up_to_date()
    areas = [int((driver.predicted(f) == CAVITY).sum()) for f in range(driver.opened.cine.n_frames)]
    small, large = sorted(int((truth[f] == CAVITY).sum()) for f in (6, 24))
    assert 0.5 * small < min(areas) <= max(areas) < 1.6 * large
    assert dice(driver.predicted(15), driver.predicted(16), CAVITY) > 0.7
    prediction_from_two = driver.predicted(15)

    # Undo shows the frame of the stroke, and the prediction is updated.
    user.keys("Home", "Ctrl+Z", "Ctrl+Z")  # undoes the brush stroke and the outline
    assert driver.opened.frame == 24
    assert driver.opened.recorder.layer.annotated_frames == (6,)
    driver.wait_until_up_to_date()
    assert not np.array_equal(driver.predicted(15), prediction_from_two)
    user.keys("Ctrl+Y", "Ctrl+Y")
    assert dice(driver.drawn(24), truth[24], CAVITY) > 0.9

    # The engine is killed: drawing continues, and a new engine is fitted to all annotations.
    assert driver.workspace.learner.session is not None
    killed = driver.workspace.learner.session.engine_pid
    driver.workspace.learner.session.kill_engine()
    user.go_to(0)
    user.keys("B", "1")
    user.click(181, 100)
    driver.wait_until_up_to_date()
    assert driver.workspace.learner.session.engine_pid not in (killed, None)
    assert any("no annotation is lost" in text for _, text in driver.window.banner.messages())

    # Accept a frame.
    user.go_to(14)
    expected = driver.predicted(14).copy()
    user.keys("Return")
    assert 14 in driver.opened.recorder.layer.annotated_frames
    assert np.array_equal(driver.drawn(14), expected)
    driver.wait_until_up_to_date()

    # Close and reopen.
    user.zoom(3, 170, 90)
    before = driver.opened
    labels, revision = before.recorder.layer.labels, before.recorder.layer.revision
    view = driver.window.canvas.view_state()
    driver.window.close()
    reopened = open_program(demo_cine_path)
    after = reopened.opened
    assert after.frame == 14
    assert reopened.window.canvas.view_state()["scale"] == pytest.approx(view["scale"])
    assert after.recorder.layer.revision == revision
    assert after.recorder.layer.labels.keys() == labels.keys()
    for frame, label in labels.items():
        assert np.array_equal(reopened.drawn(frame), label)
    assert after.predictions.keys() == before.predictions.keys()
    for frame, prediction in before.predictions.items():
        assert np.array_equal(after.predictions[frame].mask, prediction.mask)
    reopened.wait_until_up_to_date()
    assert Stage.FITTING not in reopened.stages
    reopened.user.keys("Ctrl+Z")
    assert 14 not in after.recorder.layer.annotated_frames
    # The fit continues from the stored head and is shorter.
    reopened.wait(lambda: Stage.FITTING in reopened.stages)
    assert reopened.first_fit < driver.first_fit
