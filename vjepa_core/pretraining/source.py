"""Where clips come from: one small protocol, and the two sources that need no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class ClipSource(Protocol):
    """Makes clips on the training device.

    Every random choice must come from `generator` and nothing may be remembered between calls: the loop
    seeds the generator from (seed, step, rank), and that alone makes a resumed run repeat the killed one.
    """

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` clips, (n, T, H, W) uint8, on the device of `generator`."""
        ...


@runtime_checkable
class MarkedSource(ClipSource, Protocol):
    """A source that knows which of its clips are stills repeated."""

    def marked(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips as `batch` makes them, and which of them move: (n,) bool."""
        ...


def marked_batch(source: ClipSource, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clips, and which of them move; all, where the source does not tell."""
    if isinstance(source, MarkedSource):
        return source.marked(n, generator)
    clips = source.batch(n, generator)
    return clips, torch.ones(len(clips), dtype=torch.bool, device=clips.device)


class MemorySource:
    """Whole clips that lie in memory, drawn with replacement.

    Parameters
    ----------
    clips : Tensor
        (N, T, H, W) uint8, on the training device.
    """

    def __init__(self, clips: Tensor) -> None:
        if clips.dtype != torch.uint8 or clips.ndim != 4 or not len(clips):
            raise ValueError(f"expected clips (N, T, H, W) uint8, got {clips.dtype} {tuple(clips.shape)}")
        self.clips = clips

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        device = self.clips.device
        return self.clips[torch.randint(len(self.clips), (n,), generator=generator, device=device)]


class MixedSource:
    """Several sources, each with its share of every batch.

    Shares are kept by systematic sampling: a source with weight w gives n w clips, rounded up or down at
    random, so that a small share is neither lost nor bunched.

    Parameters
    ----------
    sources : sequence of ClipSource
    weights : sequence of float
        Not negative, one a source; only their ratios count.
    """

    def __init__(self, sources: Sequence[ClipSource], weights: Sequence[float]) -> None:
        if len(sources) != len(weights) or not sources:
            raise ValueError(f"{len(sources)} sources and {len(weights)} weights: one weight a source")
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"weights must not be negative and not all zero, got {list(weights)}")
        self.sources = list(sources)
        self._upper = torch.tensor(weights, dtype=torch.float64).cumsum(0) / sum(weights)

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        return self.marked(n, generator)[0]

    def marked(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        offset = torch.rand(1, generator=generator, device=generator.device).item()
        ends = (self._upper * n + offset).floor().long()
        ends[-1] = n  # whatever the rounding of the last sum
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).tolist()
        parts = [marked_batch(s, k, generator) for s, k in zip(self.sources, counts, strict=True) if k > 0]
        return torch.cat([clips for clips, _ in parts]), torch.cat([moving for _, moving in parts])
