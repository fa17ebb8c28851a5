"""Multi-block tube masks, generated for a whole batch on the training device.

Numbers of blocks, scales and aspect ratios are those of V-JEPA (Bardes et al., 2024: short-range 8 blocks of
0.15, long-range 2 of 0.7, aspect 0.75 to 1.5, all frames). In V-JEPA, the number of tokens is that of the
smallest mask of a batch. This number changes at every step, requires synchronisation with the device, and
leaves few visible tokens in a large batch. Here the number of tokens is fixed when the sampler is created.
Each clip uses the first of a few candidate masks that is large enough, and excess tokens are dropped at
random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vjepa_core.encoder.rope import Grid

_CANDIDATES = 4
_QUANTILE = 0.1  # fraction of the masks of a kind that are too small for the fixed numbers of tokens
_TRIALS = 4096
_MULTIPLE = 8  # numbers of tokens for which attention kernels are fast


@dataclass(frozen=True)
class BlockMask:
    """Kind of mask, which is the union of random boxes.

    Attributes
    ----------
    blocks : int
        Number of boxes.
    scale : float
        Fraction of the height-width plane that one box covers.
    aspect : (float, float)
        Range of height divided by width, log-uniform.
    temporal_scale : float
        Fraction of the time axis that a box covers; 1 is a tube.
    min_visible : int
        Minimum number of visible tokens, at most an eighth of all. On a small grid, the boxes alone may leave
        hardly any visible tokens.
    """

    blocks: int
    scale: float
    aspect: tuple[float, float] = (0.75, 1.5)
    temporal_scale: float = 1.0
    min_visible: int = 0


SHORT_RANGE = BlockMask(blocks=8, scale=0.15)
LONG_RANGE = BlockMask(blocks=2, scale=0.7, min_visible=24)


def random_tubes(grid: Grid, share: float = 0.9) -> BlockMask:
    """Return VideoMAE's kind of mask: random positions of the plane, hidden in all frames.

    Positions are drawn with replacement, so that a fraction `share` of them is hidden on average.
    """
    positions = grid[1] * grid[2]
    blocks = round(math.log(1 - share) / math.log(1 - 1 / positions))
    return BlockMask(blocks=blocks, scale=1 / positions, aspect=(1.0, 1.0))


class Masks(NamedTuple):
    """Disjoint sets of token indices, ordered by time, height, width.

    Attributes
    ----------
    context : Tensor
        Tokens visible to the student, shape (B, K), int64.
    target : Tensor
        Tokens to predict, shape (B, M), int64.
    """

    context: Tensor
    target: Tensor


class MaskSampler:
    """Draws masks of each kind for a batch of clips.

    Parameters
    ----------
    grid : (int, int, int)
        Tokens along time, height and width.
    kinds : sequence of BlockMask
        Kinds of mask; each gives one `Masks`.
    target_share : float
        Fraction of the masked tokens that is predicted, chosen at random; a smaller fraction is faster.
    """

    def __init__(
        self,
        grid: Grid,
        kinds: Sequence[BlockMask] = (SHORT_RANGE, LONG_RANGE),
        *,
        target_share: float = 1.0,
    ) -> None:
        if math.prod(grid) < 4 or min(grid) < 1:
            raise ValueError(f"a grid of {grid} tokens is too small for masking")
        if not kinds or not 0 < target_share <= 1:
            raise ValueError("at least one kind of mask and a target_share in (0, 1] are required")
        self.grid = grid
        self.kinds = tuple(kinds)
        self.lengths = tuple(self._lengths(kind, target_share) for kind in self.kinds)

    def __call__(self, n: int, generator: torch.Generator) -> list[Masks]:
        """Draw masks of each kind for `n` clips on the generator's device, without synchronisation."""
        return [
            self._draw(kind, *sizes, n, generator)
            for kind, sizes in zip(self.kinds, self.lengths, strict=True)
        ]

    def _lengths(self, kind: BlockMask, target_share: float) -> tuple[int, int]:
        """Choose the numbers of tokens (K, M) from the distribution of the masks of this kind."""
        tokens = math.prod(self.grid)
        trial = torch.Generator().manual_seed(0)  # the same on every machine and rank
        masked = self._masked(kind, (_TRIALS,), trial).flatten(1).sum(1).float()
        context = _rounded(tokens - masked.quantile(1 - _QUANTILE).item())
        context = max(context, min(kind.min_visible, tokens // 8))
        target = _rounded(masked.quantile(_QUANTILE).item() * target_share)
        return context, min(target, tokens - context)

    def _masked(self, kind: BlockMask, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw the hidden tokens: (*shape, T', H', W'), bool."""
        t, h, w = self.grid

        def rand() -> Tensor:
            return torch.rand((*shape, kind.blocks), generator=generator, device=generator.device)

        low, high = (math.log(ratio) for ratio in kind.aspect)
        stretch = (low + (high - low) * rand()).exp().sqrt()
        area = kind.scale * h * w
        sides = (
            torch.full_like(stretch, max(1, round(kind.temporal_scale * t))),
            (math.sqrt(area) * stretch).round().clamp(1, h),
            (math.sqrt(area) / stretch).round().clamp(1, w),
        )
        inside = []
        for length, side in zip(self.grid, sides, strict=True):
            start = (rand() * (length - side + 1)).floor().unsqueeze(-1)
            position = torch.arange(length, device=generator.device)
            inside.append((position >= start) & (position < start + side.unsqueeze(-1)))
        # A token is hidden if at least one box contains it on all three axes.
        ts, hs, ws = (part.float() for part in inside)
        return torch.einsum("...kt,...kh,...kw->...thw", ts, hs, ws) > 0.5

    def _draw(self, kind: BlockMask, context: int, target: int, n: int, generator: torch.Generator) -> Masks:
        hidden = self._masked(kind, (n, _CANDIDATES), generator).flatten(2)
        count = hidden.sum(-1)
        fits = (count >= target) & (hidden.shape[-1] - count >= context)
        first = fits.int().argmax(-1)  # the first that fits, or candidate 0
        chosen = hidden[torch.arange(n, device=hidden.device), first].float()
        # Allowed tokens score 1 to 2, others 0 to 1: the highest scores are a random choice of allowed
        # tokens, completed with others in the rare clips that have too few. The two sets stay disjoint.
        score = torch.rand((2, *chosen.shape), generator=generator, device=chosen.device)
        visible = (score[0] + 1 - chosen).topk(context, sorted=False).indices
        goal = (score[1] + chosen).scatter(1, visible, -1.0)
        return Masks(visible, goal.topk(target, sorted=False).indices)


def _rounded(count: float) -> int:
    whole = max(1, int(count))
    return whole // _MULTIPLE * _MULTIPLE if whole >= 4 * _MULTIPLE else whole
