"""The baseline that carries label images along optical flow."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.fewshot.beating import beating
from vjepa_core.bench.baselines.flow import carried, copied
from vjepa_core.bench.camus import dice
from vjepa_core.errors import Cancelled

FRAMES, MASKS = beating()


@pytest.mark.parametrize("chained", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_carried_labels_follow_the_heart_better_than_copied_ones(both: bool, chained: bool) -> None:
    labels = {0: MASKS[0], 5: MASKS[5]}
    others = [frame for frame in range(len(FRAMES)) if frame not in labels]
    moved = carried(FRAMES, labels, both=both, chained=chained)
    still = copied(FRAMES, labels)
    assert dice(moved[others], MASKS[others])["mean"] > dice(still[others], MASKS[others])["mean"] + 0.02
    for frame, label in labels.items():
        assert (moved[frame] == label).all()


def test_the_nearest_label_is_copied_and_the_earlier_one_if_both_are_equally_near() -> None:
    one, other = np.full((8, 8), 1, np.uint8), np.full((8, 8), 2, np.uint8)
    found = copied(np.zeros((6, 8, 8), np.uint8), {4: other, 0: one})
    assert found[:, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]


def test_the_nearer_of_two_labels_has_the_larger_weight() -> None:
    frames = np.tile(FRAMES[0], (7, 1, 1))  # nothing moves
    labels = {
        0: np.where(MASKS[0] == 1, 1, 0).astype(np.uint8),
        6: np.where(MASKS[0] == 1, 3, 0).astype(np.uint8),
    }
    values = [set(np.unique(frame)) - {0} for frame in carried(frames, labels, both=True)]
    assert values[:3] == [{1}] * 3
    assert values[4:] == [{3}] * 3


@pytest.mark.parametrize("chained", [True, False])
def test_a_label_is_not_carried_past_another_annotated_frame(chained: bool) -> None:
    labels = {frame: np.full(FRAMES.shape[1:], frame + 1, np.uint8) for frame in (1, 4, 9)}
    found = carried(FRAMES, labels, both=True, chained=chained)
    assert set(np.unique(found[5:9])) <= {5, 10}
    assert set(np.unique(found[:1])) == {2}
    assert set(np.unique(found[10:])) == {10}


def test_unlabelled_pixels_count_as_background() -> None:
    label = np.full(FRAMES.shape[1:], 255, np.uint8)
    label[40:60, 40:60] = 2
    for found in (carried(FRAMES, {0: label}), copied(FRAMES, {0: label})):
        assert set(np.unique(found)) == {0, 2}


def test_a_single_frame_keeps_its_label_and_a_stop_is_raised() -> None:
    assert (carried(FRAMES[:1], {0: MASKS[0]}) == MASKS[:1]).all()
    with pytest.raises(Cancelled):
        carried(FRAMES, {0: MASKS[0]}, should_stop=lambda: True)
