"""Schedules and invalid values."""

from __future__ import annotations

import math

import pytest

from vjepa_core.pretraining.schedule import TermWeight, cosine, ema_ends, learning_rate, momentum


def test_learning_rate_warms_up_and_decays() -> None:
    rates = [learning_rate(i, 100, start=0.1, peak=1.0, end=0.01, warmup=10) for i in range(100)]
    assert rates[9] == pytest.approx(1.0)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_learning_rate_of_a_single_step() -> None:
    assert learning_rate(0, 1, start=0.1, peak=1.0, end=0.0, warmup=0) == 1.0


def test_momentum_is_linear() -> None:
    assert [momentum(i, 3, 0.9, 1.0) for i in range(3)] == pytest.approx([0.9, 0.95, 1.0])
    assert momentum(0, 1, 0.9, 1.0) == 0.9


def test_cosine_stays_between_its_ends() -> None:
    assert cosine(2.0, 1.0, -1.0) == 2.0
    assert cosine(2.0, 1.0, 5.0) == pytest.approx(1.0)


def test_a_term_weight_rises_stays_and_falls() -> None:
    weight = TermWeight(2.0, rise=0.2, fall=0.5, end=0.25)
    values = [weight.at(i, 101) for i in range(101)]
    assert values[0] == 0
    assert values[10] == pytest.approx(1.0)
    assert values[20:51] == pytest.approx([2.0] * 31)
    assert values[100] == pytest.approx(0.5)
    assert TermWeight(3.0).at(0, 1) == 3.0


@pytest.mark.parametrize(
    "wrong", [{"peak": -1.0}, {"peak": 1.0, "rise": 0.6, "fall": 0.4}, {"peak": 1.0, "end": -1.0}]
)
def test_invalid_weights_are_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        TermWeight(**wrong)


@pytest.mark.parametrize("steps", [1, 20, 200, 1250, 3750, 100_000])
def test_the_initial_teacher_has_no_influence_after_any_number_of_steps(steps: int) -> None:
    start, end = ema_ends(steps)
    assert 0 <= start <= end <= 0.9995
    kept = math.prod(momentum(i, steps, start, end) for i in range(steps))
    assert kept < 1e-3


def test_the_momentum_of_a_long_run_is_that_of_v_jepa() -> None:
    assert ema_ends(100_000) == (0.998, 0.9995)
    start, end = ema_ends(3750)
    assert start == pytest.approx(0.996)
    assert end == pytest.approx(0.999)
