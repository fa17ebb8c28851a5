"""Expected Dice and doubt of predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.errors import CoreError
from vjepa_core.fewshot import dice_calibration
from vjepa_core.fewshot.confidence import (
    estimate_errors,
    estimate_partial_draft_errors,
    expected_dice,
    frame_indicators,
    situation,
    soft_dice,
)
from vjepa_core.fewshot.dice_calibration import (
    Calibration,
    Linear,
    Situation,
    read,
    shipped_calibration,
    write,
)
from vjepa_core.fewshot.head import GRID_SIZE
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.service.messages import DOUBT_SIZE

Heart = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def sharpened(prior: Tensor, power: float) -> Tensor:
    """Probabilities with the same largest class, more certain for a higher power."""
    p = prior.clamp_min(1e-3) ** power
    return p / p.sum(1, keepdim=True)


@pytest.mark.parametrize("situation", Situation)
def test_the_bundled_calibration_is_monotone_and_between_0_and_1(situation: Situation) -> None:
    maps = shipped_calibration()[situation]
    indicators = np.random.default_rng(0).uniform(-3, 7, (200, 5))
    dice = maps.expected_dice(indicators)
    assert ((dice > 0) & (dice < 1)).all()
    for k in range(5):
        better = indicators.copy()
        better[:, k] += 1
        assert (maps.expected_dice(better) >= dice).all()
    of_pixels = np.random.default_rng(1).uniform(0, 7, (200, 3))
    wrong = maps.error_probability(of_pixels)
    assert ((wrong >= 0) & (wrong <= 1)).all()
    for k in range(3):
        better = of_pixels.copy()
        better[:, k] += 1
        assert (maps.error_probability(better) <= wrong).all()


def test_a_more_certain_head_has_a_higher_expected_dice(prepared: PreparedCine) -> None:
    uncertain, certain = (sharpened(prepared.prior([2, 3], 3), power) for power in (1.0, 4.0))
    assert (
        estimate_errors(prepared, [2, 3], certain).doubt.mean()
        < estimate_errors(prepared, [2, 3], uncertain).doubt.mean()
    )
    prepared.labels = {}
    one, other = estimate_errors(prepared, [2, 3], uncertain), estimate_errors(prepared, [2, 3], certain)
    assert (other.dice > one.dice).all()
    assert other.doubt.mean() < one.doubt.mean()
    assert other.doubt.shape == (2, GRID_SIZE, GRID_SIZE)


def test_structures_from_the_draft_have_the_expected_dice_of_a_draft(prepared: PreparedCine) -> None:
    predicted, drafted = (sharpened(prepared.prior([2, 3], 3), power) for power in (4.0, 1.0))
    fitted = estimate_errors(prepared, [2, 3], predicted)
    draft = estimate_errors(replace(prepared, labels={}), [2, 3], drafted)

    def mixed(*known: bool) -> Tensor:
        mask = torch.tensor([True, *known])
        return estimate_partial_draft_errors(prepared, [2, 3], predicted, drafted, mask).dice

    assert (draft.dice < fitted.dice).all()
    assert torch.allclose(mixed(True, True), fitted.dice)
    assert torch.allclose(mixed(True, False), (fitted.dice + draft.dice) / 2)
    assert torch.allclose(mixed(False, False), draft.dice)


def test_doubt_is_highest_at_borders(prepared: PreparedCine) -> None:
    predicted = sharpened(prepared.prior([3], 3), 2.0)
    mask = predicted[0].argmax(0) > 0
    wrong = estimate_errors(prepared, [3], predicted).doubt[0]
    assert wrong[0, 0] < 0.02
    border = mask ^ torch.roll(mask, 1, 0)
    assert wrong[border].mean() > 5 * wrong[~border].mean()


def test_disagreement_with_the_carried_label_reduces_the_expected_dice(prepared: PreparedCine) -> None:
    predicted = prepared.prior([3], 3)
    moved = torch.roll(predicted, 14, 3)
    with_it, against_it = (estimate_errors(prepared, [3], p) for p in (predicted, moved))
    assert against_it.dice < with_it.dice
    assert against_it.doubt.mean() > with_it.doubt.mean()


def test_the_dice_of_an_outlined_frame_is_measured(prepared: PreparedCine, heart: Heart) -> None:
    truth = prepared.prior([0], 3)
    assert expected_dice(prepared, [0], truth)[0] == 1
    shifted = torch.roll(truth, 6, 3)
    predicted, real = shifted[0].argmax(0), truth[0].argmax(0)
    each = [
        2 * ((predicted == k) & (real == k)).sum() / ((predicted == k).sum() + (real == k).sum())
        for k in (1, 2)
    ]
    assert expected_dice(prepared, [0], shifted)[0] == pytest.approx(float(np.mean(each)), abs=0.02)
    # The Dice of a scribbled frame is not measured.
    scribble = np.where(np.arange(heart[1][0].shape[1]) < 70, heart[1][0], 255).astype(np.uint8)
    prepared.labels[0] = frame_label(scribble, prepared.box, (1, 2))
    assert expected_dice(prepared, [0], truth)[0] < 1
    # A structure that is outlined on another frame only may be present here.
    prepared.labels[0] = frame_label(np.where(heart[1][0] == 1, 1, 0).astype(np.uint8), prepared.box, (1, 2))
    assert expected_dice(prepared, [0], truth)[0] < 1
    # So may a structure that is predicted but not outlined anywhere on this cine.
    prepared.labels = {0: prepared.labels[0]}
    assert expected_dice(prepared, [0], truth)[0] < 1
    single = truth.clone()
    single[:, 0] += single[:, 2]
    single[:, 2] = 0
    assert expected_dice(prepared, [0], single)[0] == 1


def test_predictions_without_a_structure_with_one_class_and_without_frames_are_estimated(
    prepared: PreparedCine,
) -> None:
    nothing = torch.zeros(1, 3, GRID_SIZE, GRID_SIZE)
    nothing[:, 0] = 1
    found = estimate_errors(prepared, [3], nothing)
    assert found.dice[0] == 0
    assert torch.isfinite(found.doubt).all()
    one = nothing.clone()
    one[0, :, 40:70, 40:70] = torch.tensor([0.1, 0.9, 0.0])[:, None, None]
    assert soft_dice(one)[0].isnan().tolist() == [False, True]
    prepared.labels = {}
    assert 0 < expected_dice(prepared, [3], one)[0] < 1
    assert expected_dice(prepared, [], nothing[:0]).shape == (0,)


def test_the_situation_of_a_prediction(prepared: PreparedCine, heart: Heart) -> None:
    assert situation(prepared) is Situation.FITTED
    assert situation(prepared, carried=True) is Situation.CARRIED
    prepared.labels = {0: frame_label(np.zeros_like(heart[1][0]), prepared.box, (1, 2))}
    assert situation(prepared) is Situation.DRAFT
    indicators = frame_indicators(
        prepared, [3], torch.full((1, 3, GRID_SIZE, GRID_SIZE), 1 / 3), prepared.prior([3], 3)
    )
    assert indicators.shape == (1, 5)
    assert not indicators[:, 2:].any()


def test_a_calibration_is_saved_and_loaded(tmp_path: Path) -> None:
    one = Calibration(Linear(0.5, (1.0, 0, 0.25, 0, 0)), Linear(-1, (1.0, 0.5, 0)), (0.0, 2.0), (0.5, 0.1))
    write(tmp_path / "c.json", dict.fromkeys(Situation, one), {"made by": "a test"})
    assert read(tmp_path / "c.json") == dict.fromkeys(Situation, one)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("wrong", [0.1, 0.5]),
        ("scores", [2.0, 0.0]),
        ("scores", []),
        ("bias", "x"),
        ("weights", {"luck": 1.0}),
    ],
)
def test_a_damaged_calibration_is_refused_in_one_sentence(tmp_path: Path, key: str, value: object) -> None:
    one = Calibration(Linear(0, (1.0,) * 5), Linear(0, (1.0,) * 3), (0.0, 2.0), (0.5, 0.1))
    path = tmp_path / "c.json"
    write(path, dict.fromkeys(Situation, one), {})
    stored = json.loads(path.read_text())
    stored["situations"]["draft"]["pixel"][key] = value
    path.write_text(json.dumps(stored))
    with pytest.raises(CoreError, match="reinstall Apical"):
        read(path)
    path.write_text("{")
    with pytest.raises(CoreError, match="reinstall Apical"):
        read(path)


def test_the_grid_of_doubts_is_that_of_the_head() -> None:
    assert DOUBT_SIZE == GRID_SIZE
    assert dice_calibration.shipped_calibration() is shipped_calibration()
