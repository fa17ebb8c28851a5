"""A frame annotated as empty states that it shows no structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.fewshot.beating import CAVITY, WALL, dice
from tests.unit.fewshot.conftest import CLASSES
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.errors import CoreError
from vjepa_core.fewshot.confidence import expected_dice
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.fewshot.segmenter import segment

pytestmark = pytest.mark.slow

Heart = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture
def disappearing(heart: Heart) -> Heart:
    """Six frames of the heart, then six of speckle only, with a label image for each."""
    frames, masks = heart[0].copy(), heart[1].copy()
    speckle = np.random.default_rng(5).rayleigh(30, frames[6:].shape)
    frames[6:] = np.clip(speckle, 0, 255) * (frames[:6].max(0) > 20)
    masks[6:] = 0
    return frames, masks


def test_nothing_is_predicted_around_an_empty_frame(
    disappearing: Heart, small_encoder: LoadedEncoder
) -> None:
    frames, masks = disappearing
    labels = {frame: masks[frame] for frame in (0, 3, 9)}
    assert not labels[9].any()
    found = segment(frames, labels, CLASSES, fps=30, encoder=small_encoder, config=FitConfig(steps=25)).masks
    assert (found[8:11] > 0).mean() < 0.01
    for value in (CAVITY, WALL):
        assert np.mean([dice(found[t], masks[t], value) for t in range(5)]) > 0.7


def test_an_empty_frame_is_annotated_and_carried(prepared: PreparedCine, heart: Heart) -> None:
    masks = heart[1]
    empty = frame_label(np.zeros_like(masks[0]), prepared.box, CLASSES)
    assert empty.stated.all()
    assert empty.outlined.tolist() == [True, False, False]
    prepared.labels = {0: prepared.labels[0], 6: empty}
    prior = prepared.prior([5, 6], 3)
    assert float(prior[1, 1:].max()) < 1e-3
    assert float(prior[1, 0].min()) > 0.999
    assert float(prior[0, 1:].max()) < 0.5  # the empty frame is nearer than the outlined one
    # A structure predicted on it is known to be wrong.
    answer = torch.zeros(1, 3, *prior.shape[2:])
    answer[:, CAVITY] = 1
    assert float(expected_dice(prepared, [6], answer)[0]) == 0


def test_an_empty_frame_does_not_add_structures(prepared: PreparedCine, heart: Heart) -> None:
    masks = heart[1]
    cavity = np.where(masks[0] == CAVITY, CAVITY, 0).astype(np.uint8)
    prepared.labels = {
        0: frame_label(cavity, prepared.box, CLASSES),
        6: frame_label(np.zeros_like(cavity), prepared.box, CLASSES),
    }
    assert prepared.outlined_classes.tolist() == [True, True, False]


def test_a_fit_needs_an_outlined_structure(disappearing: Heart, small_encoder: LoadedEncoder) -> None:
    frames, masks = disappearing
    with pytest.raises(CoreError, match="No structure is outlined"):
        segment(frames, {9: masks[9]}, CLASSES, fps=30, encoder=small_encoder)
