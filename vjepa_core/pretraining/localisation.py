"""3D localisation task: predict the distance of two tokens along time, height and width.

The input of an MLP is a pair of the student's tokens. Dr-Loc (Liu et al., NeurIPS 2021, arXiv 2106.03746)
defines this task for the final tokens of an image; here the grid has three axes. Its absolute L1, signed and
cross-entropy variants and its pooling to a coarser grid are options.

The task is useful only if the position of a token cannot be derived from its position embedding. The
option `where` selects the tokens of a pair:

`inside`
    Pairs of tokens of one pass, as in Dr-Loc. Every attention of that pass uses rotary positions, and
    landmarks that all clips share, such as black borders, turn them into absolute positions.
`unplaced`
    Pairs of tokens of an additional pass without position embedding. Positions cannot leak, but the encoder
    is trained in a mode in which it is never used.
`windows`
    Pairs across two passes, each on a window of the clip at a random offset. Rotary attention
    depends on differences of positions only, so a pass over a window at one offset equals a pass over a crop
    of the clip: the position embedding does not contain the offset. It has to be inferred from the image, and
    the encoder runs as in normal use.

With `pairing` "any", the two tokens of a pair are in arbitrary cells of their windows. The target is then the
offset of the windows plus the difference of the two cells, and the cell can be inferred from rotary
attention. With `pairing` "same-cell", both tokens are in the same cell of their windows, so that the target
is the offset only. `unrelated_targets` is a control: the targets are those of other windows with the same
distribution and cannot be learned. Measurements of the leaks are in docs/pretraining.md.
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
    """Options of the localisation task.

    Attributes
    ----------
    variant : {"absolute", "signed", "axis_ce"}
        L1 loss on distances, L1 loss on signed offsets, or one cross-entropy per axis over integer distances.
    where : {"inside", "unplaced", "windows"}
        Tokens that are paired; see the module.
    pairs : int
        Pairs per clip.
    hidden : int
        Width of the MLP's two hidden layers.
    pool : int
        Average tokens over pool x pool positions of the plane before pairing; 1 disables pooling.
    window : float
        Fraction of each axis that a window covers; more than 0.5, so that two windows overlap.
    visible : float
        Fraction of the tokens of a window that are visible.
    pairing : {"any", "same-cell"}
        Pairing of the tokens of two windows. With "same-cell" the target is the offset of the windows, which
        then overlap along every axis.
    unrelated_targets : bool
        Control: use the targets of other random windows.
    vary_windows : bool
        Augment the grey levels of the two windows independently, so that common speckle and haze do not
        reveal the offset.
    ask_time_of_stills : bool
        Include the distance in time for repeated still images, where it cannot be predicted, and the distance
        along axes with a single cell.
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
    """Tokens from which one member of each pair is chosen.

    Attributes
    ----------
    tokens : Tensor
        Shape (B, K, D).
    numbers : Tensor
        Indices of the tokens in the complete clip, shape (B, K), int64.
    """

    tokens: Tensor
    numbers: Tensor


def draw_windows(
    grid: Grid, n: int, generator: torch.Generator, config: LocalisationConfig
) -> tuple[Tensor, Tensor]:
    """Draw two windows per clip at random offsets.

    A random fraction of the tokens of a window is visible; with `pairing` "same-cell" the same cells in both
    windows, in the same order.

    Parameters
    ----------
    grid : (int, int, int)
        Tokens along time, height and width.
    n : int
        Number of clips.
    generator : torch.Generator
        Source of random numbers.
    config : LocalisationConfig
        Options of the task.

    Returns
    -------
    first, second : Tensor
        Indices of the visible tokens in the complete clip, shape (n, K), int64.
    """
    device = generator.device
    _, h, w = grid
    same = config.pairing == "same-cell"
    minimum = [axis // 2 + 1 if same else 1 for axis in grid]
    sides = [
        max(low, min(axis, round(config.window * axis))) for axis, low in zip(grid, minimum, strict=True)
    ]
    ts, hs, ws = (torch.arange(side, device=device) for side in sides)
    cells = ((ts[:, None, None] * h + hs[:, None]) * w + ws).flatten()
    keep = max(2, round(config.visible * len(cells)))
    windows: list[Tensor] = []
    chosen = cells
    for number in range(2):
        start = torch.rand((3, n), generator=generator, device=device)
        room = [axis - side + 1 for axis, side in zip(grid, sides, strict=True)]
        at = [(fraction * positions).long() for fraction, positions in zip(start, room, strict=True)]
        offset = (at[0] * h + at[1]) * w + at[2]
        if not (same and number):
            score = torch.rand((n, len(cells)), generator=generator, device=device)
            chosen = cells[score.topk(min(keep, len(cells)), sorted=False).indices]
        windows.append(chosen + offset[:, None])
    return windows[0], windows[1]


class Localiser(nn.Module):
    """MLP of the localisation task and its loss.

    Parameters
    ----------
    dim : int
        Width of a token.
    grid : (int, int, int)
        Tokens of a complete clip along time, height and width.
    config : LocalisationConfig
        Options of the task.
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
        """Compute the loss: the mean over clips of the mean over pairs and predicted axes.

        Parameters
        ----------
        first, second : Side
            Tokens from which the members of a pair are chosen; may be the same.
        chance : Tensor
            Uniform random numbers in [0, 1) that select the members, shape (B, pairs, 2).
        moving : Tensor, optional
            False for repeated still images, shape (B,), bool. Default: all True.

        Returns
        -------
        Tensor
            Scalar.
        """
        left, start, right, end = self.choose_pairs(first, second, chance)
        offset = start - end
        prediction = self.mlp(torch.cat((left, right), -1)).float()
        if self.config.variant == "axis_ce":
            parts = prediction.split(self.coarse, -1)
            losses = torch.stack(
                [
                    cross_entropy(p.transpose(1, 2), offset[..., i].abs(), reduction="none")
                    for i, p in enumerate(parts)
                ],
                -1,
            )
        else:
            losses = (prediction - self.target(offset)).abs()
        if self.config.ask_time_of_stills:
            return losses.mean()
        weights = self.axis_weights(len(losses), moving, losses.device)
        return ((losses.mean(1) * weights).sum(1) / weights.sum(1).clamp(min=1)).mean()

    def axis_weights(self, n: int, moving: Tensor | None, device: torch.device) -> Tensor:
        """Return 1 for each axis of `n` clips that is predicted, otherwise 0: shape (n, 3), float32."""
        if self.config.ask_time_of_stills:
            return torch.ones((n, 3), device=device)
        weights = torch.tensor([float(side > 1) for side in self.coarse], device=device).repeat(n, 1)
        if moving is not None:
            weights[:, 0] = weights[:, 0] * moving.to(device)
        return weights

    def target(self, offset: Tensor) -> Tensor:
        """Convert offsets (..., 3) in cells to fractions of the clip (..., 3), float32, in -1..1."""
        fractions = [
            part / max(side - 1, 1) for part, side in zip(offset.unbind(-1), self.coarse, strict=True)
        ]
        fraction = torch.stack(fractions, -1).float()
        return fraction if self.config.variant == "signed" else fraction.abs()

    def choose_pairs(
        self, first: Side, second: Side, chance: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Choose the members of the pairs; parameters as in `forward`.

        Returns
        -------
        left, start : Tensor
            Tokens (B, pairs, D) of the first members and their positions (B, pairs, 3), int64, on the coarse
            grid.
        right, end : Tensor
            The same for the second members.
        """
        same = self.config.pairing == "same-cell"  # the tokens of both windows are in the same order
        left, start = self._choose(first, chance[..., 0])
        right, end = self._choose(second, chance[..., 0 if same else 1])
        return left, start, right, end

    def _choose(self, side: Side, chance: Tensor) -> tuple[Tensor, Tensor]:
        """Choose tokens (B, m, D) and return them with their positions (B, m, 3) on the coarse grid."""
        tokens, index = side
        if self.config.pool > 1:
            tokens, index, count = self._pool(tokens, index)
            number = (chance * count[:, None]).long()
        else:
            number = (chance * index.shape[1]).long()
        chosen = tokens.gather(1, number.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        return chosen, grid_positions(index.gather(1, number), self.coarse)

    def _pool(self, tokens: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Average the visible tokens of each coarse cell, with occupied cells first.

        Returns
        -------
        tokens : Tensor
            Means, shape (B, C, D).
        index : Tensor
            Indices of the coarse cells, shape (B, C), int64.
        count : Tensor
            Number of occupied cells, shape (B,).
        """
        b, _, dim = tokens.shape
        t, i, j = grid_positions(index, self.grid).unbind(-1)
        _, h, w = self.coarse
        cell = (t * h + i // self.config.pool) * w + j // self.config.pool
        cells = math.prod(self.coarse)
        total = tokens.new_zeros(b, cells, dim).scatter_add(1, cell.unsqueeze(-1).expand_as(tokens), tokens)
        members = tokens.new_zeros(b, cells).scatter_add(1, cell, tokens.new_ones(cell.shape))
        means = total / members.clamp(min=1).unsqueeze(-1)
        occupied = members > 0
        order = occupied.int().argsort(dim=1, descending=True, stable=True)
        return means.gather(1, order.unsqueeze(-1).expand_as(means)), order, occupied.sum(1)


def grid_positions(index: Tensor, grid: Grid) -> Tensor:
    """Convert token indices (...) to positions (..., 3), int64, along time, height and width."""
    _, h, w = grid
    return torch.stack((index // (h * w), index // w % h, index % w), -1)


def constant_prediction_loss(localiser: Localiser, first: Tensor, second: Tensor, chance: Tensor) -> float:
    """Return the loss of the best constant prediction on pairs of moving clips.

    Parameters
    ----------
    localiser : Localiser
        Defines the task; its weights are not used.
    first, second : Tensor
        Token indices of the two sides, shape (B, K), int64.
    chance : Tensor
        Random numbers as in `Localiser.forward`, shape (B, pairs, 2).
    """
    sides = [Side(torch.zeros((*part.shape, 1), device=part.device), part) for part in (first, second)]
    _, start, _, end = localiser.choose_pairs(sides[0], sides[1], chance)
    offset = (start - end).flatten(0, 1)
    weights = localiser.axis_weights(1, None, offset.device)[0]
    if localiser.config.variant == "axis_ce":
        entropies = []
        for axis, bins in enumerate(localiser.coarse):
            frequency = offset[:, axis].abs().bincount(minlength=bins).float() / len(offset)
            entropies.append(-(frequency * frequency.clamp(min=1e-12).log()).sum())
        losses = torch.stack(entropies)
    else:
        target = localiser.target(offset)
        losses = (target - target.median(0).values).abs().mean(0)
    return float((losses * weights).sum() / weights.sum().clamp(min=1))
