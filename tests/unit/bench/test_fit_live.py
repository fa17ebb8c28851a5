"""The fit benchmark: annotations, rows, ratios, targets and the forest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vjepa_core.bench import fit_live, forest_process
from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.fit_live import CORRECTION, FIRST, OURS, PEER, AnnotatedCine, Annotation, Response
from vjepa_core.bench.scored_cines import ScoredCine
from vjepa_core.encoder.catalogue import UNTRAINED_ENCODER
from vjepa_core.resources import resource_path


def cine(n: int = 8, labelled: Sequence[int] | None = None, height: int = 48, width: int = 64) -> ScoredCine:
    """A moving bright block that contains the three structures."""
    frames = np.full((n, height, width), 30, np.uint8)
    labels = {}
    for i in range(n):
        mask = np.zeros((height, width), np.uint8)
        mask[8 : 20 + i % 3, 10:40], mask[24:32, 10:40], mask[34:44, 10:40] = 1, 2, 3
        frames[i] += 60 * mask
        labels[i] = mask
    return ScoredCine(frames, 30.0, labels if labelled is None else {i: labels[i] for i in labelled})


def test_two_frames_are_annotated_and_the_furthest_scored_frame_is_visible() -> None:
    case = AnnotatedCine.of(cine(8))
    assert case.annotations == (Annotation((2,), 7), Annotation((2, 6), 0))
    assert sorted(case.labels(case.annotations[1])) == [2, 6]
    # If a labelled frame is left, it is the visible one, even if it is near.
    assert AnnotatedCine.of(cine(8, (1, 3, 5))).annotations == (Annotation((1,), 3), Annotation((1, 5), 3))
    # With only two labelled frames, none is left to score.
    two = AnnotatedCine.of(cine(8, (1, 3)))
    assert [a.annotated for a in two.annotations] == [(1,), (1, 3)]
    assert two.annotations[0].visible == 7
    assert two.dice(two.cine.labels, [7]) is None


@pytest.mark.parametrize("poor", [cine(8, (3,)), cine(8, ()), cine(2)])
def test_a_cine_with_too_few_labels_is_rejected(poor: ScoredCine) -> None:
    with pytest.raises(BenchError, match="outline two frames"):
        AnnotatedCine.of(poor)


def test_agreement_excludes_unlabelled_pixels() -> None:
    whole = cine(4)
    case = AnnotatedCine.of(whole)
    masks = dict(whole.labels)
    assert case.dice(masks, range(4)) == pytest.approx(1)
    assert case.dice({}, range(4)) == 0
    part = {frame: label.copy() for frame, label in whole.labels.items()}
    part[3][:, :30] = 255
    wrong = {**masks, 3: masks[3].copy()}
    wrong[3][:, :30] = 0
    assert AnnotatedCine.of(ScoredCine(whole.frames, 30.0, part)).dice(wrong, [3]) == pytest.approx(1)


def responses(case: AnnotatedCine, second: float, *, carried: bool) -> list[Response]:
    masks = case.cine.labels
    shown = np.zeros(case.cine.frames.shape[1:], np.uint8)
    return [
        Response(
            second * (step + 1),
            masks.get(annotation.visible, shown),
            4 * second,
            masks if step else {},
            *((second / 2, masks.get(annotation.visible, shown), 0.5) if carried else ()),
        )
        for step, annotation in enumerate(case.annotations)
    ]


def test_rows_are_medians_and_ratios_over_one_are_in_our_favour() -> None:
    heard: list[str] = []
    slow = iter((1.0, 9.0, 2.0))
    sides = {
        OURS: lambda case: responses(case, next(slow), carried=True),
        PEER: lambda case: responses(case, 20.0, carried=False),
    }
    rows, stopped = fit_live.run(
        [AnnotatedCine.of(cine())], sides, rounds=3, on_progress=lambda stage, *_: heard.append(stage)
    )
    assert not stopped
    assert heard[:2] == ["round 1 of 3, cine 1, ours", "round 1 of 3, cine 1, forest on our features"]
    assert [(row["side"], row["annotation"]) for row in rows] == [
        *((OURS, FIRST), (OURS, CORRECTION), (PEER, FIRST), (PEER, CORRECTION))
    ]
    first, correction, peer, _ = rows
    assert (first["preview_s"], first["preview_most_s"], first["whole_s"]) == (2, 9, 8)
    assert (first["annotated"], first["visible"], first["scored"], first["rounds"]) == ([2], 7, 7, 3)
    assert (first["carried_s"], first["gap_s"], first["dice_carried"]) == (1, 0.5, 1)
    assert (peer["carried_s"], peer["gap_s"], peer["dice_carried"]) == (None, None, None)
    assert (first["dice_preview"], first["dice_rest"], correction["dice_rest"]) == (1, 0, 1)
    assert fit_live.ratios(rows) == {
        f"seconds to the preview, {FIRST}": 10,
        f"seconds to the whole cine, {FIRST}": 10,
        f"seconds to the preview, {CORRECTION}": 10,
        f"seconds to the whole cine, {CORRECTION}": 10,
        f"Dice on the rest of the cine, {CORRECTION}": 1,
    }
    targets = fit_live.targets(rows, "cpu")
    assert [(one["measured_s"], one["limit_s"], one["met"]) for one in targets] == [
        *((4, 3, False), (0.5, 1, True), (8, 10, True))
    ]
    assert not fit_live.targets(rows, "cuda")[2]["met"]


def test_ctrl_c_keeps_the_rounds_completed_by_both() -> None:
    calls = []

    def stops(after: int) -> dict[str, fit_live.Side]:
        def side(case: AnnotatedCine) -> list[Response]:
            calls.append(1)
            if len(calls) > after:
                raise KeyboardInterrupt
            return responses(case, 1.0, carried=False)

        calls.clear()
        return {OURS: side, PEER: side}

    rows, stopped = fit_live.run([AnnotatedCine.of(cine())], stops(3), rounds=5)
    assert stopped
    assert [row["rounds"] for row in rows] == [2, 2, 1, 1]
    with pytest.raises(KeyboardInterrupt):
        fit_live.run([AnnotatedCine.of(cine())], stops(1), rounds=5)


def test_outlines_are_generated_for_a_cine_without_labels() -> None:
    generated = fit_live.with_phantom_labels(np.zeros((9, 60, 90), np.uint8), 25.0)
    assert sorted(generated.labels) == [2, 6]
    assert all(
        label.shape == (60, 90) and set(np.unique(label)) == {0, 1, 2, 3}
        for label in generated.labels.values()
    )
    assert len(AnnotatedCine.of(generated).annotations) == 2


def test_the_forest_is_fitted_to_the_labels_and_predicts_every_frame(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    case = AnnotatedCine.of(cine(5))
    side = fit_live.forest(tmp_path / "features", UNTRAINED_ENCODER, [resource_path("encoders")], trees=4)
    first, correction = side(case)
    for response in (first, correction):
        assert 0 < response.preview_s <= response.whole_s
        assert sorted(response.masks) == list(range(5))
        found = case.dice(response.masks, range(5))
        assert found is not None
        assert found > 0.7
    assert np.array_equal(first.preview, first.masks[case.annotations[0].visible])
    assert len(list((tmp_path / "features").glob("*.safetensors"))) == 1  # kept for the next round


def test_errors_of_the_forest_process_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(task: forest_process.Task) -> None:
        assert task.annotations[0]["visible"] == 7
        raise BenchError("No room: make some.")

    monkeypatch.setattr(forest_process, "measure", fail)
    task = forest_process.Task(
        "a", "b", "c", UNTRAINED_ENCODER, (), 30.0, ({"annotated": [2], "visible": 7},)
    )
    monkeypatch.setattr(sys, "argv", ["", task.to_json()])
    assert forest_process.main() == 2
    assert capsys.readouterr().out == '{"error": "No room: make some."}\n'


def test_missing_scikit_learn_is_reported_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_live.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match="apical\\[bench\\]"):
        fit_live.forest(tmp_path, UNTRAINED_ENCODER, [])
