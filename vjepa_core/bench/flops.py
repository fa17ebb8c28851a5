"""Floating-point operations of one clip in a training step, computed from the configuration.

Only the matrix products of patch embedding, attention, MLPs and heads are counted, with two operations for
each multiply-add. The backward pass costs twice the forward pass, once for weights and once for inputs; the
patch embedding needs no gradient of its inputs. Recomputation in kernels, norms, rotations, augmentation, the
phantom and the optimiser are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.build import build_objective
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.predictor import Predictor

_CHANNELS = 3  # equal channels, which are folded into one in training


@dataclass(frozen=True)
class ClipFlops:
    """Operations per clip, forward and backward.

    Attributes
    ----------
    teacher : int
        Teacher on all tokens, forward only.
    student : int
        Student on the visible tokens of each kind of mask.
    predictor : int
        Predictor on visible and hidden tokens.
    localisation : int
        Additional passes of the localisation task, and its MLP.
    truth : int
        Labelled clips, per unlabelled clip.
    """

    teacher: int
    student: int
    predictor: int
    localisation: int
    truth: int

    def parts(self) -> dict[str, int]:
        """Return the operations of each part by name."""
        return asdict(self)

    @property
    def total(self) -> int:
        """Total number of operations."""
        return sum(self.parts().values())


def clip_flops(config: PretrainConfig, *, every_token: bool = False) -> ClipFlops:
    """Count the operations of one clip.

    Parameters
    ----------
    config : PretrainConfig
        Configuration of the run.
    every_token : bool
        Count for the peer that encodes every token; requires the configuration of the peer.
    """
    with torch.device("meta"):  # shapes without weights
        student = create_encoder(config.architecture)
    objective = build_objective(student, config)
    clip = torch.empty((1, config.frames, config.size, config.size), dtype=torch.uint8)
    batch = objective.draw(clip, torch.Generator())
    t, h, w = config.grid
    tokens = t * h * w
    lists = [(masks.context.shape[1], masks.target.shape[1]) for masks in batch.masks]
    if every_token:
        lists = [(tokens, 0) for _ in lists]

    own_passes: list[int] = []
    if objective.localiser is not None and config.localisation.where == "windows":
        own_passes = [window.shape[1] for window in batch.windows]
    elif objective.localiser is not None and config.localisation.where == "unplaced":
        own_passes = [lists[0][0]]
    pairings = len(lists) if config.localisation.where == "inside" else 1
    localisation = sum(_trained(student, visible) for visible in own_passes)
    if objective.localiser is not None:
        localisation += 3 * pairings * config.localisation.pairs * _per_row(objective.localiser.parameters())

    truth = 0
    if objective.truth is not None:
        lengths = config.truth_frames or (config.frames,)
        # The number of frames is the same for all lengths, but attention costs more in longer clips.
        each = [_trained(student, tokens * t // config.frames) * config.frames // t for t in lengths]
        linear = 3 * tokens * _per_row(objective.truth.parameters())
        truth = round(config.truth_share * (sum(each) / len(each) + linear))
    return ClipFlops(
        teacher=_patches(student, tokens) + _blocks(student.blocks, tokens, student.embed_dim),
        student=sum(_trained(student, visible) for visible, _ in lists),
        predictor=sum(_predictor(objective.predictor, visible, hidden) for visible, hidden in lists),
        localisation=localisation,
        truth=truth,
    )


def _per_row(parameters: Iterable[nn.Parameter]) -> int:
    """Return the operations of linear layers for one row."""
    return 2 * sum(p.numel() for p in parameters if p.ndim > 1)


def _patches(encoder: VisionTransformer3D, tokens: int) -> int:
    return tokens * _per_row(encoder.patch_embed.parameters()) // _CHANNELS


def _blocks(blocks: nn.ModuleList, tokens: int, width: int) -> int:
    """Return the operations of linear layers and attention products in the blocks."""
    return tokens * _per_row(blocks.parameters()) + len(blocks) * 4 * tokens**2 * width


def _trained(encoder: VisionTransformer3D, tokens: int) -> int:
    return 2 * _patches(encoder, tokens) + 3 * _blocks(encoder.blocks, tokens, encoder.embed_dim)


def _predictor(predictor: Predictor, visible: int, hidden: int) -> int:
    tokens = visible + hidden
    ends = visible * _per_row(predictor.embed.parameters()) + tokens * _per_row(predictor.proj.parameters())
    return 3 * (ends + _blocks(predictor.blocks, tokens, predictor.norm.normalized_shape[0]))
