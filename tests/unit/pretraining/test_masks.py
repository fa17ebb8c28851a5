"""Multi-block masks."""

from __future__ import annotations

import pytest
import torch

from vjepa_core.pretraining.masks import LONG_RANGE, SHORT_RANGE, BlockMask, MaskSampler

GRID = (8, 14, 14)
TOKENS = 8 * 14 * 14


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_context_and_target_are_disjoint_and_have_the_lengths_of_the_sampler() -> None:
    sampler = MaskSampler(GRID)
    for masks, (context, target) in zip(sampler(64, _generator()), sampler.lengths, strict=True):
        assert masks.context.shape == (64, context)
        assert masks.target.shape == (64, target)
        both = torch.cat(masks, 1)
        assert (both.sort(1).values.diff(dim=1) > 0).all()
        assert both.min() >= 0
        assert both.max() < TOKENS


def test_masks_hide_about_as_much_as_in_v_jepa() -> None:
    sampler = MaskSampler(GRID)
    (short_context, short_target), (long_context, long_target) = sampler.lengths
    assert 0.10 < short_context / TOKENS < 0.35
    assert 0.03 < long_context / TOKENS < 0.15
    assert short_target / TOKENS > 0.5
    assert long_target / TOKENS > 0.75


def test_targets_are_tubes_through_all_frames() -> None:
    masks = MaskSampler(GRID, [LONG_RANGE])(32, _generator())[0]
    hidden = torch.zeros(32, TOKENS, dtype=torch.bool)
    hidden.scatter_(1, masks.target, torch.ones_like(masks.target, dtype=torch.bool))
    seen = torch.zeros_like(hidden)
    seen.scatter_(1, masks.context, torch.ones_like(masks.context, dtype=torch.bool))
    columns_hidden = hidden.view(32, 8, 196).any(1)
    columns_seen = seen.view(32, 8, 196).any(1)
    assert not (columns_hidden & columns_seen).any()


def test_excess_context_tokens_are_dropped_at_random() -> None:
    masks = MaskSampler(GRID)(256, _generator())
    for kind in masks:
        frames = (kind.context // 196).flatten().bincount(minlength=8).float()
        assert (frames / frames.mean() - 1).abs().max() < 0.15


def test_masks_are_reproducible_and_differ_between_clips() -> None:
    sampler = MaskSampler(GRID, [SHORT_RANGE])
    first, again = sampler(8, _generator(5))[0], sampler(8, _generator(5))[0]
    assert torch.equal(first.context, again.context)
    assert torch.equal(first.target, again.target)
    assert len({tuple(sorted(row)) for row in first.context.tolist()}) == 8


def test_target_share_reduces_the_targets() -> None:
    whole, half = MaskSampler(GRID), MaskSampler(GRID, target_share=0.5)
    assert half.lengths[1][1] == pytest.approx(whole.lengths[1][1] / 2, abs=8)
    assert half.lengths[1][0] == whole.lengths[1][0]


def test_a_mask_may_cover_some_of_the_frames() -> None:
    kind = BlockMask(blocks=1, scale=0.5, temporal_scale=0.5)
    masks = MaskSampler(GRID, [kind])(16, _generator())[0]
    spans = (masks.target // 196).max(1).values - (masks.target // 196).min(1).values
    assert (spans == 3).all()


def test_masks_that_hide_everything_leave_visible_tokens() -> None:
    masks = MaskSampler((2, 2, 2), [BlockMask(blocks=4, scale=1.0)])(4, _generator())[0]
    assert masks.context.shape[1] == 1
    assert not (masks.context.unsqueeze(-1) == masks.target.unsqueeze(1)).any()


@pytest.mark.parametrize("grid", [(1, 1, 1), (0, 4, 4)])
def test_a_grid_that_is_too_small_is_rejected(grid: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="too small"):
        MaskSampler(grid)


def test_an_empty_list_of_kinds_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MaskSampler(GRID, [])


@pytest.mark.parametrize(("grid", "fewest"), [((1, 14, 14), 24), ((4, 7, 7), 24), ((2, 9, 9), 20)])
def test_long_range_masks_leave_visible_tokens_on_small_grids(
    grid: tuple[int, int, int], fewest: int
) -> None:
    sampler = MaskSampler(grid)
    assert sampler.lengths[1][0] == fewest
    masks = sampler(64, _generator())[1]
    both = torch.cat(masks, 1)
    assert (both.sort(1).values.diff(dim=1) > 0).all()


def test_large_grids_and_masks_of_older_runs_are_unchanged() -> None:
    older = BlockMask(blocks=2, scale=0.7)
    assert MaskSampler(GRID, [LONG_RANGE]).lengths == MaskSampler(GRID, [older]).lengths
    assert MaskSampler((4, 7, 7), [older]).lengths[0][0] == 8
