"""Calibration and its measurement on synthetic observations with a known result."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vjepa_core.bench.camus import BenchError, Stills
from vjepa_core.bench.make_calibration import calibrate, fit, knots, logistic
from vjepa_core.bench.reliability import (
    Observation,
    calibration_error,
    correlation,
    frame_error,
    ranks,
    ratios,
    reliability,
    summary,
)
from vjepa_core.bench.uncertainty import CARRIED_EDGES, SOFTMAX_EDGES, split_by_patient
from vjepa_core.fewshot.dice_calibration import SHIPPED, Situation, read, shipped_calibration, sigmoid
from vjepa_core.resources import resource_path

RNG = np.random.default_rng(0)


def observation(
    indicators: NDArray[np.float64], dice: float, *, cine: int = 0, ours: float, softmax: float
) -> Observation:
    """An observation of a frame whose fraction of wrong pixels halves from one softmax bin to the next."""
    cells = np.zeros((len(SOFTMAX_EDGES) - 1, len(CARRIED_EDGES) - 1, 2))
    cells[:, -1, 0] = 1000
    cells[:, -1, 1] = 500 * 0.5 ** np.arange(len(cells))
    right = np.arange(100) < 90
    good, bad = reliability(np.full(100, 0.9), right), reliability(np.full(100, 0.99), right)
    pixels = {"ours": good, "softmax": bad, "ours near borders": good, "softmax near borders": bad}
    expected = {"ours": ours, "softmax": softmax}
    return Observation("phantom", Situation.FITTED, cine, 1, dice, indicators, cells, expected, pixels)


def test_a_logistic_map_is_recovered_and_no_weight_is_negative() -> None:
    x = RNG.uniform(0, 3, (3000, 3))
    y = sigmoid(0.5 + x @ np.array([1.0, 0.3, -0.4]))
    found = logistic(x[:, :2], sigmoid(0.5 + x[:, :2] @ np.array([1.0, 0.3])), np.ones(3000))
    assert found.weights == pytest.approx((1.0, 0.3), abs=0.05)
    assert logistic(x, y, np.ones(3000)).weights[2] == 0
    # A constant indicator has no information.
    assert logistic(np.column_stack([x[:, 0], np.zeros(3000)]), y, np.ones(3000)).weights[1] == 0


def test_the_fraction_of_wrong_pixels_decreases_with_the_score() -> None:
    scores = RNG.uniform(0, 5, 500)
    wrong = RNG.binomial(100, 0.5 * np.exp(-scores)).astype(float)
    at, share = knots(scores, np.full(500, 100.0), wrong)
    assert all(a < b for a, b in pairwise(at))
    assert all(a >= b for a, b in pairwise(share))
    assert np.interp(1.0, at, share) == pytest.approx(0.5 * math.exp(-1), abs=0.04)
    assert knots(np.zeros(3), np.ones(3), np.zeros(3)) == ((0.0,), (0.0,))
    # Many pixels with the same score share a knot, so that no two knots coincide.
    at, _ = knots(np.repeat([1.0, 2.0], 50), np.full(100, 10.0), np.repeat([5.0, 1.0], 50))
    assert (at[0], at[-1]) == (1.0, 2.0)
    assert np.diff(at).min() > 1e-3


def test_a_fitted_map_predicts_the_observed_values() -> None:
    indicators = RNG.uniform(0, 4, (200, 5))
    indicators[:, 4] *= -1
    dice = sigmoid(0.5 + 0.5 * indicators[:, 2] + 0.3 * indicators[:, 4])
    maps = fit([observation(s, d, ours=d, softmax=0.99) for s, d in zip(indicators, dice, strict=True)])
    assert np.abs(maps.expected_dice(indicators) - dice).max() < 0.01
    sure = maps.error_probability(np.array([[0.2, 1.0, 3.0], [4.0, 1.0, 3.0]]))
    assert sure[0] > 0.3
    assert sure[1] < 0.05
    with pytest.raises(BenchError, match="more cines"):
        fit([])


def test_maps_of_other_situations_can_be_kept(tmp_path: Path) -> None:
    out = tmp_path / "calibration.json"
    shutil.copyfile(resource_path(SHIPPED), out)
    drafts = [
        replace(observation(indicators, 0.8, ours=0.8, softmax=0.9), situation=Situation.DRAFT)
        for indicators in RNG.uniform(0, 4, (20, 5))
    ]
    with pytest.raises(BenchError, match="more cines"):
        calibrate(drafts, out, "today")
    about = calibrate(drafts, out, "today", keep=True)
    assert about["encoder"] == "today"
    assert list(about["kept, and of which encoder"]) == ["fitted", "carried"]
    assert about["seen"]["draft"] == {"cines": 1, "frames": 20}
    assert about["seen"]["carried"]["frames"] > 20
    now = read(out)
    assert now[Situation.FITTED] == shipped_calibration()[Situation.FITTED]
    assert now[Situation.DRAFT] != shipped_calibration()[Situation.DRAFT]


def test_errors_of_calibration() -> None:
    right = np.arange(1000) < 700
    assert calibration_error(reliability(np.full(1000, 0.7), right)) == pytest.approx(0)
    assert calibration_error(reliability(np.full(1000, 0.9), right)) == pytest.approx(0.2)
    assert calibration_error(reliability(np.array([0.0, 1.0]), np.array([False, True]))) == 0
    assert math.isnan(calibration_error(np.zeros((15, 3))))
    true = RNG.uniform(0.5, 1, 300)
    assert frame_error(true, true) == 0
    assert frame_error(true + 0.1, true) == pytest.approx(0.1)
    # Correct on average, but not in every bin.
    assert frame_error(2 * true - true.mean(), true) > 0.05


def test_correlations() -> None:
    x = RNG.normal(size=50)
    assert correlation(ranks(x), ranks(np.exp(x))) == pytest.approx(1)
    assert ranks(np.array([3.0, 1.0, 3.0])).tolist() == [1.5, 0.0, 1.5]
    assert math.isnan(correlation(np.ones(5), x[:5]))
    assert math.isnan(correlation(x[:2], x[:2]))


def test_the_summary_and_its_ratios() -> None:
    dice = RNG.uniform(0.8, 1, 40)
    rows = summary(
        [
            observation(
                np.zeros(5), d, cine=i % 4, ours=d + RNG.normal() * 0.005, softmax=0.99 + RNG.normal() * 0.005
            )
            for i, d in enumerate(dice)
        ]
    )
    ours, softmax = rows
    assert (ours["what"], softmax["what"], ours["cines"], ours["frames"]) == ("ours", "softmax", 4, 40)
    assert ours["spearman"] > 0.95
    assert ours["within"] > 0.9
    assert ours["pixel_ece"] == pytest.approx(0)
    assert softmax["pixel_ece"] == pytest.approx(0.09)
    assert min(ratios(rows).values()) > 1
    assert len(ratios(rows)) == 4


def test_one_frame_is_too_little_for_a_correlation() -> None:
    rows = summary([observation(np.zeros(5), 0.9, ours=0.9, softmax=0.9)])
    assert rows[0]["pearson"] is None
    assert len(ratios(rows)) == 3


def test_no_patient_is_in_both_halves() -> None:
    patients = np.repeat([f"p{i}" for i in range(5)], 2)
    stills = Stills(np.zeros((10, 4, 4), np.uint8), np.zeros((10, 4, 4), np.uint8), patients)
    one, other = split_by_patient(stills)
    assert len(one) + len(other) == 10
    assert not set(one.patients) & set(other.patients)
