"""What is where: dense supervision from clips whose every pixel is known, which only the phantom has.

No human label is in it. A linear layer reads the student's tokens of an unmasked clip and says which share of
each small cell every structure covers. The layer is thrown away with the predictor; what stays is an encoder
whose tokens have had to tell structures apart.
"""

from __future__ import annotations

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
"""Background, LV cavity, myocardium, left atrium: the phantom's label values."""
CELLS = 4
"""Cells along each side of a token's patch."""


class LabelledSource(Protocol):
    """Makes clips and their label images on the training device; rules as for `ClipSource`."""

    def labelled(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips and labels, each (N, T, H, W) uint8; labels 0..3.

        As many frames as `n` clips of the run's length have: N is larger where T is smaller.
        """
        ...


class PhantomTruth:
    """Phantom clips, cropped and varied like real ones, with their labels.

    Parameters
    ----------
    source : PhantomSource
        Its clips are the longest.
    lengths : sequence of int
        Frames of the clips, drawn once a call; default those of `source`. An encoder that is shown single
        stills as well as cines has to know structures in short clips too.
    augment : Augment, optional
        Default: the ultrasound augmentations at their usual strength.
    scale, degrees
        Of the random crop, see `crop_affine`.
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
        source = self.sources[0]
        if len(self.sources) > 1:
            chosen = torch.randint(len(self.sources), (1,), generator=generator, device=generator.device)
            source = self.sources[int(chosen)]
        n = n * self.longest // source.frames
        made = source.labelled(n, generator)
        theta = crop_affine(n, generator, made.frames.device, scale=self.scale, degrees=self.degrees)
        size = made.frames.shape[-1]
        clips = self.augment(resample(made.frames, theta, size), generator)
        grid = functional.affine_grid(theta, [n, 1, size, size], align_corners=False)
        labels = functional.grid_sample(made.masks.float(), grid, mode="nearest", align_corners=False)
        return clips, labels.to(torch.uint8)


def labelled_source(config: PretrainConfig, device: torch.device) -> LabelledSource | None:
    """The labelled clips that a configuration asks for, or none."""
    if not config.truth.peak:
        return None
    longest = PhantomSource(config.frames, config.size, device)
    return PhantomTruth(longest, lengths=config.truth_frames)


def with_phantom(own: ClipSource, config: PretrainConfig, device: torch.device) -> ClipSource:
    """`own` with the share of unlabelled phantom clips that a configuration asks for."""
    if not config.phantom:
        return own
    phantom = PhantomSource(config.frames, config.size, device)
    return MixedSource([own, phantom], [1 - config.phantom, config.phantom])


class TruthHead(nn.Module):
    """The linear layer and its loss.

    Parameters
    ----------
    dim : int
        Width of the tokens, of all depths side by side.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, CELLS * CELLS * CLASSES)

    def forward(self, levels: Sequence[Tensor], labels: Tensor, grid: Grid) -> Tensor:
        """Mean cross-entropy, in nats, between the answer and the share that each class has of a cell.

        Parameters
        ----------
        levels : sequence of Tensor
            (B, N, D) each: tokens of whole clips.
        labels : Tensor
            (B, T, H, W) uint8.
        grid : (int, int, int)
            Of the tokens.
        """
        logits = self.proj(torch.cat(list(levels), -1)).float().unflatten(-1, (CELLS * CELLS, CLASSES))
        return -(shares(labels, grid) * logits.log_softmax(-1)).sum(-1).mean()


def shares(labels: Tensor, grid: Grid) -> Tensor:
    """Share of every class in every cell: (B, T, H, W) uint8 to (B, N, cells a token, classes) float32."""
    b, t, h, w = labels.shape
    of = (t // grid[0], h // grid[1] // CELLS, w // grid[2] // CELLS)
    split = labels.view(b, grid[0], of[0], grid[1], CELLS, of[1], grid[2], CELLS, of[2])
    cells = split.permute(0, 1, 3, 6, 4, 7, 2, 5, 8).reshape(b, -1, CELLS * CELLS, of[0] * of[1] * of[2])
    return torch.stack([(cells == k).float().mean(-1) for k in range(CLASSES)], -1)
