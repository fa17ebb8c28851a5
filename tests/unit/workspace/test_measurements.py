"""Measurements that follow the shown masks, the facts and the pair of the visible cine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from app.domain.calibration import CalibrationError
from app.domain.cine import Frame
from app.domain.facts import Landmarks, Phase
from app.domain.measure.as_json import to_json
from app.domain.measure.body_size import BodySize
from app.domain.prediction import Prediction
from app.domain.views import FactSource, View
from app.workspace.measurements import Measurements
from app.workspace.measuring import cine_snapshot
from app.workspace.opened_cine import OpenedCine
from tests.hearts import ED_FRAMES, ES_FRAME, beating, calibrated_cine, heart
from tests.unit.readers.dicom_oracle import grey_cine
from tests.unit.workspace.conftest import Harness
from vjepa_core.service.messages import Progress, Stage

STUDY = "1.2.3.4"


class Measured:
    """A harness with measurements."""

    made: ClassVar[list[Measured]] = []

    def __init__(self, harness: Harness) -> None:
        self.made.append(self)
        self.harness = harness
        self.measurements = Measurements(harness.workspace)

    def predict(self, opened: OpenedCine, masks: dict[int, Frame], revision: int | None = None) -> None:
        """Give a cine predictions, as the engine does."""
        at = opened.revision if revision is None else revision
        opened.predictions.update(
            {f: Prediction.of(mask, 0.9, at, None, {1: 0.95}) for f, mask in masks.items()}
        )
        self.harness.workspace.learner.predicted.emit(opened)
        self.settle()

    def settle(self) -> None:
        """Wait until everything is measured."""
        self.harness.dispatcher.run_until(lambda: not self.is_busy)

    @property
    def is_busy(self) -> bool:
        return self.measurements._is_running or self.measurements._timer is not None

    def open(self, path: Path) -> OpenedCine:
        """Open a cine and show it."""
        self.harness.open(path)
        self.settle()
        return self.harness.visible_cine

    def number(self, path: str) -> float:
        """Return a number by its JSON path."""
        result = self.measurements.result
        assert result is not None
        data = to_json(result)
        view, key = path.split(".")
        value = data["biplane"][key] if view == "biplane" else data["views"][view][key]
        assert isinstance(value, float | int)
        return value


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    yield
    while Measured.made:
        measurements = Measured.made.pop().measurements
        measurements.close()
        measurements._worker.shutdown(wait=True)


@pytest.fixture
def measured(harness: Harness) -> Measured:
    return Measured(harness)


def cine(folder: Path, name: str, view: str = "A4C", n: int = 40) -> Path:
    """A calibrated cine; cines with other numbers of frames have other pixels."""
    return calibrated_cine(folder / f"{name}.dcm", n=n, SeriesDescription=view, StudyInstanceUID=STUDY)


def test_predictions_are_measured_and_changes_follow(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a"))
    assert measured.measurements.result is None
    measured.predict(opened, beating())
    result = measured.measurements.result
    assert result is not None
    view = next(iter(result.views))
    beat = result.views[view].beats[0]
    assert (beat.ed_frame, beat.es_frame) == (ED_FRAMES[0], ES_FRAME)
    assert result.views[view].volumes is not None
    before = measured.number(f"{view}.edv_ml")
    assert f"{view}.ef_percent" in result.intervals
    measured.harness.workspace.editor.draw(opened, ED_FRAMES[0], heart(24.0, 57.0), "brush")
    assert measured.measurements.is_updating
    measured.settle()
    assert measured.number(f"{view}.edv_ml") > before
    measured.harness.workspace.editor.undo()
    measured.settle()
    assert measured.number(f"{view}.edv_ml") == pytest.approx(before)


def test_only_changed_frames_are_examined_again(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = measured.open(cine(tmp_path, "a"))
    measured.predict(opened, beating())
    examined: list[object] = []
    real = cine_snapshot.examine_frame

    def counted(*arguments: object, **options: object) -> object:
        examined.append(arguments)
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cine_snapshot, "examine_frame", counted)
    measured.predict(opened, {3: heart(19.0)})
    assert len(examined) == 1


def test_a_mark_moves_the_frames_and_is_undone_with_strokes(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a"))
    measured.predict(opened, beating())
    editor = measured.harness.workspace.editor

    def frames() -> tuple[int | None, int | None]:
        measured.settle()
        result = measured.measurements.result
        assert result is not None
        beat = next(iter(result.views.values())).beats[0]
        return beat.ed_frame, beat.es_frame

    measured.measurements.set_phase(opened, 12, Phase.ED)
    assert frames() == (12, ES_FRAME)
    measured.measurements.set_phase(opened, 13, Phase.ED)
    assert frames() == (13, ES_FRAME)
    assert set(opened.recorder.layer.phases) == {13}
    editor.draw(opened, 5, heart(15.0), "brush")
    measured.measurements.set_phase(opened, 22, Phase.ES)
    assert frames() == (13, 22)
    editor.undo()
    assert frames() == (13, ES_FRAME)
    editor.undo()  # the stroke
    editor.undo()
    assert frames() == (12, ES_FRAME)
    editor.undo()
    assert frames() == (ED_FRAMES[0], ES_FRAME)
    editor.redo()
    assert frames() == (12, ES_FRAME)
    measured.measurements.set_phase(opened, 12, None)
    assert frames() == (ED_FRAMES[0], ES_FRAME)


def test_facts_are_not_sent_to_the_engine_again(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a"))
    measured.predict(opened, beating())
    sent: list[OpenedCine] = []
    measured.harness.workspace.learner.send = sent.append  # type: ignore[method-assign, assignment]
    measured.measurements.set_phase(opened, 12, Phase.ED)
    measured.measurements.set_view(opened, View.A2C)
    measured.harness.workspace.editor.undo()
    assert sent == []
    measured.harness.workspace.editor.draw(opened, 5, heart(15.0), "brush")
    assert sent == [opened]


def test_two_views_of_a_study_pair_up_and_the_user_can_separate_them(
    measured: Measured, tmp_path: Path
) -> None:
    first = measured.open(cine(tmp_path, "a"))
    measured.measurements.set_view(first, View.A4C)
    measured.predict(first, beating())
    measured.open(cine(tmp_path, "b", n=41))
    second = next(o for o in measured.harness.workspace.opened_cines if o is not first)
    measured.harness.workspace.show(second)
    assert measured.measurements.pair_candidates == [first]
    measured.predict(second, beating())
    measured.measurements.set_view(second, View.A2C)
    measured.settle()
    assert measured.measurements.pair is first
    assert measured.measurements.used == (second, first)
    single = measured.number("A4C.edv_ml")
    assert measured.number("biplane.edv_ml") == pytest.approx(single)
    measured.measurements.set_pair(None)
    measured.settle()
    assert measured.measurements.pair is None
    assert measured.measurements.result is not None
    assert measured.measurements.result.biplane is None
    measured.measurements.set_pair(first)
    measured.settle()
    assert measured.measurements.used == (second, first)


def test_a_recognised_view_is_a_proposal_until_it_is_confirmed(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a", view=""))
    assert measured.measurements.view_of(opened) == (None, None)
    opened.recognised_view = View.A2C
    assert measured.measurements.view_of(opened) == (View.A2C, None)
    assert opened.recorder.layer.view is None
    measured.measurements.set_view(opened, View.A2C)
    assert measured.measurements.view_of(opened) == (View.A2C, FactSource.RECOGNISED)
    measured.measurements.set_view(opened, View.A4C)
    assert measured.measurements.view_of(opened) == (View.A4C, FactSource.MANUAL)
    measured.measurements.set_view(opened, None)
    assert measured.measurements.view_of(opened) == (View.A2C, None)


def test_calibration_by_hand_gives_millilitres_and_is_undone(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(
        grey_cine(tmp_path / "bare.dcm", n=40, SequenceOfUltrasoundRegions=[], SeriesDescription="A4C")
    )
    masks = {f: mask[: opened.cine.height, : opened.cine.width] for f, mask in beating().items()}
    full = np.zeros((opened.cine.height, opened.cine.width), np.uint8)
    padded = {}
    for frame, mask in masks.items():
        image = full.copy()
        image[: mask.shape[0], : mask.shape[1]] = mask
        padded[frame] = image
    measured.predict(opened, padded)
    result = measured.measurements.result
    assert result is not None
    view = next(iter(result.views))
    assert result.views[view].beats[0].edv_ml is None
    ef = measured.number(f"{view}.ef_percent")
    points = ((10.0, 10.0), (10.0, 50.0))
    for bad in (((10.0, 10.0), (12.0, 10.0)), ((10.0, 10.0), (10.0, 5000.0))):
        with pytest.raises(CalibrationError):
            measured.measurements.set_calibration(opened, bad, 40.0)
    with pytest.raises(CalibrationError):
        measured.measurements.set_calibration(opened, points, 4000.0)
    assert not opened.recorder.layer.calibrations
    measured.measurements.set_calibration(opened, points, 40.0)
    measured.settle()
    first = measured.number(f"{view}.edv_ml")
    assert measured.number(f"{view}.ef_percent") == pytest.approx(ef)
    assert any("by hand" in text for text in measured.measurements.result.warnings)  # type: ignore[union-attr]
    measured.measurements.set_calibration(opened, points, 80.0)
    measured.settle()
    assert measured.number(f"{view}.edv_ml") == pytest.approx(8 * first)
    assert measured.measurements.calibrated(opened).calibration is not None
    measured.measurements.remove_calibrations(opened)
    measured.settle()
    assert measured.measurements.result.views[view].beats[0].edv_ml is None  # type: ignore[union-attr]
    measured.harness.workspace.editor.undo()
    measured.settle()
    assert measured.number(f"{view}.edv_ml") == pytest.approx(8 * first)


def test_landmarks_by_hand_change_the_length_and_can_be_reset(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a"))
    measured.predict(opened, beating())
    view = next(iter(measured.measurements.result.views))  # type: ignore[union-attr]
    derived = measured.number(f"{view}.length_ed_mm")
    landmarks = Landmarks(((45.0, 65.0), (83.0, 65.0)), (64.0, 25.0), FactSource.MANUAL)
    measured.measurements.set_landmarks(opened, ED_FRAMES[0], landmarks)
    measured.settle()
    assert measured.number(f"{view}.length_ed_mm") == pytest.approx(40.0, abs=0.5)
    measured.measurements.set_landmarks(opened, ED_FRAMES[0], None)
    measured.settle()
    assert measured.number(f"{view}.length_ed_mm") == pytest.approx(derived)


def test_body_size_is_stored_only_on_request(open_harness: Callable[[], Harness], tmp_path: Path) -> None:
    harness = open_harness()
    measured = Measured(harness)
    opened = measured.open(cine(tmp_path, "a"))
    measured.predict(opened, beating())
    measured.measurements.set_body(BodySize(180.0, 80.0))
    measured.settle()
    assert measured.measurements.result.body == BodySize(180.0, 80.0)  # type: ignore[union-attr]
    assert harness.workspace.project is not None
    path = harness.workspace.project.path
    measured.measurements.close()
    harness.workspace.close_project()

    def reopened() -> BodySize | None:
        again = open_harness()
        other = Measured(again)
        again.workspace.open_project(path)
        again.settle()
        found = other.measurements.body
        other.measurements.set_body(BodySize(170.0, 70.0), store=True)
        other.measurements.close()
        again.workspace.close_project()
        return found

    assert reopened() is None
    assert reopened() == BodySize(170.0, 70.0)


def test_everything_set_by_hand_is_restored_with_the_project(
    open_harness: Callable[[], Harness], tmp_path: Path
) -> None:
    measured = Measured(open_harness())
    opened = measured.open(cine(tmp_path, "a"))
    measured.measurements.set_view(opened, View.A2C)
    measured.measurements.set_phase(opened, 4, Phase.ED)
    measured.measurements.set_phase(opened, 6, Phase.ED)
    measured.measurements.set_calibration(opened, ((5.0, 5.0), (5.0, 65.0)), 30.0)
    assert measured.harness.workspace.project is not None
    path = measured.harness.workspace.project.path
    layer = opened.recorder.layer
    expected = layer.view, layer.phases, layer.calibrations
    measured.measurements.close()
    measured.harness.workspace.close_project()
    again = open_harness()
    again.workspace.open_project(path)
    again.settle()
    layer = again.visible_cine.recorder.layer
    assert (layer.view, layer.phases, layer.calibrations) == expected
    again.workspace.editor.undo()
    assert layer.calibrations == {}
    again.workspace.editor.undo()
    assert list(layer.phases) == [4]


def test_nothing_is_measured_after_closing(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a"))
    measured.measurements.close()
    seen: list[None] = []
    measured.measurements.changed.connect(lambda: seen.append(None))
    opened.predictions.update({0: Prediction.of(heart(20.0), 0.9, 0)})
    measured.harness.workspace.learner.predicted.emit(opened)
    measured.harness.dispatcher.run_pending()
    assert seen == []


def reopened(open_harness: Callable[[], Harness], measured: Measured) -> Measured:
    """Close a project and open it in another workspace."""
    project = measured.harness.workspace.project
    assert project is not None
    measured.measurements.close()
    measured.harness.workspace.close_project()
    again = Measured(open_harness())
    again.harness.workspace.open_project(project.path)
    again.harness.settle()
    again.settle()
    again.harness.settle()
    again.settle()
    return again


def store(opened: OpenedCine) -> None:
    """Store the predictions of a cine, as the learner does with final ones."""
    opened.recorder.project.save_predictions(opened.id, opened.predictions, opened.recorder.layer.rater)


def test_a_pair_without_outlines_is_opened_and_measured_again_with_its_project(
    open_harness: Callable[[], Harness], tmp_path: Path
) -> None:
    measured = Measured(open_harness())
    first = measured.open(cine(tmp_path, "a", view="A4C"))
    measured.predict(first, beating())
    store(first)
    assert measured.measurements.pair_reason.startswith("No open cine of this study shows the A2C view")
    measured.open(cine(tmp_path, "b", view="", n=41))
    second = next(o for o in measured.harness.workspace.opened_cines if o is not first)
    measured.harness.workspace.show(second)
    measured.settle()
    assert measured.measurements.pair_reason.startswith("The view of this cine is not known")
    second.recognised_view = View.A2C
    measured.harness.workspace.learner.view_recognised.emit(second)
    measured.settle()
    assert measured.measurements.pair is first
    measured.harness.workspace.show(first)
    measured.settle()
    assert measured.measurements.pair is second
    assert "b.dcm has no masks yet" in measured.measurements.pair_reason
    assert measured.measurements.used == (first,)
    measured.predict(second, beating(41))
    store(second)
    assert measured.measurements.pair_reason == ""
    biplane = measured.number("biplane.ef_percent")
    measured.measurements.set_beat(second, 1)
    measured.harness.workspace.save_view({})

    again = reopened(open_harness, measured)
    assert again.harness.visible_cine.cine.path.name == "a.dcm"
    pair = again.measurements.pair
    assert pair is not None
    assert again.measurements.view_of(pair) == (View.A2C, None)  # still a proposal
    assert again.number("biplane.ef_percent") == pytest.approx(biplane)
    assert pair.recorder.layer.view is None


def test_a_view_that_is_no_longer_recognised_is_forgotten(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a", view=""))
    for view in (View.A2C, None):
        opened.recognised_view = view
        measured.harness.workspace.learner.view_recognised.emit(opened)
        measured.settle()
        assert measured.measurements.view_of(opened) == (view, None)


@pytest.mark.parametrize("stored", [[], {"1": 3}, {"1": []}, {"1": ["A9C", True]}, {"1": [None, 1]}, "x"])
def test_damaged_choices_count_as_absent(measured: Measured, tmp_path: Path, stored: object) -> None:
    opened = measured.open(cine(tmp_path, "a", view=""))
    project = measured.harness.workspace.project
    assert project is not None
    for name in ("cine_views", "measured_pairs", "body_sizes", "measured_beats"):
        project.save_result(name, stored)
    measured.measurements._stored._stored.clear()
    assert measured.measurements.view_of(opened) == (None, None)
    assert measured.measurements.pair is None
    assert measured.measurements.body is None
    measured.predict(opened, beating())
    assert measured.measurements.result is None  # a cine of unknown view is not measured
    measured.measurements.set_view(opened, View.A4C)
    measured.settle()
    assert measured.measurements.result is not None


def test_nothing_is_updating_once_learning_was_stopped(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a"))
    measured.predict(opened, beating())
    measured.harness.workspace.editor.draw(opened, 0, heart(24.0, 57.0), "brush")
    measured.settle()
    assert measured.measurements.is_updating  # masks of the other frames are older than the stroke
    heard: list[bool] = []
    measured.measurements.changed.connect(lambda: heard.append(measured.measurements.is_updating))
    measured.harness.session.on_event(Progress(opened.id, opened.revision, Stage.CANCELLED))
    measured.harness.dispatcher.run_pending()
    assert heard[-1:] == [False]


def test_the_event_loop_never_waits_for_measurements(measured: Measured, tmp_path: Path) -> None:
    opened = measured.open(cine(tmp_path, "a", n=200))
    opened.predictions.update({f: Prediction.of(m, 0.9, 0) for f, m in beating(200).items()})
    measured.harness.workspace.learner.predicted.emit(opened)
    longest = 0.0
    while measured.is_busy:
        start = time.thread_time()  # without the time that other threads and processes take
        measured.harness.dispatcher.run_pending()
        longest = max(longest, time.thread_time() - start)
        time.sleep(0.001)
    assert measured.measurements.result is not None
    assert longest < 0.02
