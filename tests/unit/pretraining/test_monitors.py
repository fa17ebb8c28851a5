"""Numbers of living and of collapsed features, and the words that follow."""

from __future__ import annotations

import pytest
import torch

from vjepa_core.pretraining.monitors import CollapseMonitor, feature_health, probe_places, probe_tokens


def _health(tokens: torch.Tensor) -> dict[str, float]:
    return {name: float(value) for name, value in feature_health(tokens).items()}


def test_independent_features_fill_the_space() -> None:
    torch.manual_seed(0)
    health = _health(torch.randn(64, 32, 16))
    assert health["feature_std"] == pytest.approx(1.0, abs=0.05)
    assert health["effective_rank"] == pytest.approx(16, abs=0.5)
    assert health["position_share"] < 0.05


def test_equal_features_have_no_deviation() -> None:
    health = _health(torch.ones(8, 32, 16))
    assert health["feature_std"] == 0
    assert health["position_share"] <= 1


def test_one_direction_has_rank_one() -> None:
    torch.manual_seed(0)
    assert _health(torch.randn(8, 32, 1) * torch.randn(16))["effective_rank"] == pytest.approx(1.0)


def test_features_that_tell_the_place_alone_are_found_out() -> None:
    torch.manual_seed(0)
    assert _health(torch.randn(1, 32, 16).expand(8, -1, -1))["position_share"] == pytest.approx(1.0)


def test_a_single_clip_has_numbers_too() -> None:
    assert _health(torch.randn(1, 4, 8))["position_share"] == 0


def _tubelets(grid: tuple[int, int, int], lit: torch.Tensor | None = None) -> torch.Tensor:
    """Two clips of tubelets (2, N, 4) uint8; dark where `lit` is False."""
    n = grid[0] * grid[1] * grid[2]
    bright = torch.full((2, n, 4), 90, dtype=torch.uint8)
    return bright if lit is None else bright * lit.view(1, -1, 1).to(torch.uint8)


def test_the_same_places_are_taken_of_each_clip() -> None:
    tokens = torch.arange(200.0).view(1, 200, 1).expand(2, -1, 4).clone()
    assert probe_tokens(tokens, probe_places(_tubelets((2, 10, 10)))).shape == (2, 32, 4)
    assert probe_tokens(tokens[:, :5], probe_places(_tubelets((1, 1, 5)))).shape == (2, 5, 4)


def test_places_spread_over_the_plane_and_stay_the_same() -> None:
    places = probe_places(_tubelets((8, 14, 14)))
    assert len(set((places % 196).tolist())) > 24  # even steps of 49 hit four
    assert torch.equal(places, probe_places(_tubelets((8, 14, 14))))


def test_dark_places_are_taken_only_where_nothing_else_is_left() -> None:
    lit = torch.zeros(196, dtype=torch.bool)
    lit[50:90] = True
    assert set(probe_places(_tubelets((1, 14, 14), lit)).tolist()) <= set(range(50, 90))
    lit[60:90] = False
    places = probe_places(_tubelets((1, 14, 14), lit)).tolist()
    assert len(set(places)) == 32
    assert set(range(50, 60)) <= set(places)


def test_one_strong_direction_shows_in_its_share_and_not_in_the_rank_alone() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(64, 32, 16)
    even = _health(tokens)
    assert even["top_share"] < 0.1
    tokens[..., 0] *= 10
    strong = _health(tokens)
    assert strong["top_share"] == pytest.approx(100 / 115, abs=0.02)
    assert strong["effective_rank"] < even["effective_rank"]


def _numbers(**other: float) -> dict[str, float]:
    return {"loss_jepa": 0.6, "feature_std": 0.8, "effective_rank": 40.0, **other}


def test_a_healthy_run_is_left_in_peace() -> None:
    monitor = CollapseMonitor()
    assert [monitor.update(_numbers(loss_jepa=0.6 - 0.002 * i)) for i in range(100)] == [[]] * 100


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"feature_std": 0.01}, "same"),
        ({"effective_rank": 10.0}, "partial collapse"),
        ({"loss_jepa": 0.1, "feature_std": 0.5}, "fell suddenly"),
    ],
)
def test_collapse_is_said_once_and_again_after_it_was_over(other: dict[str, float], word: str) -> None:
    monitor = CollapseMonitor()
    for _ in range(20):
        monitor.update(_numbers())
    said = monitor.update(_numbers(**other))
    assert any(word in sentence for sentence in said)
    assert monitor.update(_numbers(**other)) == []
    monitor.update(_numbers())
    assert monitor.update(_numbers(**other)) != []


def test_the_state_survives_a_checkpoint() -> None:
    monitor, restored = CollapseMonitor(), CollapseMonitor()
    for _ in range(20):
        monitor.update(_numbers())
    restored.restore(monitor.state())
    assert restored.update(_numbers(effective_rank=1.0)) == monitor.update(_numbers(effective_rank=1.0)) != []


def test_a_number_about_its_limit_is_told_once() -> None:
    monitor = CollapseMonitor()
    for _ in range(20):
        monitor.update(_numbers(effective_rank=8.0))
    told = [monitor.update(_numbers(effective_rank=rank)) for rank in (4.8, 5.2, 4.8, 5.5, 4.5)]
    assert [len(sentences) for sentences in told] == [1, 0, 0, 0, 0]
    monitor.update(_numbers(effective_rank=8.0))
    assert len(monitor.update(_numbers(effective_rank=4.8))) == 1
