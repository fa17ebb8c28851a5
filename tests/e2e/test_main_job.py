"""The main workflow in the real window with the real engine, with mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.demo import starter_labels
from tests.e2e.conftest import Desk
from tests.ui.user_input import dice, outline, scribble
from vjepa_core.service.messages import Stage

pytestmark = pytest.mark.slow

CAVITY, WALL, ATRIUM = 1, 2, 3
OpenDesk = Callable[[Path], Desk]


def draw_heart(desk: Desk, frame: int) -> None:
    """Outline the left ventricle and brush the atrium, as in the starter labels."""
    truth = starter_labels()[frame]
    desk.user.go_to(frame)
    desk.user.keys("P", "1")
    desk.user.drag(outline(truth, CAVITY))
    desk.user.keys("B", "3")
    desk.window.canvas.set_brush_radius(4.0)
    desk.user.drag(scribble(truth, ATRIUM))


def test_draw_predict_undo_crash_accept_close_and_reopen(open_desk: OpenDesk, demo_cine_path: Path) -> None:
    truth = starter_labels()
    desk = open_desk(demo_cine_path)
    hand = desk.user

    # Drawing with the mouse gives the drawn shape.
    draw_heart(desk, 6)
    assert dice(desk.drawn(6), truth[6], CAVITY) > 0.93
    assert dice(desk.drawn(6), truth[6], ATRIUM) > 0.8
    assert desk.opened.recorder.pending == 0

    # Frames without annotations get masks of the heart.
    desk.wait_until_up_to_date()
    assert dice(desk.predicted(24), truth[24], CAVITY) > 0.6
    assert (desk.predicted(24) == WALL).sum() > 1000  # not annotated anywhere: from the draft head
    draw_heart(desk, 24)
    desk.wait_until_up_to_date()
    areas = [int((desk.predicted(f) == CAVITY).sum()) for f in range(desk.opened.cine.n_frames)]
    small, large = sorted(int((truth[f] == CAVITY).sum()) for f in (6, 24))
    assert 0.5 * small < min(areas) <= max(areas) < 1.6 * large
    assert dice(desk.predicted(15), desk.predicted(16), CAVITY) > 0.7
    prediction_from_two = desk.predicted(15)

    # Undo shows the frame of the stroke, and the prediction is updated.
    hand.keys("Home", "Ctrl+Z", "Ctrl+Z")  # undoes the brush stroke and the outline
    assert desk.opened.frame == 24
    assert desk.opened.recorder.layer.annotated_frames == (6,)
    desk.wait_until_up_to_date()
    assert not np.array_equal(desk.predicted(15), prediction_from_two)
    hand.keys("Ctrl+Y", "Ctrl+Y")
    assert dice(desk.drawn(24), truth[24], CAVITY) > 0.9

    # The engine is killed: drawing continues, and a new engine is fitted to all annotations.
    assert desk.workspace.learner.session is not None
    killed = desk.workspace.learner.session.engine_pid
    desk.workspace.learner.session.kill_engine()
    hand.go_to(0)
    hand.keys("B", "1")
    hand.click(181, 100)
    desk.wait_until_up_to_date()
    assert desk.workspace.learner.session.engine_pid not in (killed, None)
    assert any("no annotation is lost" in text for _, text in desk.window.banner.messages())

    # Accept a frame.
    hand.go_to(14)
    expected = desk.predicted(14).copy()
    hand.keys("Return")
    assert 14 in desk.opened.recorder.layer.annotated_frames
    assert np.array_equal(desk.drawn(14), expected)
    desk.wait_until_up_to_date()

    # Close and reopen.
    hand.zoom(3, 170, 90)
    before = desk.opened
    labels, revision = before.recorder.layer.labels, before.recorder.layer.revision
    view = desk.window.canvas.view_state()
    desk.window.close()
    again = open_desk(demo_cine_path)
    after = again.opened
    assert after.frame == 14
    assert again.window.canvas.view_state()["scale"] == pytest.approx(view["scale"])
    assert after.recorder.layer.revision == revision
    assert after.recorder.layer.labels.keys() == labels.keys()
    for frame, label in labels.items():
        assert np.array_equal(again.drawn(frame), label)
    assert after.predictions.keys() == before.predictions.keys()
    for frame, prediction in before.predictions.items():
        assert np.array_equal(after.predictions[frame].mask, prediction.mask)
    again.wait_until_up_to_date()
    assert Stage.FITTING not in again.stages
    again.user.keys("Ctrl+Z")
    assert 14 not in after.recorder.layer.annotated_frames
    # The fit continues from the stored head and is shorter.
    again.wait(lambda: Stage.FITTING in again.stages)
    assert again.first_fit < desk.first_fit
