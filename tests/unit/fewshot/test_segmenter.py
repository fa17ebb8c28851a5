"""`segment`: from frames and labels to masks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.fewshot.beating import beating, dice
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.errors import Cancelled, CoreError
from vjepa_core.fewshot import pipeline
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.heart_shape import N_DESCRIPTORS, ShapeModel
from vjepa_core.fewshot.prepared_cine import FrameLabel, PreparedCine, frame_label
from vjepa_core.fewshot.scribbles import complete_labels
from vjepa_core.fewshot.segmenter import Segmentation, segment
from vjepa_core.fewshot.starter import Starter, new_head
from vjepa_core.label_image import UNLABELLED
from vjepa_core.letterbox import Letterbox

Heart = tuple[NDArray[np.uint8], NDArray[np.uint8]]
QUICK = FitConfig(steps=4)


@dataclass(frozen=True, eq=False)
class StubStarter(Starter):
    """A starter that applies or not, as specified."""

    shapes: ShapeModel = field(
        default_factory=lambda: ShapeModel(np.zeros(N_DESCRIPTORS), np.eye(N_DESCRIPTORS), 1.0)
    )
    does_apply: bool = True
    calls: list[PreparedCine] = field(default_factory=list)

    def applies(self, cine: PreparedCine) -> bool:
        self.calls.append(cine)
        return self.does_apply


def run(
    frames: NDArray[np.uint8], labels: dict[int, NDArray[np.uint8]], encoder: LoadedEncoder, **kwargs: object
) -> Segmentation:
    kwargs = {"config": QUICK, "fps": 30.0} | kwargs
    return segment(frames, labels, (1, 2), encoder=encoder, **kwargs)  # type: ignore[arg-type]


def test_masks_follow_the_heart(heart: Heart, small_encoder: LoadedEncoder) -> None:
    frames, masks = heart
    found = run(frames, {0: masks[0]}, small_encoder, config=FitConfig(steps=25))
    for value in (1, 2):
        ours = np.mean([dice(found.masks[t], masks[t], value) for t in range(1, 12)])
        copied = np.mean([dice(masks[0], masks[t], value) for t in range(1, 12)])
        assert ours > copied + 0.03
        assert ours > 0.75
    assert found.masks.shape == frames.shape
    assert found.masks.dtype == np.uint8
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()


def test_the_same_seed_gives_the_same_result(
    heart: Heart, small_encoder: LoadedEncoder, tmp_path: Path
) -> None:
    frames, masks = heart
    labels = {0: masks[0], 6: masks[6]}
    progress: list[tuple[str, int, int]] = []
    cache = FeatureCache(tmp_path)
    one = run(frames, labels, small_encoder, seed=3, cache=cache, on_progress=lambda *a: progress.append(a))
    two = run(frames, labels, small_encoder, seed=3, cache=cache)  # features from the cache
    np.testing.assert_array_equal(one.masks, two.masks)
    np.testing.assert_array_equal(one.confidence, two.confidence)
    assert one.losses == two.losses
    assert (one.steps, one.stopped_by, len(one.losses)) == (4, "steps", 4)
    assert set(one.seconds) == {"features", "motion", "fit", "predict"}
    assert (one.encoder_name, one.encoder_trained) == ("small", False)
    assert list(dict.fromkeys(stage for stage, _, _ in progress)) == ["motion", "features", "fit", "predict"]
    for stage in ("features", "motion", "fit", "predict"):
        done, total = [t[1:] for t in progress if t[0] == stage][-1]
        assert done == total


def test_a_budget_ends_the_fit_and_is_reported(heart: Heart, small_encoder: LoadedEncoder) -> None:
    frames, masks = heart
    found = run(frames, {0: masks[0]}, small_encoder, budget_s=0.0)
    assert (found.steps, found.stopped_by) == (1, "budget")
    assert found.masks.any()


def test_a_fit_starts_from_a_copy_of_a_given_head(heart: Heart, small_encoder: LoadedEncoder) -> None:
    frames, masks = heart
    start = StubStarter(new_head(small_encoder[1], (1, 2), seed=8))
    before = {name: value.clone() for name, value in start.head.state_dict().items()}
    own = run(frames, {0: masks[0]}, small_encoder, start=start)
    again = run(frames, {0: masks[0]}, small_encoder, start=start)
    plain = run(frames, {0: masks[0]}, small_encoder)
    assert own.losses == again.losses != plain.losses
    assert all(torch.equal(value, before[name]) for name, value in start.head.state_dict().items())
    assert [sorted(cine.labels) for cine in start.calls] == [[], []]  # once per run, without labels


def test_a_starter_of_other_classes_or_another_encoder_is_rejected(
    heart: Heart, small_encoder: LoadedEncoder
) -> None:
    frames, masks = heart
    for head in (
        new_head(small_encoder[1], (1, 2, 3)),
        new_head(replace(small_encoder[1], checksum="another"), (1, 2)),
    ):
        with pytest.raises(CoreError, match="or none"):
            run(frames, {0: masks[0]}, small_encoder, start=StubStarter(head))


@pytest.mark.parametrize("applies", [True, False])
def test_scribbles_are_completed_by_the_starter_head_only_if_it_applies(
    heart: Heart, small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch, applies: bool
) -> None:
    frames, masks = heart
    draft_heads: list[Head | None] = []

    def record(cine: PreparedCine, draft_head: Head | None = None) -> dict[int, FrameLabel]:
        draft_heads.append(draft_head)
        return complete_labels(cine, draft_head)

    monkeypatch.setattr(pipeline, "complete_labels", record)
    start = StubStarter(new_head(small_encoder[1], (1, 2), seed=8), does_apply=applies)
    scribble = masks[0].copy()
    scribble[:, 60:] = UNLABELLED
    run(frames, {0: scribble}, small_encoder, start=start)
    assert [sorted(cine.labels) for cine in start.calls] == [[]]  # once, without labels
    (draft_head,) = draft_heads
    assert (draft_head is not None) is applies
    if draft_head is not None:
        own = start.head.state_dict()
        assert all(torch.equal(value.cpu(), own[name]) for name, value in draft_head.state_dict().items())


@pytest.mark.parametrize("stage", ["features", "motion", "fit", "predict"])
def test_segmentation_can_be_cancelled_in_any_stage(
    heart: Heart, small_encoder: LoadedEncoder, stage: str
) -> None:
    frames, masks = heart
    seen: list[str] = []
    with pytest.raises(Cancelled):
        run(
            frames,
            {0: masks[0]},
            small_encoder,
            on_progress=lambda name, done, total: seen.append(name),
            should_stop=lambda: bool(seen) and seen[-1] == stage,
        )
    assert seen[-1] == stage


@pytest.mark.parametrize(
    ("n", "height", "width", "labelled"),
    [(1, 40, 50, (0,)), (2, 48, 36, (0, 1)), (3, 30, 90, (0, 2)), (5, 12, 9, (4,))],
)
def test_short_cines_and_tiny_frames_are_segmented(
    n: int, height: int, width: int, labelled: tuple[int, ...], small_encoder: LoadedEncoder
) -> None:
    frames, masks = beating(n, height, width)
    found = run(frames, {t: masks[t] for t in labelled}, small_encoder, fps=0.0)
    assert found.masks.shape == (n, height, width)
    assert np.isfinite(found.confidence).all()
    for t in labelled:
        assert dice(found.masks[t], masks[t], 1) > 0.7


def test_invalid_input_is_rejected_with_a_reason(heart: Heart, small_encoder: LoadedEncoder) -> None:
    frames, masks = heart
    good = {0: masks[0]}
    for labels, message in (
        ({}, "no labelled frame"),
        ({12: masks[0]}, "frame 12, but the cine has frames 0 to 11"),
        ({-1: masks[0]}, "frame -1"),
        ({0: masks[0][:-1]}, "120 x 95 pixels, the frames 120 x 96"),
        ({0: np.zeros_like(masks[0])}, "No structure is outlined"),
        ({0: np.full_like(masks[0], 255)}, "No structure is outlined"),
    ):
        with pytest.raises(CoreError, match=message):
            run(frames, labels, small_encoder)
    with pytest.raises(CoreError, match="8 bits"):
        run(frames.astype(np.uint16), good, small_encoder)
    for classes in ((), (0,), (255,), (1, 1)):
        with pytest.raises(CoreError, match="different numbers"):
            segment(frames, good, classes, fps=30, encoder=small_encoder)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (61, 37), (224, 224), (50, 50)])
def test_a_label_is_preserved_by_the_grid(height: int, width: int) -> None:
    masks = beating(1, height, width)[1]
    box = Letterbox.for_image(height, width)
    target = torch.from_numpy(frame_label(masks[0], box, (1, 2)).target).permute(2, 0, 1)
    back = label_image(target, box, (1, 2))
    for value in (1, 2):
        assert dice(back, masks[0], value) > 0.95
        where, there = np.argwhere(masks[0] == value).mean(0), np.argwhere(back == value).mean(0)
        np.testing.assert_allclose(there, where, atol=0.3)
