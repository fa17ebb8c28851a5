"""Dense supervision with the labels of phantom clips.

No human label is used. A linear layer predicts, from the student's tokens of an unmasked clip, the fraction
of each small cell that every structure covers. The layer is discarded after training, like the predictor. Its
purpose is an encoder whose tokens distinguish the structures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from vjepa_core.encoder.rope import Grid
from vjepa_core.phantom import PhantomSource
from vjepa_core.pretraining.augment import Augment
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.sampling import crop_affine, resample
from vjepa_core.pretraining.source import ClipSource, MixedSource

CLASSES = 4
"""Number of label values of the phantom: background, LV cavity, myocardium, left atrium."""
CELLS = 4
"""Cells along each side of a token's patch."""


class LabelledSource(Protocol):
    """Source of clips and label images on the training device; see also the rules of `ClipSource`."""

    def labelled(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return clips and labels 0..3, each (N, T, H, W) uint8.

        The number of frames is that of `n` clips of the run's length: N is larger if T is smaller.
        """
        ...


class LabelledPhantoms:
    """Phantom clips with their labels, cropped and augmented like real clips.

    Parameters
    ----------
    source : PhantomSource
        Source of the longest clips.
    lengths : sequence of int
        Possible numbers of frames, one drawn per call; default: that of `source`. Short clips are needed for
        an encoder that is also used on still images.
    augment : Augment, optional
        Default: the ultrasound augmentations at their default strength.
    scale, degrees
        Parameters of the random crop; see `crop_affine`.
    """

    def __init__(
        self,
        source: PhantomSource,
        *,
        lengths: Sequence[int] = (),
        augment: Augment | None = None,
        scale: tuple[float, float] = (0.6, 1.0),
        degrees: float = 15.0,
    ) -> None:
        self.sources = [
            replace(source, frames=t, chunk=source.chunk * source.frames // t)
            for t in lengths or (source.frames,)
        ]
        self.longest, self.scale, self.degrees = source.frames, scale, degrees
        self.augment = Augment() if augment is None else augment

    def labelled(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return clips and labels; see `LabelledSource`."""
        source = self.sources[0]
        if len(self.sources) > 1:
            chosen = torch.randint(len(self.sources), (1,), generator=generator, device=generator.device)
            source = self.sources[int(chosen)]
        n = n * self.longest // source.frames
        phantoms = source.labelled(n, generator)
        theta = crop_affine(n, generator, phantoms.frames.device, scale=self.scale, degrees=self.degrees)
        size = phantoms.frames.shape[-1]
        clips = self.augment(resample(phantoms.frames, theta, size), generator)
        grid = functional.affine_grid(theta, [n, 1, size, size], align_corners=False)
        labels = functional.grid_sample(phantoms.masks.float(), grid, mode="nearest", align_corners=False)
        return clips, labels.to(torch.uint8)


def labelled_source(config: PretrainConfig, device: torch.device) -> LabelledSource | None:
    """Return the source of labelled clips for a configuration, or None if it has no weight for them."""
    if not config.truth.peak:
        return None
    longest = PhantomSource(config.frames, config.size, device)
    return LabelledPhantoms(longest, lengths=config.truth_frames)


def with_phantom(source: ClipSource, config: PretrainConfig, device: torch.device) -> ClipSource:
    """Mix `source` with the configured fraction of unlabelled phantom clips."""
    if not config.phantom:
        return source
    phantom = PhantomSource(config.frames, config.size, device)
    return MixedSource([source, phantom], [1 - config.phantom, config.phantom])


class DenseLabelHead(nn.Module):
    """Linear layer that predicts cell labels, and its loss.

    Parameters
    ----------
    dim : int
        Width of the concatenated tokens of all depths.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, CELLS * CELLS * CLASSES)

    def forward(self, levels: Sequence[Tensor], labels: Tensor, grid: Grid) -> Tensor:
        """Compute the mean cross-entropy in nats between predicted and true class fractions of the cells.

        Parameters
        ----------
        levels : sequence of Tensor
            Tokens of complete clips at each depth, shape (B, N, D).
        labels : Tensor
            Label images, shape (B, T, H, W), uint8.
        grid : (int, int, int)
            Grid of the tokens.

        Returns
        -------
        Tensor
            Scalar.
        """
        logits = self.proj(torch.cat(list(levels), -1)).float().unflatten(-1, (CELLS * CELLS, CLASSES))
        loss: Tensor = -(class_fractions(labels, grid) * logits.log_softmax(-1)).sum(-1).mean()
        return loss


def class_fractions(labels: Tensor, grid: Grid) -> Tensor:
    """Compute the fraction of every class in every cell.

    Parameters
    ----------
    labels : Tensor
        Shape (B, T, H, W), uint8.
    grid : (int, int, int)
        Grid of the N tokens.

    Returns
    -------
    Tensor
        Shape (B, N, cells per token, classes), float32.
    """
    b, t, h, w = labels.shape
    size = (t // grid[0], h // grid[1] // CELLS, w // grid[2] // CELLS)
    split = labels.view(b, grid[0], size[0], grid[1], CELLS, size[1], grid[2], CELLS, size[2])
    cells = split.permute(0, 1, 3, 6, 4, 7, 2, 5, 8).reshape(b, -1, CELLS * CELLS, math.prod(size))
    return torch.stack([(cells == k).float().mean(-1) for k in range(CLASSES)], -1)
