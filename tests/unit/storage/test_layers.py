"""Layers of several raters, and facts that are undone like strokes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from app.domain.cine import Cine
from app.domain.errors import ProjectError
from app.domain.facts import AssignedView, Landmarks, Phase, PhaseMark
from app.domain.prediction import Prediction
from app.domain.views import FactSource, View
from app.storage.project import Project
from app.storage.raters import current_user
from app.storage.recorder import Recorder
from app.storage.records import HeadRecord

Paint = Callable[..., None]

VIEW = AssignedView(View.A4C, FactSource.MANUAL)
OTHER_VIEW = AssignedView(View.A2C, FactSource.RECOGNISED)
LANDMARKS = Landmarks(((40.5, 80.0), (90.0, 82.25)), (66.0, 12.0), FactSource.MANUAL)
ED = PhaseMark(Phase.ED, FactSource.MANUAL)
ES = PhaseMark(Phase.ES, FactSource.RECOGNISED)


def facts(recorder: Recorder) -> tuple[object, ...]:
    layer = recorder.layer
    return layer.view, layer.landmarks, layer.phases


def test_strokes_and_facts_are_undone_in_order_across_a_restart(
    recorder: Recorder, path: Path, paint: Paint
) -> None:
    steps = [facts(recorder)]
    for act in (
        lambda: recorder.set_view(VIEW, "A"),
        lambda: paint(recorder, 2, 1),
        lambda: recorder.set_landmarks(2, LANDMARKS, "A"),
        lambda: recorder.set_phase(2, ED, "A"),
        lambda: recorder.set_view(OTHER_VIEW, "B"),
        lambda: recorder.set_phase(7, ES, "A"),
        lambda: recorder.set_phase(2, None, "A"),
    ):
        act()
        steps.append(facts(recorder))
    assert (recorder.layer.revision, recorder.layer.sequence, recorder.pending) == (1, 7, 0)
    recorder.undo()
    recorder.project.close()

    with Project.open(path) as project:
        again = Recorder(project, recorder.cine_id)
        assert facts(again) == steps[-2]
        assert again.layer.phases == {2: ED, 7: ES}
        again.redo()
        assert facts(again) == steps[-1]
        for expected in reversed(steps[:-1]):
            again.undo()
            assert facts(again) == expected
        assert again.layer.annotated_frames == ()
        assert not again.layer.can_undo
        for expected in steps[1:]:
            again.redo()
            assert facts(again) == expected
        assert project.layer(recorder.cine_id).landmarks == {2: LANDMARKS}


def test_a_fact_does_not_outdate_predictions(recorder: Recorder, paint: Paint) -> None:
    paint(recorder, 0)
    revision = recorder.layer.revision
    recorder.set_view(VIEW, "A")
    recorder.undo()
    assert recorder.layer.revision == revision


def test_setting_the_same_fact_adds_no_step(recorder: Recorder) -> None:
    assert recorder.set_view(VIEW, "A") is not None
    assert recorder.set_view(VIEW, "A") is None
    assert recorder.set_landmarks(0, None, "A") is None
    assert recorder.layer.sequence == 1


def test_a_fact_of_a_missing_frame_is_refused(recorder: Recorder) -> None:
    with pytest.raises(IndexError):
        recorder.set_phase(99, ED, "A")
    assert recorder.pending == 0


def test_a_fact_is_queued_with_pending_strokes(recorder: Recorder, paint: Paint) -> None:
    with closing(sqlite3.connect(recorder.project.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        paint(recorder, 0, 0)
        recorder.set_phase(0, ED, "A")
        assert recorder.pending == 2
        other.execute("ROLLBACK")
    assert recorder.retry()
    assert recorder.project.layer(recorder.cine_id).phases == {0: ED}


def test_damaged_facts_are_reported(recorder: Recorder) -> None:
    recorder.set_view(VIEW, "A")
    with closing(sqlite3.connect(recorder.project.path)) as sql, sql:
        sql.execute('UPDATE facts SET value = \'{"view": "A9C", "source": "manual"}\'')
    with pytest.raises(ProjectError, match="is damaged"):
        recorder.project.layer(recorder.cine_id)


def test_each_rater_has_separate_layers(project: Project, cine: Cine, path: Path, paint: Paint) -> None:
    cine_id = project.add_cine(cine).id
    one, two = (Recorder(project, cine_id, rater) for rater in ("one", "two"))
    paint(one, 0, 0)
    paint(two, 0, 1)
    paint(two, 1, 2)
    two.set_view(VIEW, "two")
    mask = np.ones((cine.height, cine.width), np.uint8)
    project.save_predictions(cine_id, {3: Prediction.of(mask, 0.5, 2)}, "two")
    project.close()

    with Project.open(path) as again:
        layers = again.layers(cine_id)
        assert [(layer.rater, layer.revision, layer.n_annotated) for layer in layers] == [
            ("one", 1, 1),
            ("two", 2, 2),
        ]
        assert again.layer(cine_id, "one").view is None
        assert again.layer(cine_id, "two").view == VIEW
        assert sorted(again.predictions(cine_id, "two")) == [3]
        assert again.predictions(cine_id, "one") == {}
        Recorder(again, cine_id, "one").undo()
        assert again.annotations(cine_id, "one") == {}
        assert sorted(again.annotations(cine_id, "two")) == [0, 1]


def test_the_active_rater_decides_which_layer_is_shown(
    project: Project, cine: Cine, path: Path, paint: Paint
) -> None:
    cine_id = project.add_cine(cine).id
    assert project.rater_of(cine_id) == current_user()
    for rater, frames in (("one", 1), ("two", 2)):
        for frame in range(frames):
            paint(Recorder(project, cine_id, rater), frame, frame)
    assert (project.active_rater, project.rater_of(cine_id)) == (None, "one")
    assert project.summaries()[0].n_annotated == 1
    project.set_active_rater("two")
    project.close()
    with Project.open(path) as again:
        assert (again.active_rater, again.rater_of(cine_id)) == ("two", "two")
        assert again.layer(cine_id).annotated_frames == (0, 1)
        assert again.summaries()[0].n_annotated == 2
        again.set_active_rater("three")
        assert again.layer(cine_id).annotated_frames == ()
        assert again.summaries()[0].n_annotated == 0
        assert len(again.layers(cine_id)) == 2  # a layer is created by its first edit
        again.set_active_rater(None)
        assert again.rater_of(cine_id) == "one"


def test_each_rater_has_separate_heads(project: Project) -> None:
    head = HeadRecord(b"one", "e", "c", "l", {1: 1}, "2025-01-02T03:04:05Z")
    project.save_head(head)
    project.set_active_rater("two")
    assert project.latest_head() is None
    project.save_head(HeadRecord(b"two", "e", "c", "l", {1: 1}, "2025-01-02T03:04:05Z"))
    project.set_active_rater(None)
    latest = project.latest_head()
    assert latest is not None
    assert latest.blob == b"one"
