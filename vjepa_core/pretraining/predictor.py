"""Predictor: a narrow transformer that predicts hidden tokens from visible tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vjepa_core.encoder.block import NORM_EPS, Block
from vjepa_core.encoder.rope import Grid, rope_table
from vjepa_core.encoder.sincos import sincos_table
from vjepa_core.pretraining.masks import Masks

_STD = 0.02


class Predictor(nn.Module):
    """Transformer on context tokens and one mask token per hidden position.

    Parameters
    ----------
    in_dim, out_dim : int
        Width of the context tokens and of the targets (all depths concatenated).
    width, depth, heads : int
        Token width, number of blocks and number of attention heads.
    grid : (int, int, int)
        Tokens along time, height and width.
    kinds : int
        Number of kinds of mask; each has its own mask token.
    added_positions : bool
        Add a sine-cosine position embedding to the tokens, in addition to the rotary embedding.
    """

    positions: Tensor

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        width: int,
        depth: int,
        heads: int,
        grid: Grid,
        kinds: int,
        added_positions: bool = False,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.head_dim = width // heads
        self.embed = nn.Linear(in_dim, width)
        self.added = added_positions
        if added_positions:
            self.register_buffer("positions", sincos_table(grid, width)[0], persistent=False)
        # One-dimensional, so that weight decay is not applied.
        self.mask_tokens = nn.ParameterList(nn.Parameter(torch.empty(width)) for _ in range(kinds))
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.proj = nn.Linear(width, out_dim)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=_STD)
                nn.init.zeros_(module.bias)
        for token in self.mask_tokens:
            nn.init.trunc_normal_(token, std=_STD)
        blocks = (module for module in self.blocks if isinstance(module, Block))
        for number, block in enumerate(
            blocks, 1
        ):  # so that the scale of residual sums does not grow with depth
            for last in (block.attn.proj, block.mlp.fc2):
                last.weight.data.div_((2 * number) ** 0.5)

    def forward(self, context: Tensor, masks: Masks, kind: int) -> tuple[Tensor, Tensor]:
        """Predict the tokens at hidden and visible positions.

        Parameters
        ----------
        context : Tensor
            The student's tokens, shape (B, K, in_dim).
        masks : Masks
            Positions of the context tokens and of the targets.
        kind : int
            Index of the kind of mask.

        Returns
        -------
        hidden : Tensor
            Shape (B, M, out_dim).
        visible : Tensor
            Shape (B, K, out_dim).
        """
        visible = self.embed(context)
        n_visible = visible.shape[1]
        mask_tokens = self.mask_tokens[kind].to(visible.dtype).expand(*masks.target.shape, -1)
        tokens = torch.cat((visible, mask_tokens), 1)
        table = rope_table(self.grid, self.head_dim, "interleaved", tokens.device)
        numbers = torch.cat((masks.context, masks.target), 1)
        rope = table[:, numbers]
        if self.added:
            tokens = tokens + self.positions[numbers].to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, rope)
        out: Tensor = self.proj(self.norm(tokens))
        return out[:, n_visible:], out[:, :n_visible]
