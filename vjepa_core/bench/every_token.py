"""The peer of the training loop: the same model, data and terms, but every token goes through the student.

That is what a plain loop does: encode whole clips, put the mask token in the place of what is hidden, and
take the loss at those places. It has one kind of mask, so that a clip goes through it once, while ours has
two: the comparison errs in the peer's favour. It is here for its cost alone: its student sees what it is to
predict, which changes no shape and no time.
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
    """The same run with one kind of mask, so that a clip is encoded and predicted once, not once a kind."""
    return replace(config, masks=config.masks[:1])


def drop_no_token(objective: Objective) -> None:
    """Change an objective into the peer's; weights stay what they are."""
    objective.sampler = _AllVisible(objective.sampler)
    objective.predictor.__class__ = _InPlacePredictor


class _AllVisible(MaskSampler):
    """Hidden places as before; the student sees all."""

    def __init__(self, sampler: MaskSampler) -> None:
        self._sampler = sampler

    def __call__(self, n: int, generator: torch.Generator) -> list[Masks]:
        t, h, w = self._sampler.grid
        all_tokens = torch.arange(t * h * w, device=generator.device).expand(n, -1)
        return [Masks(all_tokens, masks.target) for masks in self._sampler(n, generator)]


class _InPlacePredictor(Predictor):
    """Mask tokens stand in the row of all tokens, not behind the visible ones."""

    def forward(self, context: Tensor, masks: Masks, kind: int) -> tuple[Tensor, Tensor]:
        tokens = self.embed(context)
        width = tokens.shape[-1]
        blank = self.mask_tokens[kind].to(tokens.dtype).expand(*masks.target.shape, -1)
        tokens = tokens.scatter(1, masks.target.unsqueeze(-1).expand(-1, -1, width), blank)
        rope = rope_table(self.grid, self.head_dim, "interleaved", tokens.device)
        for block in self.blocks:
            tokens = block(tokens, rope)
        out: Tensor = self.proj(self.norm(tokens))
        at_hidden = out.gather(1, masks.target.unsqueeze(-1).expand(-1, -1, out.shape[-1]))
        return at_hidden, out
