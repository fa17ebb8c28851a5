"""The video vision transformer of the V-JEPA family."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vjepa_core.encoder.architecture import Architecture, default_depths
from vjepa_core.encoder.block import NORM_EPS, Block
from vjepa_core.encoder.patch_embed import PatchEmbed3D
from vjepa_core.encoder.rope import Grid, Rope, rope_table
from vjepa_core.encoder.sincos import resized, sincos_table

SINCOS_FRAMES = 16
"""Frames of the clips that V-JEPA 1 was trained on, for which its table is stored."""


class VisionTransformer3D(nn.Module):
    """Clips to tokens in the order time, height, width.

    Parameter names are those of the V-JEPA state dicts. Matrices may be of another, lower precision than
    the rest (see `vjepa_core.encoder.precision`): tokens and norms stay in float32.

    Parameters
    ----------
    architecture : Architecture
        Size and form. The 2.1 form has `video_mod_embed`, `img_mod_embed`, `patch_embed_img` (one frame) and
        `norms_block`; the others have a single last `norm`, V-JEPA 1 a buffer `pos_embed`.
    """

    pos_embed: Tensor | None

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        dim = architecture.embed_dim
        self.embed_dim = dim
        self.num_heads = architecture.num_heads
        self.patch_size = architecture.patch_size
        self.tubelet_size = architecture.tubelet_size
        self.v21 = architecture.form == "vjepa21"
        self.rope: Rope = "interleaved" if self.v21 else "tiled"
        self.depths = default_depths(architecture.depth)
        self.patch_embed = PatchEmbed3D(dim, self.patch_size, self.tubelet_size)
        if self.v21:
            self.patch_embed_img = PatchEmbed3D(dim, self.patch_size, 1)
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, dim))
        side = architecture.image_size // self.patch_size
        self.stored_grid = (SINCOS_FRAMES // self.tubelet_size, side, side)
        table = sincos_table(self.stored_grid, dim) if architecture.form == "vjepa1" else None
        self.register_buffer("pos_embed", table)
        self.blocks = nn.ModuleList(
            Block(dim, self.num_heads, architecture.mlp_dim) for _ in range(architecture.depth)
        )
        if self.v21:
            self.norms_block = nn.ModuleList(nn.LayerNorm(dim, eps=NORM_EPS) for _ in self.depths)
        else:
            self.norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_features(x)

    def forward_features(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Normalised tokens of the last block.

        Parameters
        ----------
        x : Tensor
            (B, 3, T, H, W), normalised pixels.
        keep : Tensor, optional
            (B, K) int64: token numbers that are seen. The others are dropped before the first block; those
            that stay keep their positions.

        Returns
        -------
        Tensor
            (B, N, D), or (B, K, D) with `keep`.
        """
        tokens, rope = self._embed(x, keep)
        for block in self.blocks:
            tokens = block(tokens, rope)
        return self._norm_at(len(self.blocks) - 1)(tokens)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Sequence[int] | None = None,
        *,
        norm: bool = True,
        intermediates_only: bool = True,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Tokens after chosen blocks, as grids; blocks behind the deepest are not run if nobody asks.

        Parameters
        ----------
        x : Tensor
            (B, 3, T, H, W), normalised pixels.
        indices : sequence of int, optional
            Blocks to read, counted from 0; default `self.depths`.
        norm : bool
            Apply the norm of each depth; in the 2.1 form only `self.depths` have one.
        intermediates_only : bool
            False also returns `forward_features`' tokens, first.

        Returns
        -------
        list of Tensor
            One (B, T', H', W', D) for each index, in the order of `indices`.

        Raises
        ------
        ValueError
            For a block that does not exist or has no norm.
        """
        wanted = tuple(self.depths if indices is None else indices)
        last = len(self.blocks) - 1
        unknown = [i for i in wanted if not 0 <= i <= last or (norm and self.v21 and i not in self.depths)]
        if unknown or not wanted:
            raise ValueError(f"no features after blocks {unknown}; this encoder has {self.depths}")
        t, h, w = self._patches(x).grid(x)
        tokens, rope = self._embed(x, None)
        taken: dict[int, Tensor] = {}
        for i, block in enumerate(self.blocks):
            if i > max(wanted) and intermediates_only:
                break
            tokens = block(tokens, rope)
            if i in wanted:
                taken[i] = (self._norm_at(i)(tokens) if norm else tokens).unflatten(1, (t, h, w))
        grids = [taken[i] for i in wanted]
        return grids if intermediates_only else (self._norm_at(last)(tokens), grids)

    def _patches(self, x: Tensor) -> PatchEmbed3D:
        return self.patch_embed_img if self.v21 and x.shape[2] == 1 else self.patch_embed

    def _embed(self, x: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens before the first block, and the rotary table that goes with them."""
        patches = self._patches(x)
        tokens: Tensor = patches(x).float()
        if self.v21:
            tokens = tokens + (
                self.img_mod_embed if patches is self.patch_embed_img else self.video_mod_embed
            )
        if keep is not None:
            tokens = tokens.gather(1, keep.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        return self.place(tokens, patches.grid(x), keep)

    def place(self, tokens: Tensor, grid: Grid, keep: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Tell tokens where they are: by what is added to them, or by a table that turns queries and keys.

        Parameters
        ----------
        tokens : Tensor
            (B, N, D), or (B, K, D) with `keep`.
        grid : (int, int, int)
            Of all tokens.
        keep : Tensor, optional
            (B, K) int64: numbers of the tokens that are there.

        Returns
        -------
        tokens, rope
            What the first block takes, and the table for all blocks; None where there is none.
        """
        if self.pos_embed is not None:
            table = resized(self.pos_embed, self.stored_grid, grid)
            return tokens + (table if keep is None else table[0, keep]), None
        rope = rope_table(grid, self.embed_dim // self.num_heads, self.rope, tokens.device)
        return tokens, rope if keep is None else rope[:, keep]

    def _norm_at(self, index: int) -> nn.Module:
        return self.norms_block[self.depths.index(index)] if self.v21 else self.norm
