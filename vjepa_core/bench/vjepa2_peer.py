"""Hugging Face's VJEPA2Model with the weights of an encoder of ours, and random weights for both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vjepa_core.bench.camus import BenchError
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.precision import cast_matrices
from vjepa_core.encoder.vit import VisionTransformer3D

if TYPE_CHECKING:
    from transformers import VJEPA2Config

MISSING = "The peer is missing: install it with `pip install 'apical[bench]'` (transformers 4.53 or later)."


def ours(architecture: Architecture, dtype: torch.dtype, seed: int = 0) -> VisionTransformer3D:
    """An encoder of the `vjepa2` form with random weights, its matrices in `dtype`, on the CPU.

    Weights are made one after the other, so that memory never holds them twice.
    """
    with torch.device("meta"):
        model = VisionTransformer3D(architecture)
    cast_matrices(model, dtype)
    places = model.state_dict()
    state = {name: value.to(places[name].dtype) for name, value in _weights(places, seed)}
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def theirs(
    architecture: Architecture, dtype: torch.dtype, frames: int, size: int, seed: int = 0
) -> nn.Module:
    """VJEPA2Model wholly in `dtype` with the weights that `ours` has for this seed, on the CPU.

    It lacks its predictor, which `skip_predictor=True` does not ask: in the measured memory that is to its
    advantage. Attention is torch's fused kernel. It takes (B, T, 3, H, W).

    Raises
    ------
    BenchError
        If transformers is not installed, too old, or its model no longer has the names that are known here.
    """
    build = model_class()
    with torch.device("meta"):
        model = build(_config(architecture, frames, size)).to(dtype)
        places = VisionTransformer3D(architecture).state_dict()
    state: dict[str, Tensor] = {}
    for name, value in _weights(places, seed):
        state.update(renamed(name, value.to(dtype)))
    model.predictor = nn.Identity()
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise BenchError(
            "This release of transformers builds VJEPA2Model otherwise than is known here: install "
            "another one (4.53 and 5.24 are known)."
        ) from error
    return model.eval().requires_grad_(False)


def model_class() -> Callable[[VJEPA2Config], nn.Module]:
    """VJEPA2Model itself; BenchError as `theirs`."""
    try:
        from transformers import VJEPA2Model
    except ImportError as error:
        raise BenchError(MISSING) from error
    found: Callable[[VJEPA2Config], nn.Module] = VJEPA2Model
    return found


def renamed(name: str, value: Tensor) -> dict[str, Tensor]:
    """A weight of ours under VJEPA2Model's name; queries, keys and values are three weights there."""
    new = name.replace("blocks.", "encoder.layer.").replace(".attn.", ".attention.")
    new = new.replace("patch_embed.", "encoder.embeddings.patch_embeddings.")
    if new.startswith("norm."):
        new = f"encoder.layer{new}"
    if ".qkv." not in new:
        return {new: value}
    parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
    return {new.replace("qkv", part): share for part, share in parts}


def _config(architecture: Architecture, frames: int, size: int) -> VJEPA2Config:
    from transformers import VJEPA2Config

    config: VJEPA2Config = VJEPA2Config(
        patch_size=architecture.patch_size,
        tubelet_size=architecture.tubelet_size,
        crop_size=size,  # its rotary positions count from this, not from the clip
        frames_per_clip=frames,
        hidden_size=architecture.embed_dim,
        num_hidden_layers=architecture.depth,
        num_attention_heads=architecture.num_heads,
        # Cut to a whole number there: half a one more keeps it from becoming one less.
        mlp_ratio=(architecture.mlp_dim + 0.5) / architecture.embed_dim,
    )
    config._attn_implementation = "sdpa"
    return config


def _weights(places: Mapping[str, Tensor], seed: int) -> Iterator[tuple[str, Tensor]]:
    """Float32 weights that keep the size of what goes through them, so that they hide no difference."""
    generator = torch.Generator().manual_seed(seed)
    for name, place in places.items():
        value = torch.randn(place.shape, generator=generator)
        if place.ndim > 1:
            yield name, value / math.sqrt(place[0].numel())
        elif "norm" in name and name.endswith("weight"):
            yield name, 1 + 0.1 * value
        else:
            yield name, 0.1 * value
