"""After any sequence of strokes, facts, undo, redo and restarts, a project equals a simple model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.annotation_layer import AnnotationLayer
from app.domain.cine import Cine
from app.domain.facts import AssignedView, ManualCalibration, Phase, PhaseMark
from app.domain.views import FactSource, View
from app.storage.project import Project
from app.storage.recorder import Recorder

Act = Callable[[Recorder], object]


def draw(frame: int, value: int, y: int) -> Act:
    def act(recorder: Recorder) -> object:
        before = recorder.layer.label(frame)
        after = np.zeros(recorder.layer.shape, np.uint8) if before is None else before.copy()
        after[y : y + 3, 2:6] = value
        return recorder.draw(frame, after, "brush", "A")

    return act


def set_view(view: View | None) -> Act:
    assigned = None if view is None else AssignedView(view, FactSource.MANUAL)
    return lambda recorder: recorder.set_view(assigned, "A")


def set_phase(frame: int, phase: Phase | None) -> Act:
    mark = None if phase is None else PhaseMark(phase, FactSource.RECOGNISED)
    return lambda recorder: recorder.set_phase(frame, mark, "B")


def move_phase(frame: int, to: int, phase: Phase) -> Act:
    return lambda recorder: recorder.move_phase(frame, to, PhaseMark(phase, FactSource.MANUAL), "A")


def calibrate(region: int | None, size: float | None) -> Act:
    points = ((1.0, 2.0), (1.0, 102.0))
    fact = None if size is None else ManualCalibration(points, 100.0 * size, size, size)
    return lambda recorder: recorder.set_calibration(region, fact, "A")


edits = (
    st.builds(draw, st.integers(0, 2), st.integers(0, 3), st.integers(0, 8))
    | st.builds(set_view, st.sampled_from((None, View.A4C, View.A2C)))
    | st.builds(set_phase, st.integers(0, 1), st.sampled_from((None, *Phase)))
    | st.builds(move_phase, st.integers(0, 1), st.integers(0, 2), st.sampled_from(Phase))
    | st.builds(calibrate, st.sampled_from((None, 0, 1)), st.sampled_from((None, 0.3, 0.4)))
)
steps = st.lists(edits | st.sampled_from(("undo", "redo", "reopen")), max_size=20)


def content(layer: AnnotationLayer) -> tuple[object, ...]:
    labels = {frame: label.tobytes() for frame, label in layer.labels.items()}
    return labels, layer.states_by_frame, layer.view, layer.phases, layer.calibrations


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_the_project_follows_the_edits(make_cine: Callable[..., Cine], sequence: list[Act | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heart.apical"
        project = Project.create(path)
        cine_id = project.add_cine(make_cine()).id
        recorder = Recorder(project, cine_id, "A")
        states, position = [content(recorder.layer)], 0
        for step in sequence:
            if step == "reopen":
                project.close()
                project = Project.open(path)
                recorder = Recorder(project, cine_id, "A")
            elif step == "undo":
                assert (recorder.undo() is not None) == (position > 0)
                position = max(position - 1, 0)
            elif step == "redo":
                assert (recorder.redo() is not None) == (position < len(states) - 1)
                position = min(position + 1, len(states) - 1)
            elif not isinstance(step, str) and step(recorder) is not None:
                position += 1
                states[position:] = [content(recorder.layer)]
            assert content(recorder.layer) == states[position]
            assert content(project.layer(cine_id, "A")) == states[position]
        project.close()
