"""The 3D localisation task: how far apart do two tokens stand, along time, height and width?

An MLP reads a pair of the student's tokens. Dr-Loc (Liu et al., NeurIPS 2021, arXiv 2106.03746) asks this of
an image's final tokens; here the grid has three axes. Its absolute L1, signed and cross-entropy forms are
options, and so is its pooling to a coarser grid.

**Where the tokens come from decides whether the task teaches anything.** A token that knows its place answers
without having looked. Three sources, `where`:

`inside`
    pairs among the tokens of one pass, as Dr-Loc has it. Rotary positions are in every attention of that
    pass, and landmarks that all clips share, such as black borders, turn them into absolute places.
`unplaced`
    pairs within one more pass without any rotation. Nothing leaks, since the pass does not know the order
    of its tokens; but the encoder is trained in a state in which it is never used.
`windows`
    pairs across two passes, each of which sees a window of the clip at a random offset. Rotary attention
    depends on differences of positions alone, so a pass over a window at one offset equals a pass over a crop
    of the clip: the offset is in no position code. It has to be told from what the tissue shows, which is
    what localisation means, while the encoder runs as it is used.

With `pairing` "any", the two tokens of a pair stand in any cells of their windows. The target is then the
windows' offset plus the difference of the two in-window cells, and a token can learn its in-window cell from
rotary attention: knowing both cells alone removes 13 % of the chance loss on a grid of 8 x 14 x 14, without
a look at the picture. `pairing` "same-cell" takes the same cell of both windows, so that the target is the
offset alone, which no position code holds. `unrelated_targets` is the control: the targets of other windows,
with the same distribution, which cannot be learned.

Measured with an untrained ViT-Ti at 112 px, 16 frames, as the share of the chance level that `position_probe`
takes away, for the three in this order: real clips 0.06, 0.03, 0.01; noise 0.00, -0.05, -0.02; noise within a
fixed black sector 0.37, 0.34, 0.20. Trained on the task alone with noise (150 steps, 96 px), all stay within
1.5 % of chance. Rotary positions leak next to nothing by themselves here; landmarks do, least across windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vjepa_core.encoder.rope import Grid

Variant = Literal["absolute", "signed", "axis_ce"]
Where = Literal["inside", "unplaced", "windows"]
Pairing = Literal["any", "same-cell"]


@dataclass(frozen=True)
class LocalisationConfig:
    """Options of the task.

    Attributes
    ----------
    variant : {"absolute", "signed", "axis_ce"}
        L1 on distances, L1 on signed offsets, or one cross-entropy an axis over whole distances.
    where : {"inside", "unplaced", "windows"}
        Which tokens are paired; see the module.
    pairs : int
        Pairs a clip.
    hidden : int
        Width of the MLP's two hidden layers.
    pool : int
        Tokens are averaged over pool x pool places of the plane first; 1 leaves them alone.
    window : float
        Share of each axis that a window covers; over a half, so that two windows overlap.
    visible : float
        Share of a window's tokens that its pass sees.
    pairing : {"any", "same-cell"}
        Which tokens of two windows are paired; "same-cell" leaves the offset of the windows as the target.
        The windows then overlap along every axis, however short.
    unrelated_targets : bool
        Control: the targets are those of another draw of windows.
    vary_windows : bool
        Augment the grey levels of the two windows independently of each other, so that speckle and haze that
        they share do not match them.
    ask_time_of_stills : bool
        Ask for the distance in time also where a still is repeated as a clip, which no encoder can answer,
        and along axes of one cell.
    """

    variant: Variant = "absolute"
    where: Where = "windows"
    pairs: int = 64
    hidden: int = 512
    pool: int = 1
    window: float = 0.6
    visible: float = 0.4
    pairing: Pairing = "any"
    unrelated_targets: bool = False
    vary_windows: bool = False
    ask_time_of_stills: bool = True


class Side(NamedTuple):
    """Tokens of which one member of each pair is taken.

    Attributes
    ----------
    tokens : Tensor
        (B, K, D).
    numbers : Tensor
        (B, K) int64: their token numbers in the whole clip.
    """

    tokens: Tensor
    numbers: Tensor


def draw_windows(
    grid: Grid, n: int, generator: torch.Generator, config: LocalisationConfig
) -> tuple[Tensor, Tensor]:
    """Token numbers (n, K) int64 of two windows a clip, each at an offset of its own.

    Of a window's tokens a random share is kept, in the proportion in which a masked clip shows them; with
    `pairing` "same-cell" the same cells of both, in the same order.
    """
    device = generator.device
    _, h, w = grid
    same = config.pairing == "same-cell"
    least = [axis // 2 + 1 if same else 1 for axis in grid]
    sides = [max(low, min(axis, round(config.window * axis))) for axis, low in zip(grid, least, strict=True)]
    ts, hs, ws = (torch.arange(side, device=device) for side in sides)
    cells = ((ts[:, None, None] * h + hs[:, None]) * w + ws).flatten()
    keep = max(2, round(config.visible * len(cells)))
    windows: list[Tensor] = []
    chosen = cells
    for number in range(2):
        start = torch.rand((3, n), generator=generator, device=device)
        room = [axis - side + 1 for axis, side in zip(grid, sides, strict=True)]
        at = [(share * places).long() for share, places in zip(start, room, strict=True)]
        offset = (at[0] * h + at[1]) * w + at[2]
        if not (same and number):
            score = torch.rand((n, len(cells)), generator=generator, device=device)
            chosen = cells[score.topk(min(keep, len(cells)), sorted=False).indices]
        windows.append(chosen + offset[:, None])
    return windows[0], windows[1]


class Localiser(nn.Module):
    """The MLP and its loss.

    Parameters
    ----------
    dim : int
        Width of a token.
    grid : (int, int, int)
        Tokens of a whole clip along time, height and width.
    config : LocalisationConfig
    """

    def __init__(self, dim: int, grid: Grid, config: LocalisationConfig) -> None:
        super().__init__()
        t, h, w = grid
        self.grid = grid
        self.config = config
        self.coarse: Grid = (t, math.ceil(h / config.pool), math.ceil(w / config.pool))
        out = sum(self.coarse) if config.variant == "axis_ce" else 3
        self.mlp = nn.Sequential(
            nn.Linear(2 * dim, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, out),
        )

    def forward(self, first: Side, second: Side, chance: Tensor, moving: Tensor | None = None) -> Tensor:
        """Loss, a scalar: mean over clips of the mean over pairs and over the axes that are asked for.

        Parameters
        ----------
        first, second : Side
            Where the members of a pair are taken from; may be the same.
        chance : Tensor
            (B, pairs, 2) uniform in [0, 1): picks the members.
        moving : Tensor, optional
            (B,) bool: False for a still that is repeated as a clip. Default all True.
        """
        left, place, right, goal = self._paired(first, second, chance)
        answer = self.mlp(torch.cat((left, right), -1)).float()
        offset = place - goal
        if self.config.variant == "axis_ce":
            parts = answer.split(self.coarse, -1)
            losses = torch.stack(
                [
                    cross_entropy(p.transpose(1, 2), offset[..., i].abs(), reduction="none")
                    for i, p in enumerate(parts)
                ],
                -1,
            )
        else:
            losses = (answer - self.target(offset)).abs()
        if self.config.ask_time_of_stills:
            return losses.mean()
        asked = self.asked(len(losses), moving, losses.device)
        return ((losses.mean(1) * asked).sum(1) / asked.sum(1).clamp(min=1)).mean()

    def asked(self, n: int, moving: Tensor | None, device: torch.device) -> Tensor:
        """Which axes of which of `n` clips are asked for: (n, 3) float32 of 0 and 1."""
        if self.config.ask_time_of_stills:
            return torch.ones((n, 3), device=device)
        asked = torch.tensor([float(side > 1) for side in self.coarse], device=device).repeat(n, 1)
        if moving is not None:
            asked[:, 0] = asked[:, 0] * moving.to(device)
        return asked

    def target(self, offset: Tensor) -> Tensor:
        """Offsets (..., 3) in cells as shares of the clip: (..., 3) float32, each at most 1 in size."""
        shares = [part / max(side - 1, 1) for part, side in zip(offset.unbind(-1), self.coarse, strict=True)]
        share = torch.stack(shares, -1).float()
        return share if self.config.variant == "signed" else share.abs()

    def _paired(self, first: Side, second: Side, chance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens (B, m, D) and places (B, m, 3) of the first members, then those of the second."""
        same = self.config.pairing == "same-cell"  # the lists of both windows are in the same order
        left, place = self._pick(first, chance[..., 0])
        right, goal = self._pick(second, chance[..., 0 if same else 1])
        return left, place, right, goal

    def _pick(self, side: Side, chance: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, m, D) at random and their places (B, m, 3) on the coarse grid."""
        tokens, index = side
        if self.config.pool > 1:
            tokens, index, count = self._pool(tokens, index)
            number = (chance * count[:, None]).long()
        else:
            number = (chance * index.shape[1]).long()
        place = index.gather(1, number)
        taken = tokens.gather(1, number.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        return taken, self._places(place, self.coarse)

    def _pool(self, tokens: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means over the visible tokens of each coarse cell, occupied cells first.

        Returns
        -------
        tokens, index, count
            (B, C, D); (B, C) int64 numbers of the coarse cells; (B,) how many are occupied.
        """
        b, _, dim = tokens.shape
        t, i, j = self._places(index, self.grid).unbind(-1)
        _, h, w = self.coarse
        cell = (t * h + i // self.config.pool) * w + j // self.config.pool
        cells = math.prod(self.coarse)
        total = tokens.new_zeros(b, cells, dim).scatter_add(1, cell.unsqueeze(-1).expand_as(tokens), tokens)
        members = tokens.new_zeros(b, cells).scatter_add(1, cell, tokens.new_ones(cell.shape))
        means = total / members.clamp(min=1).unsqueeze(-1)
        occupied = members > 0
        order = occupied.int().argsort(dim=1, descending=True, stable=True)
        return means.gather(1, order.unsqueeze(-1).expand_as(means)), order, occupied.sum(1)

    @staticmethod
    def _places(index: Tensor, grid: Grid) -> Tensor:
        """Grid places (..., 3) int64 of token numbers (...)."""
        _, h, w = grid
        return torch.stack((index // (h * w), index // w % h, index % w), -1)


def chance_loss(localiser: Localiser, first: Tensor, second: Tensor, chance: Tensor) -> float:
    """What the best constant answer reaches on these pairs of moving clips: nothing has been learnt yet.

    Parameters
    ----------
    first, second : Tensor
        (B, K) int64 token numbers of the two sides.
    chance : Tensor
        (B, pairs, 2), as `Localiser.forward` takes it.
    """
    sides = [Side(torch.zeros((*part.shape, 1), device=part.device), part) for part in (first, second)]
    _, place, _, goal = localiser._paired(sides[0], sides[1], chance)
    offset = (place - goal).flatten(0, 1)
    asked = localiser.asked(1, None, offset.device)[0]
    if localiser.config.variant == "axis_ce":
        entropies = []
        for axis, bins in enumerate(localiser.coarse):
            share = offset[:, axis].abs().bincount(minlength=bins).float() / len(offset)
            entropies.append(-(share * share.clamp(min=1e-12).log()).sum())
        each = torch.stack(entropies)
    else:
        target = localiser.target(offset)
        each = (target - target.median(0).values).abs().mean(0)
    return float((each * asked).sum() / asked.sum().clamp(min=1))
