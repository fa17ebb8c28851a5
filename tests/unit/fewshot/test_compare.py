"""Comparison of encoders: frames that are left out, equal tasks, statistics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot import compare, fit_head
from vjepa_core.fewshot.compare import EncoderResult, LabelledCine, Prediction, interval
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.held_out import Target, choose_targets
from vjepa_core.fewshot.overlap import dice
from vjepa_core.fewshot.scribbles import ESTIMATE_WEIGHT

pytestmark = pytest.mark.slow

Image = NDArray[np.uint8]


def label(*values: int) -> Image:
    """Label image with a pixel of each of these classes."""
    image = np.zeros((4, 4), np.uint8)
    image.flat[: len(values)] = values
    return image


def test_each_frame_is_left_out_and_scored_for_classes_of_the_others() -> None:
    labels = {7: {2: label(1, 2), 5: label(1, 3), 9: label(1, 2), 11: label()}}
    assert choose_targets(labels, {7: 20}, (1, 2, 3)) == [
        Target(7, 2, (1, 2)),
        Target(7, 5, (1,)),  # class 3 is on no other frame
        Target(7, 9, (1, 2)),
    ]


def test_many_labels_are_reduced_to_a_few_spread_over_cines_and_time() -> None:
    labels = {cine: {frame: label(1) for frame in range(cine, 40)} for cine in range(6)}
    labels[9] = {0: label(1), 30: label(1)}
    targets = choose_targets(labels, dict.fromkeys(labels, 40), (1,), max_frames=8, max_cines=3)
    assert len(targets) == 8
    assert [t.cine for t in targets] == [0, 0, 0, 1, 1, 1, 2, 2]
    frames = [t.frame for t in targets if t.cine == 0]
    assert frames == sorted(frames)
    assert frames[-1] - frames[0] >= 20
    assert targets == choose_targets(labels, dict.fromkeys(labels, 40), (1,), max_frames=8, max_cines=3)


def test_a_cine_with_few_labels_contributes_all_of_them() -> None:
    labels = {1: {0: label(1), 3: label(1)}, 2: {f: label(1) for f in range(9)}}
    targets = choose_targets(labels, {1: 9, 2: 9}, (1,), max_frames=8)
    assert [t.cine for t in targets] == [1, 1, 2, 2, 2, 2, 2, 2]
    assert len(set(targets)) == 8


def test_with_one_labelled_frame_there_are_frames_without_scores() -> None:
    targets = choose_targets({4: {0: label()}, 5: {3: label(2)}}, {4: 9, 5: 9}, (1, 2))
    assert len(targets) == 3
    assert all(t.cine == 5 and t.scored == () and t.frame != 3 for t in targets)
    assert choose_targets({5: {0: label(2)}}, {5: 1}, (1, 2)) == []
    assert choose_targets({}, {}, (1, 2)) == []


def test_scribbled_frames_are_not_left_out() -> None:
    outlined = {5: {3: label(2)}}
    targets = choose_targets(outlined, {5: 7}, (1, 2), labelled={5: (1, 3, 4)})
    assert [target.frame for target in targets] == [0, 5, 6]
    assert choose_targets(outlined, {5: 3}, (1, 2), labelled={5: (0, 1, 2, 3)}) == []


def test_dice_ignores_unlabelled_pixels() -> None:
    truth = np.array([[1, 1, 0, 255]], np.uint8)
    assert dice(np.array([[1, 0, 0, 1]], np.uint8), truth, 1) == pytest.approx(2 / 3)
    assert dice(np.array([[0, 0, 0, 2]], np.uint8), truth, 2) == 1.0


@pytest.fixture(scope="module")
def results(heart: tuple[Image, Image], small_encoder: LoadedEncoder) -> list[EncoderResult]:
    """The same encoder twice."""
    frames, masks = heart
    cine = LabelledCine(frames, 30.0, {0: masks[0], 4: masks[4], 9: masks[9]})
    targets = choose_targets({3: cine.labels}, {3: len(frames)}, (1, 2), max_frames=2)
    progress: list[tuple[str, int, int]] = []
    found = compare.compare(
        {3: cine},
        (1, 2),
        [small_encoder, small_encoder],
        targets,
        config=FitConfig(steps=4),
        on_progress=lambda *step: progress.append(step),
    )
    assert [step for step in progress if step[0] == "small: fits"][-1] == ("small: fits", 8, 8)
    assert all(done <= total for _, done, total in progress)
    return found


def test_the_left_out_frame_is_predicted_at_the_pixels_of_the_region(
    results: list[EncoderResult], heart: tuple[Image, Image]
) -> None:
    (first, second) = results[0].predictions
    assert (first.target.cine, second.target.cine) == (3, 3)
    assert first.mask.shape == heart[0].shape[1:]
    assert set(first.dice) == {1, 2}
    assert first.dice[1] == dice(first.mask, heart[1][first.target.frame], 1)
    assert results[0].mean_dice is not None
    assert results[0].mean_dice > 0.8  # due to motion
    assert results[0].per_class.keys() == {1, 2}


def test_the_same_encoder_twice_gives_identical_results(results: list[EncoderResult]) -> None:
    one, other = results
    assert one.scores == other.scores
    assert all(
        np.array_equal(a.mask, b.mask) for a, b in zip(one.predictions, other.predictions, strict=True)
    )
    assert interval(one, other) == (0.0, 0.0, 0.0)


def test_the_label_of_the_left_out_frame_is_not_used(
    heart: tuple[Image, Image], small_encoder: LoadedEncoder
) -> None:
    frames, masks = heart

    scribble = masks[0].copy()
    scribble[:, 60:] = 255

    def draw(own: Image) -> Image:
        cine = LabelledCine(frames, 30.0, {0: scribble, 6: own})
        run = {"config": FitConfig(steps=2)}
        (found,) = compare.compare({1: cine}, (1, 2), [small_encoder], [Target(1, 6, (1,))], **run)  # type: ignore[arg-type]
        return found.predictions[0].mask

    assert np.array_equal(draw(masks[6]), draw(np.ones_like(masks[6])))


def test_fits_have_the_length_of_the_windows_and_complete_scribbles(
    heart: tuple[Image, Image], small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, masks = heart
    fits: list[tuple[int, float, list[int]]] = []

    class RecordingFit(fit_head.Fit):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            (cine,) = {id(cine): cine for cine, _ in self.samples}.values()
            least = min(float(label.weight.min()) for label in cine.labels.values())
            fits.append((self.total, least, sorted(cine.labels)))

    monkeypatch.setattr(fit_head, "Fit", RecordingFit)
    labels = {frame: masks[frame] for frame in range(9)}
    labels[2] = np.where(masks[2] == 0, 255, masks[2]).astype(np.uint8)
    labels[2][:10] = 0
    progress: list[tuple[str, int, int]] = []
    compare.compare(
        {1: LabelledCine(frames, 30.0, labels)},
        (1, 2),
        [small_encoder],
        [Target(1, 0, (1,)), Target(1, 5, (1,))],
        config=FitConfig(steps=2),
        on_progress=lambda *step: progress.append(step),
    )
    others = [[frame for frame in range(9) if frame != target] for target in (0, 5)]
    assert fits == [
        (3, pytest.approx(ESTIMATE_WEIGHT), others[0]),
        (3, pytest.approx(ESTIMATE_WEIGHT), others[1]),
    ]
    assert progress[-1] == ("small: fits", 6, 6)


def test_frames_without_a_label_are_predicted_and_not_scored(
    heart: tuple[Image, Image], small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, masks = heart
    fits: list[object] = []

    class CountingFit(fit_head.Fit):
        def __init__(self, *args: object, **more: object) -> None:
            fits.append(args)
            super().__init__(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(fit_head, "Fit", CountingFit)
    cine = LabelledCine(frames, 0.0, {0: masks[0]})
    targets = choose_targets({1: cine.labels}, {1: len(frames)}, (1, 2))
    (found,) = compare.compare({1: cine}, (1, 2), [small_encoder], targets, config=FitConfig(steps=2))
    assert len(fits) == 1  # all of them from the one label
    assert len(found.predictions) == 3
    assert all(d.mask.any() and not d.dice and math.isnan(d.mean) for d in found.predictions)
    assert (found.mean_dice, found.scores, found.per_class) == (None, [], {})
    assert interval(found, found) is None


def test_the_comparison_can_be_cancelled(heart: tuple[Image, Image], small_encoder: LoadedEncoder) -> None:
    frames, masks = heart
    cine = LabelledCine(frames, 30.0, {0: masks[0], 6: masks[6]})
    with pytest.raises(Cancelled):
        compare.compare({1: cine}, (1, 2), [small_encoder], [Target(1, 6, (1,))], should_stop=lambda: True)


def result(small: LoadedEncoder, *scores: float) -> EncoderResult:
    empty = np.zeros((1, 1), np.uint8)
    return EncoderResult(
        small[1], [Prediction(Target(1, i, (1,)), empty, {1: s}) for i, s in enumerate(scores)], 1.0
    )


def test_the_interval_is_that_of_students_t_for_pairs(small_encoder: LoadedEncoder) -> None:
    one = result(small_encoder, 0.5, 0.6, 0.7)
    found = interval(one, result(small_encoder, 0.6, 0.8, 1.0))
    assert found is not None
    mean, low, high = found
    assert mean == pytest.approx(0.2)
    half = 4.30 * 0.1 / math.sqrt(3)
    assert (low, high) == (pytest.approx(0.2 - half), pytest.approx(0.2 + half))
    assert interval(result(small_encoder, 0.5), result(small_encoder, 0.9)) is None
    many = [0.01 * i for i in range(40)]
    assert interval(result(small_encoder, *many), result(small_encoder, *many)) == (0.0, 0.0, 0.0)
