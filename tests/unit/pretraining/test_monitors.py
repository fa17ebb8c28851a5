"""Statistics of healthy and collapsed features, and the warnings."""

from __future__ import annotations

import pytest
import torch

from vjepa_core.pretraining.monitors import CollapseMonitor, feature_statistics, probe_positions, probe_tokens


def _statistics(tokens: torch.Tensor) -> dict[str, float]:
    return {name: float(value) for name, value in feature_statistics(tokens).items()}


def test_independent_features_have_full_rank() -> None:
    torch.manual_seed(0)
    health = _statistics(torch.randn(64, 32, 16))
    assert health["feature_std"] == pytest.approx(1.0, abs=0.05)
    assert health["effective_rank"] == pytest.approx(16, abs=0.5)
    assert health["position_share"] < 0.05


def test_equal_features_have_zero_deviation() -> None:
    health = _statistics(torch.ones(8, 32, 16))
    assert health["feature_std"] == 0
    assert health["position_share"] <= 1


def test_one_direction_has_rank_one() -> None:
    torch.manual_seed(0)
    assert _statistics(torch.randn(8, 32, 1) * torch.randn(16))["effective_rank"] == pytest.approx(1.0)


def test_features_that_depend_on_position_only_are_detected() -> None:
    torch.manual_seed(0)
    assert _statistics(torch.randn(1, 32, 16).expand(8, -1, -1))["position_share"] == pytest.approx(1.0)


def test_statistics_of_a_single_clip() -> None:
    assert _statistics(torch.randn(1, 4, 8))["position_share"] == 0


def _tubelets(grid: tuple[int, int, int], lit: torch.Tensor | None = None) -> torch.Tensor:
    """Return tubelets of two clips (2, N, 4), uint8; dark where `lit` is False."""
    n = grid[0] * grid[1] * grid[2]
    bright = torch.full((2, n, 4), 90, dtype=torch.uint8)
    return bright if lit is None else bright * lit.view(1, -1, 1).to(torch.uint8)


def test_the_same_positions_are_used_in_each_clip() -> None:
    tokens = torch.arange(200.0).view(1, 200, 1).expand(2, -1, 4).clone()
    assert probe_tokens(tokens, probe_positions(_tubelets((2, 10, 10)))).shape == (2, 32, 4)
    assert probe_tokens(tokens[:, :5], probe_positions(_tubelets((1, 1, 5)))).shape == (2, 5, 4)


def test_positions_are_spread_over_the_plane_and_reproducible() -> None:
    places = probe_positions(_tubelets((8, 14, 14)))
    assert len(set((places % 196).tolist())) > 24  # steps of 49 would give only four
    assert torch.equal(places, probe_positions(_tubelets((8, 14, 14))))


def test_dark_positions_are_used_only_if_there_are_no_others() -> None:
    lit = torch.zeros(196, dtype=torch.bool)
    lit[50:90] = True
    assert set(probe_positions(_tubelets((1, 14, 14), lit)).tolist()) <= set(range(50, 90))
    lit[60:90] = False
    places = probe_positions(_tubelets((1, 14, 14), lit)).tolist()
    assert len(set(places)) == 32
    assert set(range(50, 60)) <= set(places)


def test_one_strong_direction_is_visible_in_top_share() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(64, 32, 16)
    even = _statistics(tokens)
    assert even["top_share"] < 0.1
    tokens[..., 0] *= 10
    strong = _statistics(tokens)
    assert strong["top_share"] == pytest.approx(100 / 115, abs=0.02)
    assert strong["effective_rank"] < even["effective_rank"]


def _numbers(**other: float) -> dict[str, float]:
    return {"loss_jepa": 0.6, "feature_std": 0.8, "effective_rank": 40.0, **other}


def test_a_healthy_run_gives_no_warning() -> None:
    monitor = CollapseMonitor()
    assert [monitor.update(_numbers(loss_jepa=0.6 - 0.002 * i)) for i in range(100)] == [[]] * 100


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"feature_std": 0.01}, "same"),
        ({"effective_rank": 10.0}, "partial collapse"),
        ({"loss_jepa": 0.1, "feature_std": 0.5}, "dropped suddenly"),
    ],
)
def test_collapse_gives_one_warning_each_time_it_starts(other: dict[str, float], word: str) -> None:
    monitor = CollapseMonitor()
    for _ in range(20):
        monitor.update(_numbers())
    warnings = monitor.update(_numbers(**other))
    assert any(word in sentence for sentence in warnings)
    assert monitor.update(_numbers(**other)) == []
    monitor.update(_numbers())
    assert monitor.update(_numbers(**other)) != []


def test_the_state_can_be_restored() -> None:
    monitor, restored = CollapseMonitor(), CollapseMonitor()
    for _ in range(20):
        monitor.update(_numbers())
    restored.restore(monitor.state())
    assert restored.update(_numbers(effective_rank=1.0)) == monitor.update(_numbers(effective_rank=1.0)) != []


def test_a_value_near_its_limit_gives_one_warning() -> None:
    monitor = CollapseMonitor()
    for _ in range(20):
        monitor.update(_numbers(effective_rank=8.0))
    target_windows = [monitor.update(_numbers(effective_rank=rank)) for rank in (4.8, 5.2, 4.8, 5.5, 4.5)]
    assert [len(sentences) for sentences in target_windows] == [1, 0, 0, 0, 0]
    monitor.update(_numbers(effective_rank=8.0))
    assert len(monitor.update(_numbers(effective_rank=4.8))) == 1
