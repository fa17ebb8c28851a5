"""The video vision transformer of the V-JEPA family."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vjepa_core.encoder.block import NORM_EPS, Block
from vjepa_core.encoder.patch_embed import PatchEmbed3D
from vjepa_core.encoder.rope import Rope, rope_table


def default_depths(depth: int) -> tuple[int, ...]:
    """Blocks after which V-JEPA 2.1 normalises and reads its features, the last block included."""
    if depth == 48:  # the one size whose levels are not quarters
        return (11, 23, 37, 47)
    return tuple(depth * (level + 1) // 4 - 1 for level in range(4))


class VisionTransformer3D(nn.Module):
    """Clips to tokens in the order time, height, width.

    Parameter names are those of the V-JEPA state dicts. The default is the V-JEPA 2.1 form: interleaved
    rotary positions, a learned vector that tells video from still (`video_mod_embed`, `img_mod_embed`), a
    patch embedding of its own for stills (`patch_embed_img`, one frame) and one norm for each depth that is
    read (`norms_block`).

    Parameters
    ----------
    embed_dim, depth, num_heads, mlp_ratio
        Size of the transformer.
    patch_size, tubelet_size : int
        Pixels and frames that one token covers.
    rope : {"interleaved", "tiled"}
        Form of the rotary table.
    v21 : bool
        False for V-JEPA 2: no vectors for video and still, no `patch_embed_img`, a single last `norm`.
    """

    def __init__(
        self,
        embed_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        *,
        patch_size: int = 16,
        tubelet_size: int = 2,
        rope: Rope = "interleaved",
        v21: bool = True,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size
        self.rope = rope
        self.v21 = v21
        self.depths = default_depths(depth)
        self.patch_embed = PatchEmbed3D(embed_dim, patch_size, tubelet_size)
        if v21:
            self.patch_embed_img = PatchEmbed3D(embed_dim, patch_size, 1)
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, embed_dim))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio) for _ in range(depth))
        if v21:
            self.norms_block = nn.ModuleList(nn.LayerNorm(embed_dim, eps=NORM_EPS) for _ in self.depths)
        else:
            self.norm = nn.LayerNorm(embed_dim, eps=NORM_EPS)

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

    def _embed(self, x: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens before the first block, and the rotary table that goes with them."""
        patches = self._patches(x)
        tokens: Tensor = patches(x)
        if self.v21:
            tokens = tokens + (
                self.img_mod_embed if patches is self.patch_embed_img else self.video_mod_embed
            )
        rope = rope_table(patches.grid(x), self.embed_dim // self.num_heads, self.rope, tokens.device)
        if keep is not None:
            tokens = tokens.gather(1, keep.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
            rope = rope[:, keep]
        return tokens, rope

    def _norm_at(self, index: int) -> nn.Module:
        return self.norms_block[self.depths.index(index)] if self.v21 else self.norm
