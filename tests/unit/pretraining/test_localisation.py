"""Localisation task and the probe of position leaks."""

from __future__ import annotations

import math

import pytest
import torch

from tests.unit.pretraining.runs import clips
from vjepa_core.encoder.initialise import initialise
from vjepa_core.encoder.models import create_encoder
from vjepa_core.pretraining.localisation import (
    LocalisationConfig,
    Localiser,
    Side,
    constant_prediction_loss,
    draw_windows,
    grid_positions,
)
from vjepa_core.pretraining.probe import position_probe

GRID = (4, 6, 8)
TOKENS = 4 * 6 * 8


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _placed_tokens(batch: int = 4) -> Side:
    """Return tokens that contain their position, one-hot for each axis."""
    numbers = torch.arange(TOKENS).expand(batch, -1)
    positions = grid_positions(numbers, GRID)
    hot = [torch.nn.functional.one_hot(positions[..., i], n) for i, n in enumerate(GRID)]
    return Side(torch.cat(hot, -1).float(), numbers)


def test_targets_are_fractions_of_each_axis() -> None:
    offset = torch.tensor([[3, -5, 7], [0, 0, -7]])
    absolute = Localiser(8, GRID, LocalisationConfig(variant="absolute")).target(offset)
    signed = Localiser(8, GRID, LocalisationConfig(variant="signed")).target(offset)
    assert absolute.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert signed.tolist() == [[1, -1, 1], [0, 0, -1]]


@pytest.mark.parametrize("variant", ["absolute", "signed", "axis_ce"])
@pytest.mark.parametrize("pool", [1, 2])
def test_tokens_that_contain_their_position_solve_the_task(variant: str, pool: int) -> None:
    torch.manual_seed(0)
    config = LocalisationConfig(variant=variant, pool=pool, hidden=128)  # type: ignore[arg-type]
    side = _placed_tokens()
    localiser = Localiser(sum(GRID), GRID, config)
    adam = torch.optim.Adam(localiser.parameters(), lr=3e-3)
    generator = _generator()
    for _ in range(150):
        adam.zero_grad()
        localiser(side, side, torch.rand((4, 64, 2), generator=generator)).backward()
        adam.step()
    pairs = torch.rand((4, 256, 2), generator=generator)
    loss = float(localiser(side, side, pairs).detach())
    assert loss < 0.6 * constant_prediction_loss(localiser, side.numbers, side.numbers, pairs)


def test_pooling_averages_the_visible_tokens_of_a_cell() -> None:
    localiser = Localiser(1, (1, 4, 4), LocalisationConfig(pool=2))
    numbers = torch.tensor([[0, 5, 10, 15]])  # two in the first cell, two in the last
    tokens, order, count = localiser._pool(torch.tensor([[[1.0], [3.0], [10.0], [20.0]]]), numbers)
    assert count.tolist() == [2]
    assert order[0, :2].tolist() == [0, 3]
    assert tokens[0, :2, 0].tolist() == [2.0, 15.0]


def test_windows_are_inside_the_clip_at_different_offsets() -> None:
    config = LocalisationConfig(window=0.6, visible=0.4)
    a, b = draw_windows(GRID, 200, _generator(), config)
    for window in (a, b):
        positions = grid_positions(window, GRID)
        assert (positions.amax(1) - positions.amin(1) <= torch.tensor([1, 3, 4])).all()
        assert window.min() >= 0
        assert window.max() < TOKENS
        assert (window.sort(1).values.diff(dim=1) > 0).all()
    assert len(set(grid_positions(a, GRID).amin(1)[:, 2].tolist())) > 3
    assert not torch.equal(a, b)


def test_a_window_may_cover_the_whole_clip() -> None:
    a, _ = draw_windows(GRID, 2, _generator(), LocalisationConfig(window=1.0, visible=1.0))
    assert a.sort(1).values.tolist() == [list(range(TOKENS))] * 2


def test_chance_is_the_best_constant_prediction() -> None:
    localiser = Localiser(1, (2, 2, 2), LocalisationConfig(variant="axis_ce"))
    numbers = torch.arange(8).expand(64, -1)
    pairs = torch.rand((64, 256, 2), generator=_generator())
    assert constant_prediction_loss(localiser, numbers, numbers, pairs) == pytest.approx(
        math.log(2), abs=0.01
    )


@pytest.mark.parametrize("where", ["inside", "unplaced", "windows"])
def test_the_probe_is_reproducible_and_does_not_change_the_encoder(where: str) -> None:
    encoder = create_encoder("vit_tiny_patch16_224_t2")
    initialise(encoder, 0)
    before = [p.clone() for p in encoder.parameters()]
    config = LocalisationConfig(where=where, hidden=32, pairs=16)  # type: ignore[arg-type]
    wide = clips(4).repeat(1, 1, 2, 2)
    first, again = (position_probe(encoder, wide, config, views=1, steps=3) for _ in range(2))
    assert first == again
    assert 0 < first.chance < 1
    assert first.solved == pytest.approx(1 - first.loss / first.chance)
    assert all(torch.equal(p, q) for p, q in zip(before, encoder.parameters(), strict=True))


def test_a_single_clip_cannot_be_probed() -> None:
    with pytest.raises(ValueError, match="split"):
        position_probe(create_encoder("vit_tiny_patch16_224_t2"), clips(1))


def _offsets(grid: tuple[int, int, int], config: LocalisationConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Return targets (N, 3) of many pairs and indices (N, 3) of the cells of both members."""
    first, second = draw_windows(grid, 3000, _generator(), config)
    localiser = Localiser(1, grid, config)
    starts = [grid_positions(window, grid).amin(1, keepdim=True) for window in (first, second)]
    blank = torch.zeros((*first.shape, 1))
    chance = torch.rand((3000, 64, 2), generator=_generator(1))
    _, start, _, end = localiser.choose_pairs(Side(blank, first), Side(blank, second), chance)
    groups = (start - starts[0]) * 16 + (end - starts[1])
    return localiser.target(start - end).flatten(0, 1), groups.flatten(0, 1)


def _floor(target: torch.Tensor, groups: torch.Tensor) -> float:
    """Return the best loss of a prediction from the cells in the windows only."""
    losses = []
    for axis in range(3):
        error = torch.empty(len(target))
        for group in groups[:, axis].unique():
            rows = groups[:, axis] == group
            error[rows] = (target[rows, axis] - target[rows, axis].median()).abs()
        losses.append(error.mean())
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize(
    ("grid", "chance", "floor"), [((8, 14, 14), 0.161, 0.138), ((1, 14, 14), 0.104, 0.091)]
)
def test_positions_in_the_windows_leak_unless_the_cells_are_the_same(
    grid: tuple[int, int, int], chance: float, floor: float
) -> None:
    target, groups = _offsets(grid, LocalisationConfig())
    constant = float((target - target.median(0).values).abs().mean())
    assert constant == pytest.approx(chance, abs=0.003)
    assert _floor(target, groups) == pytest.approx(floor, abs=0.003)
    target, groups = _offsets(grid, LocalisationConfig(pairing="same-cell"))
    constant = float((target - target.median(0).values).abs().mean())
    assert _floor(target, groups) == pytest.approx(constant, rel=0.01)


def test_with_the_same_cell_the_target_is_the_offset_of_the_windows() -> None:
    config = LocalisationConfig(pairing="same-cell", visible=0.5)
    first, second = draw_windows(GRID, 50, _generator(), config)
    offset = grid_positions(first, GRID) - grid_positions(second, GRID)
    assert (offset == offset[:, :1]).all()
    assert len(offset[:, 0].unique(dim=0)) > 10
    # Windows overlap along every axis, also along four steps of time.
    assert (offset.abs() <= torch.tensor([1, 2, 3])).all()


@pytest.mark.parametrize("variant", ["absolute", "axis_ce"])
def test_time_is_not_predicted_for_still_images(variant: str) -> None:
    side = _placed_tokens(2)
    pairs = torch.rand((2, 64, 2), generator=_generator())
    config = LocalisationConfig(variant=variant, ask_time_of_stills=False)  # type: ignore[arg-type]
    localiser = Localiser(sum(GRID), GRID, config)

    def losses() -> list[float]:
        moving = [torch.tensor(m) for m in ([True, True], [False, False])]
        return [float(localiser(side, side, pairs, m).detach()) for m in moving]

    before = losses()
    last = localiser.mlp[-1]
    assert isinstance(last, torch.nn.Linear)
    about_time = 1 if variant == "absolute" else GRID[0]
    with torch.no_grad():  # a worse prediction of time only
        last.bias[:about_time] += torch.linspace(5, 9, 4)[:about_time]
    after = losses()
    assert after[0] != pytest.approx(before[0], rel=0.01)
    assert after[1] == pytest.approx(before[1])


def test_an_axis_with_one_cell_is_not_predicted() -> None:
    localiser = Localiser(1, (1, 4, 4), LocalisationConfig(ask_time_of_stills=False))
    assert localiser.axis_weights(2, None, torch.device("cpu")).tolist() == [[0, 1, 1]] * 2
