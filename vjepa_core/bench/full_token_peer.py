"""Peer of the training loop for speed comparison, in which the student encodes every token.

A simple training loop encodes complete clips, replaces hidden tokens by mask tokens, and computes the loss at
hidden positions. The peer has one kind of mask, so that a clip is encoded once, while ours has two: the
comparison favours the peer. Only its speed is of interest: its student sees the targets, which does not
change shapes or time.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vjepa_core.encoder.rope import rope_table
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.masks import Masks, MaskSampler
from vjepa_core.pretraining.objective import Objective
from vjepa_core.pretraining.predictor import Predictor


def every_token_config(config: PretrainConfig) -> PretrainConfig:
    """Return the configuration with one kind of mask, so that a clip is encoded and predicted once."""
    return replace(config, masks=config.masks[:1])


def use_every_token(objective: Objective) -> None:
    """Change an objective into that of the peer, with the same weights."""
    objective.sampler = _AllVisible(objective.sampler)
    objective.predictor.__class__ = _InPlacePredictor


class _AllVisible(MaskSampler):
    """Sampler with the same hidden tokens but all tokens visible to the student."""

    def __init__(self, sampler: MaskSampler) -> None:
        self._sampler = sampler

    def __call__(self, n: int, generator: torch.Generator) -> list[Masks]:
        t, h, w = self._sampler.grid
        all_tokens = torch.arange(t * h * w, device=generator.device).expand(n, -1)
        return [Masks(all_tokens, masks.target) for masks in self._sampler(n, generator)]


class _InPlacePredictor(Predictor):
    """Predictor whose mask tokens replace the hidden tokens instead of being appended."""

    def forward(self, context: Tensor, masks: Masks, kind: int) -> tuple[Tensor, Tensor]:
        tokens = self.embed(context)
        width = tokens.shape[-1]
        mask_tokens = self.mask_tokens[kind].to(tokens.dtype).expand(*masks.target.shape, -1)
        tokens = tokens.scatter(1, masks.target.unsqueeze(-1).expand(-1, -1, width), mask_tokens)
        rope = rope_table(self.grid, self.head_dim, "interleaved", tokens.device)
        for block in self.blocks:
            tokens = block(tokens, rope)
        out: Tensor = self.proj(self.norm(tokens))
        at_hidden = out.gather(1, masks.target.unsqueeze(-1).expand(-1, -1, out.shape[-1]))
        return at_hidden, out
