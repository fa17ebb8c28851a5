"""The video vision transformer of the V-JEPA family."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vjepa_core.encoder.architecture import Architecture, default_depths
from vjepa_core.encoder.block import NORM_EPS, Block
from vjepa_core.encoder.patch_embed import PatchEmbed3D
from vjepa_core.encoder.rope import Grid, Rope, rope_table
from vjepa_core.encoder.sincos import resize_table, sincos_table

SINCOS_FRAMES = 16
"""Frames of V-JEPA 1's training clips, for which its position table is stored."""


class VisionTransformer3D(nn.Module):
    """Vision transformer that maps clips to tokens, ordered by time, height, width.

    Parameter names are those of the V-JEPA state dicts. Linear layers may have a lower precision than the
    rest (see `vjepa_core.encoder.precision`); tokens and norms are always float32.

    Parameters
    ----------
    architecture : Architecture
        Size and form. The 2.1 form has `video_mod_embed`, `img_mod_embed`, `patch_embed_img` (one frame) and
        `norms_block`; the others have a single final `norm`, and V-JEPA 1 a buffer `pos_embed`.
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
        """Return `forward_features` of a clip (B, 3, T, H, W)."""
        return self.forward_features(x)

    def forward_features(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the normalised tokens of the last block.

        Parameters
        ----------
        x : Tensor
            Normalised pixels, shape (B, 3, T, H, W).
        keep : Tensor, optional
            Indices of the visible tokens, shape (B, K), int64. The others are dropped before the first block;
            the visible ones keep their positions.

        Returns
        -------
        Tensor
            Shape (B, N, D), or (B, K, D) with `keep`.
        """
        tokens, rope = self._embed(x, keep)
        for block in self.blocks:
            tokens = block(tokens, rope)
        out: Tensor = self.output_norm(len(self.blocks) - 1)(tokens)
        return out

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Sequence[int] | None = None,
        *,
        norm: bool = True,
        intermediates_only: bool = True,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the outputs of selected blocks as grids.

        Parameters
        ----------
        x : Tensor
            Normalised pixels, shape (B, 3, T, H, W).
        indices : sequence of int, optional
            Blocks to return, counted from 0; default: `self.depths`.
        norm : bool
            Apply the norm of each depth. In the 2.1 form only `self.depths` have one.
        intermediates_only : bool
            Stop after the deepest selected block. If False, also return the result of `forward_features`.

        Returns
        -------
        list of Tensor, or (Tensor, list of Tensor)
            One grid (B, T', H', W', D) for each index, in the order of `indices`; preceded by the final
            tokens (B, N, D) unless `intermediates_only`.

        Raises
        ------
        ValueError
            If a block does not exist or has no norm.
        """
        requested = tuple(self.depths if indices is None else indices)
        last = len(self.blocks) - 1
        unknown = [i for i in requested if not 0 <= i <= last or (norm and self.v21 and i not in self.depths)]
        if unknown or not requested:
            raise ValueError(
                f"no features after blocks {unknown}; this encoder has features after {self.depths}"
            )
        t, h, w = self._patches(x).grid(x)
        tokens, rope = self._embed(x, None)
        outputs: dict[int, Tensor] = {}
        for i, block in enumerate(self.blocks):
            if i > max(requested) and intermediates_only:
                break
            tokens = block(tokens, rope)
            if i in requested:
                outputs[i] = (self.output_norm(i)(tokens) if norm else tokens).unflatten(1, (t, h, w))
        grids = [outputs[i] for i in requested]
        return grids if intermediates_only else (self.output_norm(last)(tokens), grids)

    def _patches(self, x: Tensor) -> PatchEmbed3D:
        return self.patch_embed_img if self.v21 and x.shape[2] == 1 else self.patch_embed

    def _embed(self, x: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the input of the first block and the rotary table."""
        patches = self._patches(x)
        tokens: Tensor = patches(x).float()
        if self.v21:
            tokens = tokens + (
                self.img_mod_embed if patches is self.patch_embed_img else self.video_mod_embed
            )
        if keep is not None:
            tokens = tokens.gather(1, keep.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        return self.embed_positions(tokens, patches.grid(x), keep)

    def embed_positions(
        self, tokens: Tensor, grid: Grid, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Add the position embedding to tokens, or return the table for rotary embedding.

        Parameters
        ----------
        tokens : Tensor
            Shape (B, N, D), or (B, K, D) with `keep`.
        grid : (int, int, int)
            Grid of all N tokens.
        keep : Tensor, optional
            Indices of the tokens that are present, shape (B, K), int64.

        Returns
        -------
        tokens : Tensor
            Input of the first block.
        rope : Tensor or None
            Table for `vjepa_core.encoder.rope.rotate` in every block; None for V-JEPA 1.
        """
        if self.pos_embed is not None:
            table = resize_table(self.pos_embed, self.stored_grid, grid)
            return tokens + (table if keep is None else table[0, keep]), None
        rope = rope_table(grid, self.embed_dim // self.num_heads, self.rope, tokens.device)
        return tokens, rope if keep is None else rope[:, keep]

    def output_norm(self, index: int) -> nn.Module:
        """Return the norm for the output of block `index`; in the 2.1 form one of `self.depths`."""
        return self.norms_block[self.depths.index(index)] if self.v21 else self.norm
