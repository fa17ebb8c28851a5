"""Running the encoder on chosen tokens of grey clips, at several depths, in training.

The same numbers as `VisionTransformer3D.forward_features(normalise(clips), keep)`, but the pixels stay uint8
until a token is asked for, and the three equal colour channels are folded into the weights: a student
that sees a tenth of the tokens touches a thirtieth of the floats.
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

_CENTRE = 128  # grey less this is exact in bfloat16, and small


def patchify(clips: Tensor, tubelet: int, patch: int) -> tuple[Tensor, Grid]:
    """Grey clips (B, T, H, W) uint8 as tubelets (B, N, tubelet * patch * patch) uint8, and the grid.

    Raises
    ------
    ValueError
        If a clip is not uint8 or does not divide into whole tubelets.
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
    """Tokens (B, K, D) of grey tubelets (B, K, P) uint8."""
    # Numbers, not tensors: a constant copied to a GPU would make this process wait for it.
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
    placed: bool = True,
) -> list[Tensor]:
    """Normalised tokens after chosen blocks.

    Parameters
    ----------
    encoder : VisionTransformer3D
    tubelets : Tensor
        (B, N, P) uint8, all tokens of the clips.
    grid : (int, int, int)
        Their grid.
    keep : Tensor, optional
        (B, K) int64: token numbers that are seen.
    depths : sequence of int
        Blocks to read, increasing; each needs a norm of its own.
    placed : bool
        False: the encoder sees a bag of tubelets without places.

    Returns
    -------
    list of Tensor
        (B, K, D) for each depth.
    """
    if keep is not None:
        tubelets = tubelets.gather(1, keep.unsqueeze(-1).expand(-1, -1, tubelets.shape[-1]))
    tokens = embed(encoder.patch_embed, tubelets).float()
    if encoder.v21:
        tokens = tokens + encoder.video_mod_embed
    rope = None
    if placed:
        tokens, rope = encoder.place(tokens, grid, keep)
    levels = []
    for i, block in enumerate(encoder.blocks[: depths[-1] + 1]):
        tokens = block(tokens, rope)
        if i in depths:
            levels.append(encoder._norm_at(i)(tokens))
    return levels


def freeze_unused(encoder: VisionTransformer3D, depths: Sequence[int]) -> None:
    """Take the weights that grey clips never reach out of training; DDP would wait for their gradients."""
    if not encoder.v21:
        return
    encoder.patch_embed_img.requires_grad_(False)
    encoder.img_mod_embed.requires_grad_(False)
    for depth, norm in zip(encoder.depths, encoder.norms_block, strict=True):
        norm.requires_grad_(depth in depths)


@torch.no_grad()
def stills_like_clips(encoder: VisionTransformer3D) -> None:
    """Give stills the embedding that their repetition as a clip would have.

    Training sees clips only; a still of which a clip is made by repeating it must not meet random weights.
    """
    if encoder.v21:
        encoder.patch_embed_img.proj.weight.copy_(encoder.patch_embed.proj.weight.sum(2, keepdim=True))
        if encoder.patch_embed_img.proj.bias is not None and encoder.patch_embed.proj.bias is not None:
            encoder.patch_embed_img.proj.bias.copy_(encoder.patch_embed.proj.bias)
        encoder.img_mod_embed.copy_(encoder.video_mod_embed)
