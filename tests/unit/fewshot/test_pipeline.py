"""Frames that could not be decoded: no mask, no Dice, no suggestion, and their labels are not used."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.pipeline import CinePipeline
from vjepa_core.fewshot.segmenter import segment

Heart = tuple[NDArray[np.uint8], NDArray[np.uint8]]
QUICK = FitConfig(steps=3)


def test_damaged_frames_get_no_mask_and_their_labels_are_not_used(
    heart: Heart, small_encoder: LoadedEncoder
) -> None:
    frames, masks = heart
    labels = {0: masks[0], 3: masks[3]}
    found = segment(frames, labels, (1, 2), fps=30.0, damaged=(3, 7), encoder=small_encoder, config=QUICK)
    assert not found.masks[[3, 7]].any()
    assert found.masks[[2, 6]].any(axis=(1, 2)).all()
    assert found.confidence[[3, 7]].tolist() == [0.0, 0.0]
    assert found.findings[3] == found.findings[7] == ()
    assert found.structure_dice[3] == found.structure_dice[7] == {}
    assert all(0 < dice <= 1 for frame in (2, 6) for dice in found.structure_dice[frame].values())
    assert set(found.structure_dice[2]) == set(np.unique(found.masks[2])) - {0}
    alone = segment(frames, {0: masks[0]}, (1, 2), fps=30.0, encoder=small_encoder, config=QUICK)
    assert found.losses == alone.losses


def test_a_damaged_frame_is_not_suggested(heart: Heart, small_encoder: LoadedEncoder) -> None:
    frames, _ = heart
    pipeline = CinePipeline.of_region(frames, (1, 2), fps=30.0)
    pipeline.prepare(*small_encoder)
    first = pipeline.assessment.suggestion().frame
    assert first is not None
    damaged = CinePipeline.of_region(frames, (1, 2), fps=30.0, damaged=(first,))
    damaged.prepare(*small_encoder)
    assert damaged.assessment.suggestion().frame not in (None, first)


def test_preparation_resumes_after_it_was_cancelled_and_motion_comes_first(
    heart: Heart, small_encoder: LoadedEncoder
) -> None:
    frames, _ = heart
    pipeline = CinePipeline.of_region(frames, (1, 2), fps=30.0)
    stages: list[str] = []
    with pytest.raises(Cancelled):
        pipeline.prepare(
            *small_encoder,
            on_progress=lambda stage, *_: stages.append(stage),
            should_stop=lambda: "features" in stages,
        )
    assert list(dict.fromkeys(stages)) == ["motion", "features"]
    assert not pipeline.is_prepared
    motion = pipeline.prepared.motion
    pipeline.prepare(*small_encoder)
    assert pipeline.is_prepared
    assert pipeline.prepared.motion is motion
