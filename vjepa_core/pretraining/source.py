"""Protocols for sources of training clips, and sources from memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class ClipSource(Protocol):
    """Source of clips on the training device.

    Every random choice must use `generator`, and no state may be kept between calls. The loop seeds the
    generator from (seed, step, rank), which makes a resumed run reproducible.
    """

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` clips (n, T, H, W), uint8, on the device of `generator`."""
        ...


@runtime_checkable
class MarkedSource(ClipSource, Protocol):
    """Source that distinguishes moving clips from repeated still images."""

    def marked(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return clips as `batch` does, and True for each clip that moves, (n,) bool."""
        ...


def marked_batch(source: ClipSource, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return clips and their `moving` flags; all True if the source is not a `MarkedSource`."""
    if isinstance(source, MarkedSource):
        return source.marked(n, generator)
    clips = source.batch(n, generator)
    return clips, torch.ones(len(clips), dtype=torch.bool, device=clips.device)


class MemorySource:
    """Source that draws complete clips from memory, with replacement.

    Parameters
    ----------
    clips : Tensor
        Shape (N, T, H, W), uint8, on the training device.
    """

    def __init__(self, clips: Tensor) -> None:
        if clips.dtype != torch.uint8 or clips.ndim != 4 or not len(clips):
            raise ValueError(f"expected clips (N, T, H, W) uint8, got {clips.dtype} {tuple(clips.shape)}")
        self.clips = clips

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` clips; see `ClipSource`."""
        device = self.clips.device
        return self.clips[torch.randint(len(self.clips), (n,), generator=generator, device=device)]


class MixedSource:
    """Mixture of several sources in every batch.

    Systematic sampling is used: a source with weight w gives n w clips, rounded up or down at random, so that
    a source with a small weight is used regularly.

    Parameters
    ----------
    sources : sequence of ClipSource
        The sources.
    weights : sequence of float
        Non-negative weight of each source; they need not sum to 1.
    """

    def __init__(self, sources: Sequence[ClipSource], weights: Sequence[float]) -> None:
        if len(sources) != len(weights) or not sources:
            raise ValueError(f"expected one weight per source, got {len(weights)} for {len(sources)} sources")
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"weights must not be negative and not all zero, got {list(weights)}")
        self.sources = list(sources)
        self._upper = torch.tensor(weights, dtype=torch.float64).cumsum(0) / sum(weights)

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` clips; see `ClipSource`."""
        return self.marked(n, generator)[0]

    def marked(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return `n` clips and their `moving` flags; see `MarkedSource`."""
        offset = torch.rand(1, generator=generator, device=generator.device).item()
        ends = (self._upper * n + offset).floor().long()
        ends[-1] = n  # independent of rounding
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).tolist()
        parts = [marked_batch(s, k, generator) for s, k in zip(self.sources, counts, strict=True) if k > 0]
        return torch.cat([clips for clips, _ in parts]), torch.cat([moving for _, moving in parts])
