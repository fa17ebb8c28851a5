"""Multi-block tube masks, made for a whole batch at once on the training device.

Numbers of blocks, scales and aspect ratios are V-JEPA's (Bardes et al., 2024: short-range 8 blocks of 0.15,
long-range 2 of 0.7, aspect 0.75 to 1.5, all of the time). Ours is how the lists get one length. A length
taken from the batch's worst sample changes at every step, needs the device's answer, and with a large batch
leaves nearly nothing to see. Here the lengths are fixed when the sampler is made; of a few candidate masks a
clip takes the first that is large enough, and what is too much is dropped at random, never in raster order,
which would always drop the same end of the clip.
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
_QUANTILE = 0.1  # of the masks of a kind that are too small for the fixed lengths
_TRIALS = 4096
_MULTIPLE = 8  # list lengths that attention kernels like


@dataclass(frozen=True)
class BlockMask:
    """One kind of mask: the union of a few boxes.

    Attributes
    ----------
    blocks : int
        Number of boxes.
    scale : float
        Share of the height-width plane that one box covers.
    aspect : (float, float)
        Range of height over width, uniform in its logarithm.
    temporal_scale : float
        Share of the time axis that a box covers; 1 is a tube.
    min_visible : int
        Fewest tokens that stay visible, but at most an eighth of all. On a small grid the boxes alone may
        leave next to nothing to predict from.
    """

    blocks: int
    scale: float
    aspect: tuple[float, float] = (0.75, 1.5)
    temporal_scale: float = 1.0
    min_visible: int = 0


SHORT_RANGE = BlockMask(blocks=8, scale=0.15)
LONG_RANGE = BlockMask(blocks=2, scale=0.7, min_visible=24)


def random_tubes(grid: Grid, share: float = 0.9) -> BlockMask:
    """VideoMAE's mask: single places of the plane, hidden at random for all of the time.

    Places are drawn with replacement, so that `share` of them is hidden on average.
    """
    places = grid[1] * grid[2]
    blocks = round(math.log(1 - share) / math.log(1 - 1 / places))
    return BlockMask(blocks=blocks, scale=1 / places, aspect=(1.0, 1.0))


class Masks(NamedTuple):
    """Token numbers in the order time, height, width; no token is in both lists.

    Attributes
    ----------
    context : Tensor
        (B, K) int64: what the student sees.
    target : Tensor
        (B, M) int64: what is predicted.
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
        One `Masks` a kind.
    target_share : float
        Share of the masked tokens that is predicted, chosen at random; less is faster.
    """

    def __init__(
        self,
        grid: Grid,
        kinds: Sequence[BlockMask] = (SHORT_RANGE, LONG_RANGE),
        *,
        target_share: float = 1.0,
    ) -> None:
        if math.prod(grid) < 4 or min(grid) < 1:
            raise ValueError(f"a grid of {grid} tokens is too small to hide some and show others")
        if not kinds or not 0 < target_share <= 1:
            raise ValueError("at least one kind of mask, and a target_share in (0, 1]")
        self.grid = grid
        self.kinds = tuple(kinds)
        self.lengths = tuple(self._lengths(kind, target_share) for kind in self.kinds)

    def __call__(self, n: int, generator: torch.Generator) -> list[Masks]:
        """Masks of each kind for `n` clips, on the generator's device; nothing waits for that device."""
        return [
            self._draw(kind, *sizes, n, generator)
            for kind, sizes in zip(self.kinds, self.lengths, strict=True)
        ]

    def _lengths(self, kind: BlockMask, target_share: float) -> tuple[int, int]:
        """Lengths (K, M) of the lists, from the spread of the masks of this kind."""
        tokens = math.prod(self.grid)
        trial = torch.Generator().manual_seed(0)  # the same on every machine and rank
        masked = self._masked(kind, (_TRIALS,), trial).flatten(1).sum(1).float()
        context = _rounded(tokens - masked.quantile(1 - _QUANTILE).item())
        context = max(context, min(kind.min_visible, tokens // 8))
        target = _rounded(masked.quantile(_QUANTILE).item() * target_share)
        return context, min(target, tokens - context)

    def _masked(self, kind: BlockMask, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Which tokens are hidden: (*shape, T', H', W') bool."""
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
            place = torch.arange(length, device=generator.device)
            inside.append((place >= start) & (place < start + side.unsqueeze(-1)))
        # An einsum over blocks: a token is hidden if some box holds it on all three axes.
        ts, hs, ws = (part.float() for part in inside)
        return torch.einsum("...kt,...kh,...kw->...thw", ts, hs, ws) > 0.5

    def _draw(self, kind: BlockMask, context: int, target: int, n: int, generator: torch.Generator) -> Masks:
        hidden = self._masked(kind, (n, _CANDIDATES), generator).flatten(2)
        count = hidden.sum(-1)
        fits = (count >= target) & (hidden.shape[-1] - count >= context)
        first = fits.int().argmax(-1)  # the first that fits, or candidate 0 if none does
        chosen = hidden[torch.arange(n, device=hidden.device), first].float()
        # Allowed tokens score 1 to 2, others 0 to 1: the top is a random choice among the allowed ones, and
        # in the rare clip that has too few it is filled up with others, still never in both lists.
        score = torch.rand((2, *chosen.shape), generator=generator, device=chosen.device)
        visible = (score[0] + 1 - chosen).topk(context, sorted=False).indices
        goal = (score[1] + chosen).scatter(1, visible, -1.0)
        return Masks(visible, goal.topk(target, sorted=False).indices)


def _rounded(count: float) -> int:
    whole = max(1, int(count))
    return whole // _MULTIPLE * _MULTIPLE if whole >= 4 * _MULTIPLE else whole
