"""Hugging Face's VJEPA2Model and our encoder with the same random weights."""

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


def create_ours(architecture: Architecture, dtype: torch.dtype, seed: int = 0) -> VisionTransformer3D:
    """Create our encoder of the `vjepa2` form with random weights, linear layers in `dtype`, on the CPU.

    Weights are generated one after the other to limit memory.
    """
    with torch.device("meta"):
        model = VisionTransformer3D(architecture)
    cast_matrices(model, dtype)
    shapes = model.state_dict()
    state = {name: value.to(shapes[name].dtype) for name, value in _weights(shapes, seed)}
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def create_peer(
    architecture: Architecture, dtype: torch.dtype, frames: int, size: int, seed: int = 0
) -> nn.Module:
    """Create VJEPA2Model in `dtype` with the weights of `create_ours` for the same seed, on the CPU.

    Its input is (B, T, 3, H, W). Attention is torch's fused kernel. The predictor is removed, which is not
    used with `skip_predictor=True`; this reduces the measured memory.

    Raises
    ------
    BenchError
        If transformers is not installed or too old, or its model has other weight names.
    """
    build = model_class()
    with torch.device("meta"):
        model = build(_config(architecture, frames, size)).to(dtype)
        shapes = VisionTransformer3D(architecture).state_dict()
    state: dict[str, Tensor] = {}
    for name, value in _weights(shapes, seed):
        state.update(peer_names(name, value.to(dtype)))
    model.predictor = nn.Identity()
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise BenchError(
            "The VJEPA2Model of this release of transformers is not supported: install another release "
            "(4.53 and 5.24 are supported)."
        ) from error
    return model.eval().requires_grad_(False)


def model_class() -> Callable[[VJEPA2Config], nn.Module]:
    """Return the class VJEPA2Model.

    Raises
    ------
    BenchError
        If transformers is not installed or too old.
    """
    try:
        from transformers import VJEPA2Model
    except ImportError as error:
        raise BenchError(MISSING) from error
    build: Callable[[VJEPA2Config], nn.Module] = VJEPA2Model
    return build


def peer_names(name: str, value: Tensor) -> dict[str, Tensor]:
    """Return a weight of ours by its names in VJEPA2Model, which has separate queries, keys and values."""
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
        crop_size=size,  # determines its rotary positions
        frames_per_clip=frames,
        hidden_size=architecture.embed_dim,
        num_hidden_layers=architecture.depth,
        num_attention_heads=architecture.num_heads,
        # The product is truncated in VJEPA2Model: + 0.5 makes it round.
        mlp_ratio=(architecture.mlp_dim + 0.5) / architecture.embed_dim,
    )
    config._attn_implementation = "sdpa"
    return config


def _weights(shapes: Mapping[str, Tensor], seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield float32 weights that preserve the scale of activations, so that differences are not hidden."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in shapes.items():
        value = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            yield name, value / math.sqrt(tensor[0].numel())
        elif "norm" in name and name.endswith("weight"):
            yield name, 1 + 0.1 * value
        else:
            yield name, 0.1 * value
