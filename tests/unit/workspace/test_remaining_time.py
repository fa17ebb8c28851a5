"""Remaining time of a stage of learning."""

from __future__ import annotations

import pytest

from app.workspace.remaining_time import RemainingTime
from vjepa_core.service.messages import Progress, Stage


def fitting(done: int, total: int = 100) -> Progress:
    return Progress(1, 1, Stage.FITTING, done, total)


def test_the_rate_so_far_gives_the_remaining_time() -> None:
    now = 0.0
    remaining = RemainingTime(lambda: now)
    assert remaining.update(fitting(0)) is None
    now = 1.0
    assert remaining.update(fitting(20)) is None  # too short a time for an estimate
    now = 4.0
    assert remaining.update(fitting(50)) == pytest.approx(4.0)
    assert remaining.update(fitting(100)) == 0.0


def test_each_stage_and_each_new_fit_is_estimated_separately() -> None:
    now = 0.0
    remaining = RemainingTime(lambda: now)
    remaining.update(fitting(10))
    now = 5.0
    assert remaining.update(fitting(60)) == pytest.approx(4.0)
    assert remaining.update(fitting(0)) is None
    now = 10.0
    assert remaining.update(Progress(1, 1, Stage.PREDICTING, 50, 100)) is None
