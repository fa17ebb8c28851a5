"""Encode selected tokens of grey clips at several depths during training.

The results equal `VisionTransformer3D.forward_features(normalise(clips), keep)`, but pixels stay uint8 until
a token is needed, and the three equal colour channels are folded into the weights. A student with a tenth of
the tokens thus processes a thirtieth of the values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from vjepa_core.encoder.normalise import IMAGENET_MEAN, IMAGENET_STD
from vjepa_core.encoder.patch_embed import PatchEmbed3D
from vjepa_core.encoder.rope import Grid
from vjepa_core.encoder.vit import VisionTransformer3D

_CENTRE = 128  # the difference to this grey level is small and exact in bfloat16


def patchify(clips: Tensor, tubelet: int, patch: int) -> tuple[Tensor, Grid]:
    """Split grey clips into tubelets.

    Parameters
    ----------
    clips : Tensor
        Shape (B, T, H, W), uint8.
    tubelet, patch : int
        Frames and side in pixels of a tubelet.

    Returns
    -------
    tubelets : Tensor
        Shape (B, N, tubelet * patch * patch), uint8.
    grid : (int, int, int)
        Tubelets along time, height and width.

    Raises
    ------
    ValueError
        If the clips are not uint8 or do not divide into whole tubelets.
    """
    if clips.dtype != torch.uint8 or clips.ndim != 4:
        raise ValueError(f"expected clips (B, T, H, W) uint8, got {clips.dtype} {tuple(clips.shape)}")
    b, t, h, w = clips.shape
    if t % tubelet or h % patch or w % patch or 0 in (t, h, w):
        raise ValueError(f"T must be a multiple of {tubelet}, H and W of {patch}; got {tuple(clips.shape)}")
    grid = (t // tubelet, h // patch, w // patch)
    cells = clips.reshape(b, grid[0], tubelet, grid[1], patch, grid[2], patch)
    return cells.permute(0, 1, 3, 5, 2, 4, 6).reshape(b, -1, tubelet * patch * patch), grid


def embed(layer: PatchEmbed3D, tubelets: Tensor) -> Tensor:
    """Embed grey tubelets (B, K, P) uint8 as tokens (B, K, D)."""
    # Python numbers, because copying a constant tensor to a GPU would synchronise with it.
    channels = layer.proj.weight.float().flatten(2).unbind(1)
    scaled = [weight / std for weight, std in zip(channels, IMAGENET_STD, strict=True)]
    grey = sum(scaled[1:], scaled[0]) / 255
    offsets = [w.sum(1) * (_CENTRE / 255 - mean) for w, mean in zip(scaled, IMAGENET_MEAN, strict=True)]
    bias = sum(offsets[1:], offsets[0])
    if layer.proj.bias is not None:
        bias = bias + layer.proj.bias
    dtype = layer.proj.weight.dtype
    return linear(tubelets.to(dtype) - _CENTRE, grey.to(dtype), bias.to(dtype))


def encode(
    encoder: VisionTransformer3D,
    tubelets: Tensor,
    grid: Grid,
    *,
    keep: Tensor | None = None,
    depths: Sequence[int],
    with_positions: bool = True,
) -> list[Tensor]:
    """Return the normalised outputs of selected blocks.

    Parameters
    ----------
    encoder : VisionTransformer3D
        The encoder.
    tubelets : Tensor
        All tubelets of the clips, shape (B, N, P), uint8.
    grid : (int, int, int)
        Grid of the tubelets.
    keep : Tensor, optional
        Indices of the visible tokens, shape (B, K), int64.
    depths : sequence of int
        Blocks to return, in increasing order; each needs a norm.
    with_positions : bool
        If False, no position embedding is used.

    Returns
    -------
    list of Tensor
        Shape (B, K, D) for each depth.
    """
    if keep is not None:
        tubelets = tubelets.gather(1, keep.unsqueeze(-1).expand(-1, -1, tubelets.shape[-1]))
    tokens = embed(encoder.patch_embed, tubelets).float()
    if encoder.v21:
        tokens = tokens + encoder.video_mod_embed
    rope = None
    if with_positions:
        tokens, rope = encoder.embed_positions(tokens, grid, keep)
    levels = []
    for i, block in enumerate(encoder.blocks[: depths[-1] + 1]):
        tokens = block(tokens, rope)
        if i in depths:
            levels.append(encoder.output_norm(i)(tokens))
    return levels


def freeze_unused_weights(encoder: VisionTransformer3D, depths: Sequence[int]) -> None:
    """Freeze weights that are unused for grey clips, because DDP would wait for their gradients."""
    if not encoder.v21:
        return
    encoder.patch_embed_img.requires_grad_(False)
    encoder.img_mod_embed.requires_grad_(False)
    for depth, norm in zip(encoder.depths, encoder.norms_block, strict=True):
        norm.requires_grad_(depth in depths)


@torch.no_grad()
def copy_clip_embedding_to_stills(encoder: VisionTransformer3D) -> None:
    """Set the weights for still images so that a still image is embedded like its repetition as a clip.

    Training uses clips only, so that these weights would otherwise stay random.
    """
    if encoder.v21:
        encoder.patch_embed_img.proj.weight.copy_(encoder.patch_embed.proj.weight.sum(2, keepdim=True))
        if encoder.patch_embed_img.proj.bias is not None and encoder.patch_embed.proj.bias is not None:
            encoder.patch_embed_img.proj.bias.copy_(encoder.patch_embed.proj.bias)
        encoder.img_mod_embed.copy_(encoder.video_mod_embed)
