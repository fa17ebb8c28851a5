"""Hugging Face's VJEPA2Model and our encoder give the same tokens for the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.attention import attend, attend_by_head
from vjepa_core.encoder.precision import cast_matrices
from vjepa_core.encoder.vit import VisionTransformer3D

# Installed with the test extra only.
transformers = pytest.importorskip("transformers")


def ours(width: int, depth: int, heads: int, mlp_ratio: float = 4.0) -> VisionTransformer3D:
    """Create an encoder with all weights, including biases and norms, far from their initial values."""
    torch.manual_seed(0)
    model = VisionTransformer3D(Architecture(width, depth, heads, mlp_ratio, form="vjepa2"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / max(parameter[0].numel(), 16) ** 0.5)
    return model.eval()


def theirs(model: VisionTransformer3D, frames: int, side: int) -> torch.nn.Module:
    shape = model.architecture
    config = transformers.VJEPA2Config(
        hidden_size=shape.embed_dim,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.num_heads,
        mlp_ratio=shape.mlp_dim / shape.embed_dim,
        crop_size=side,
        frames_per_clip=frames,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )
    peer = transformers.VJEPA2Model(config).eval()
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        renamed = name.replace("blocks.", "layer.").replace(".attn.", ".attention.")
        renamed = renamed.replace("patch_embed.", "embeddings.patch_embeddings.")
        renamed = renamed.replace("norm.", "layernorm.") if renamed.startswith("norm.") else renamed
        if "qkv" in renamed:
            for part, share in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[renamed.replace("qkv", part)] = share
        else:
            state[renamed] = value
    peer.encoder.load_state_dict(state)
    return peer


@pytest.mark.parametrize(
    ("size", "frames", "side"),
    [
        ((96, 3, 2), 2, 32),  # head of 48
        ((128, 3, 2), 4, 48),  # 64: three groups of 20 channels, and 4 that are not rotated
        ((160, 2, 2), 8, 64),  # 80, as in the huge size
        ((176, 2, 2, 48 / 11), 6, 80),  # 88, as in the giant size of V-JEPA 1
        ((192, 12, 3), 16, 112),  # ViT-Ti
    ],
)
@torch.inference_mode()
def test_tokens_match_vjepa2model(size: tuple[int, int, int], frames: int, side: int) -> None:
    model = ours(*size)
    clip = torch.randn(2, 3, frames, side, side)
    expected = theirs(model, frames, side)(clip.transpose(1, 2), skip_predictor=True).last_hidden_state
    assert expected.std() > 0.1
    torch.testing.assert_close(model.forward_features(clip), expected, rtol=1e-4, atol=1e-4)
    grids = model.forward_intermediates(clip, [len(model.blocks) - 1])
    assert isinstance(grids[0], Tensor)
    torch.testing.assert_close(grids[0].flatten(1, 3), expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_bfloat16_is_close_to_float32() -> None:
    model = ours(128, 4, 2)
    clip = torch.randn(2, 3, 4, 64, 64)
    exact = model.forward_features(clip)
    approximate = cast_matrices(model, torch.bfloat16).forward_features(clip)
    assert approximate.dtype == torch.float32
    assert (approximate - exact).norm() / exact.norm() < 0.02
    assert model.get_parameter("blocks.0.norm1.weight").dtype == torch.float32


@pytest.mark.parametrize("common", [0.0, 3.0, 6.0])
@torch.inference_mode()
def test_a_common_offset_of_all_keys_does_not_reduce_precision(common: float) -> None:
    """Large biases of queries and keys: scores of 0, 18 and 72 with differences of about 1."""
    q, k, v = (torch.randn(1, 2, 196, 64) for _ in range(3))
    q, k, v = (x.bfloat16() for x in (q + common / 2, k + common / 2, v))
    exact = scaled_dot_product_attention(q.float(), k.float(), v.float())
    for function in (attend, attend_by_head):
        assert (function(q, k, v) - exact).norm() / exact.norm() < 0.02
