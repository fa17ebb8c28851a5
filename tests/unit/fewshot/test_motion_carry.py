"""Labels carried along the motion, class by class."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.fewshot.beating import CAVITY, beating, dice
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.bounded_cache import BoundedCache
from vjepa_core.fewshot.confidence import frame_confidence, motion_confidence
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label

Heart = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def drifting(n: int = 5, step: int = 6) -> NDArray[np.uint8]:
    """A smooth random image that drifts to the right by `step` pixels a frame."""
    noise = np.random.default_rng(0).normal(0, 1, (224, 224 + n * step)).astype(np.float32)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    start = n * step
    return np.stack([image[:, start - t * step : start - t * step + 224] for t in range(n)]).astype(np.uint8)


def test_positions_follow_a_drift() -> None:
    positions = Motion(drifting(), grid_size=112).positions(0)
    middle = positions[:, 40:70, 50:70, 0] - np.arange(50, 70)
    np.testing.assert_allclose(
        middle.mean((1, 2)), [0, -3, -6, -9, -12], atol=0.4
    )  # the grid has half the pixels


def test_carrying_a_label_forward_and_back_is_almost_the_identity() -> None:
    motion = Motion(drifting(), grid_size=112)
    maps = np.zeros((112, 112, 1), np.float32)
    maps[40:70, 50:70] = 1
    back = motion.there_and_back(maps, 0, 3)
    assert 2 * np.minimum(maps, back).sum() / (maps.sum() + back.sum()) > 0.95


def test_motion_of_a_single_frame_is_the_identity() -> None:
    motion = Motion(drifting(1), grid_size=112)
    assert motion.positions(0).shape == (1, 112, 112, 2)


def test_motion_can_be_cancelled() -> None:
    with pytest.raises(Cancelled):
        Motion(drifting(), grid_size=112, should_stop=lambda: True)


def test_a_carried_label_is_better_than_a_copied_one(prepared: PreparedCine, heart: Heart) -> None:
    masks = heart[1]
    prepared.labels.pop(6)
    carried = label_image(prepared.prior([6], 3)[0], prepared.box, (1, 2))
    assert dice(carried, masks[6], CAVITY) > dice(masks[0], masks[6], CAVITY) + 0.05
    assert dice(carried, masks[6], CAVITY) > 0.88


def test_each_structure_is_carried_from_the_frames_that_have_it(prepared: PreparedCine, heart: Heart) -> None:
    masks = heart[1]
    only_cavity = np.where(masks[0] == CAVITY, masks[0], 0).astype(np.uint8)
    prepared.labels[0] = frame_label(only_cavity, prepared.box, (1, 2))
    prior = prepared.prior([0, 1], 3)
    alone = frame_label(masks[0], prepared.box, (1, 2)).target[..., 2]
    wall = prior[0, 2].numpy()
    # The wall on frame 0 comes from frame 6 only; the frame without it has no influence.
    assert 2 * np.minimum(wall, alone).sum() / (wall.sum() + alone.sum()) > 0.75
    torch.testing.assert_close(prior.sum(1), torch.ones(2, 112, 112), atol=1e-4, rtol=0)


def test_a_frame_without_other_labels_has_no_prior_when_its_own_is_left_out(prepared: PreparedCine) -> None:
    prepared.labels.pop(6)
    assert not prepared.prior([0], 3, leave_out=True).any()
    prepared.labels = {}
    assert not prepared.prior([0, 3], 3).any()


def test_unlabelled_pixels_are_not_background(prepared: PreparedCine, heart: Heart) -> None:
    label = heart[1][0].copy()
    label[:, :60] = 255
    prepared.labels = {0: frame_label(label, prepared.box, (1, 2))}
    prior = prepared.prior([0], 3)[0].sum(0)
    assert prior[56, 20] == 0
    assert prior[56, 90] == pytest.approx(1)


def test_confidence_decreases_if_the_tissue_cannot_be_tracked(heart: Heart, prepared: PreparedCine) -> None:
    confidence = motion_confidence(prepared, [0, 1, 3])
    assert confidence[0] == 1
    assert ((confidence > 0.7) & (confidence <= 1)).all()
    frames = prepared.frames.copy()
    frames[3] = np.random.default_rng(1).integers(0, 255, frames[3].shape)
    prepared.motion = Motion(frames, grid_size=112)
    assert motion_confidence(prepared, [3])[0] < confidence[2]


def test_the_expected_dice_follows_from_the_probabilities() -> None:
    p = torch.zeros(3, 3, 8, 8)
    p[:, 0] = 1
    p[0, :, :4] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]  # certain
    p[1, :, :4] = torch.tensor([0.4, 0.6, 0.0])[:, None, None]  # drawn, but unsure
    expected = torch.tensor([1.0, 2 * 0.6 / 1.6, 0.0])  # frame 2 shows nothing
    torch.testing.assert_close(frame_confidence(p), expected)


def test_carried_labels_are_cached_until_labels_change(
    prepared: PreparedCine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, without = prepared.prior([3], 3), prepared.prior([0], 3, leave_out=True)
    assert torch.equal(prepared.prior([3], 3), before)
    assert not torch.equal(prepared.prior([0], 3), without)
    assert torch.equal(prepared.prior([0], 3, leave_out=True), without)
    known = prepared.labels.pop(6)
    alone = prepared.prior([3], 3)
    assert not torch.equal(alone, before)
    prepared.labels[6] = known
    assert torch.equal(prepared.prior([3], 3), before)
    monkeypatch.setattr("vjepa_core.fewshot.prepared_cine._MAX_CARRIED_FRAMES", 2)
    prepared.free_carried()
    for frame in (1, 2, 3, 4):
        prepared.prior([frame], 3)
        assert len(prepared._carried) <= 2
    assert torch.equal(prepared.prior([3], 3), before)


def carried_over(motion: Motion, labels: dict[int, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Labels carried to every frame, and one pair of frames carried forward and back."""
    known = {frame: np.ones_like(label) for frame, label in labels.items()}
    carried = [motion.carry(labels, known, frame) for frame in range(motion.n_frames)]
    return np.stack(
        [*carried, motion.there_and_back(labels[3], 3, 15), motion.there_and_back(labels[3], 9, 1)]
    )


def test_the_position_cache_is_bounded_without_effect_on_results() -> None:
    frames = beating(18, 224, 224)[0]
    rng = np.random.default_rng(0)
    labels = {frame: rng.random((112, 112, 2), dtype=np.float32) for frame in (3, 10, 17)}
    free, bound = Motion(frames, grid_size=112), 2 << 20
    cache = BoundedCache(bound)
    tight = Motion(frames, grid_size=112, cache=cache)
    expected = carried_over(free, labels)
    assert np.array_equal(carried_over(tight, labels), expected)
    assert 0 < cache.nbytes <= bound < free._cache.nbytes
    assert np.array_equal(tight.positions(12), free.positions(12))
    assert cache.nbytes <= bound


def test_positions_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = beating(20, 224, 224)[0]
    in_blocks = Motion(frames, grid_size=112).positions(17)
    monkeypatch.setattr("vjepa_core.fewshot.motion.BLOCK_FRAMES", 64)
    assert np.array_equal(in_blocks, Motion(frames, grid_size=112).positions(17))


def test_cines_share_a_cache_without_mixing_their_positions() -> None:
    cache = BoundedCache(64 << 20)
    one, other = (Motion(frames, grid_size=112, cache=cache) for frames in (drifting(), drifting(step=2)))
    assert not np.array_equal(one.positions(0), other.positions(0))
    assert np.array_equal(one.positions(0), Motion(drifting(), grid_size=112).positions(0))


def test_the_cache_drops_the_least_recently_used_array() -> None:
    array = np.zeros(256, np.float32)
    cache = BoundedCache(2 * array.nbytes)
    cache.put("a", array)
    cache.put("b", array)
    assert cache.get("a") is array
    cache.put("c", array)
    assert cache.get("b") is None
    assert cache.get("a") is array
    cache.put("a", array)
    assert cache.nbytes == 2 * array.nbytes
    cache.put("d", np.zeros(4096, np.float32))
    assert cache.get("d") is None
    assert cache.get("a") is array  # an array that can never fit evicts nothing
