"""The encoder matches a reference in plain loops, timm, and the names in V-JEPA's state dicts."""

from __future__ import annotations

import encoder_oracle as oracle  # type: ignore[import-not-found]
import numpy as np
import pytest
import torch
from torch import Tensor

from vjepa_core.encoder.architecture import Architecture, Form, architectures, default_depths
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.rope import Rope, rope_table
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import EncoderError

# Head size 20: three groups of 6 channels and 2 that are not rotated.
DIM, DEPTH, HEADS, PATCH = 40, 4, 2, 4


def small(form: Form = "vjepa21") -> VisionTransformer3D:
    """Create a tiny encoder with all parameters, including biases and norms, far from zero and one."""
    torch.manual_seed(0)
    shape = Architecture(DIM, DEPTH, HEADS, patch_size=PATCH, image_size=3 * PATCH, form=form)
    model = VisionTransformer3D(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def clip(frames: int, height: int, width: int) -> Tensor:
    return torch.randn(1, 3, frames, height, width, generator=torch.Generator().manual_seed(1))


def oracle_grids(model: VisionTransformer3D, x: Tensor, keep: list[int] | None = None) -> list[np.ndarray]:
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    still = model.v21 and x.shape[2] == 1
    name, tubelet = ("patch_embed_img", 1) if still else ("patch_embed", 2)
    tokens = oracle.embed(x[0].double().numpy(), weights, name, tubelet, PATCH)
    grid = (x.shape[2] // tubelet, x.shape[3] // PATCH, x.shape[4] // PATCH)
    form = model.architecture.form
    where = oracle.positions(grid, form)
    if model.v21:
        mode = weights["img_mod_embed" if still else "video_mod_embed"][0, 0]
        tokens = [token + mode for token in tokens]
    if form == "vjepa1":
        places = np.ndindex(*grid)
        tokens = [
            token + oracle.sincos_between(place, grid, (8, 3, 3), DIM)
            for token, place in zip(tokens, places, strict=True)
        ]
    if keep is not None:
        tokens, where = [tokens[i] for i in keep], [where[i] for i in keep]
    out = []
    for i in range(DEPTH):
        tokens = oracle.block(tokens, where, weights, f"blocks.{i}", HEADS, form)
        norm = f"norms_block.{i}" if model.v21 else "norm"
        out.append(np.stack([oracle.norm(token, weights, norm) for token in tokens]))
    return out


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("vjepa21", (4, 12, 8)),
        ("vjepa21", (2, 4, 12)),  # a grid of one row: no division by zero
        ("vjepa21", (1, 8, 8)),  # a still
        ("vjepa2", (4, 12, 8)),
        ("vjepa1", (16, 12, 12)),  # the stored grid
        ("vjepa1", (4, 12, 8)),  # smaller in time and width
    ],
)
def test_matches_the_reference_at_every_depth(form: Form, shape: tuple[int, int, int]) -> None:
    model, x = small(form), clip(*shape)
    expected = oracle_grids(model, x)
    grids = model.forward_intermediates(x, range(DEPTH))
    for got, want in zip(grids, expected, strict=True):
        assert isinstance(got, Tensor)
        assert got.shape[2:4] == (shape[1] // PATCH, shape[2] // PATCH)
        np.testing.assert_allclose(got.detach().reshape(-1, DIM), want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.forward_features(x)[0].detach(), expected[-1], rtol=1e-4, atol=1e-4)


def test_the_two_rotary_forms_differ() -> None:
    a, b = (rope_table((2, 3, 3), 20, kind, torch.device("cpu")) for kind in ("interleaved", "tiled"))
    assert not torch.allclose(a, b)


def test_visible_tokens_keep_their_positions() -> None:
    model, x, keep = small(), clip(4, 12, 8), [1, 4, 5, 11]
    got = model.forward_features(x, torch.tensor([keep]))
    np.testing.assert_allclose(got[0].detach(), oracle_grids(model, x, keep)[-1], rtol=1e-4, atol=1e-4)


def test_visible_tokens_may_differ_between_samples() -> None:
    model = small()
    x = torch.cat((clip(4, 12, 8), -clip(4, 12, 8)))
    keep = torch.tensor([[0, 3, 7], [2, 5, 11]])
    both = model.forward_features(x, keep)
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], model.forward_features(x[i : i + 1], keep[i : i + 1]))


@pytest.mark.parametrize("kind", ["interleaved", "tiled"])
def test_block_matches_timm(kind: Rope) -> None:
    eva = pytest.importorskip("timm.models.eva")
    ours = small().blocks[0]
    theirs = eva.EvaBlock(
        DIM,
        HEADS,
        attn_type="rope",
        num_prefix_tokens=0,
        norm_layer=lambda d, **_: torch.nn.LayerNorm(d, eps=1e-6),
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    table = rope_table((2, 3, 2), DIM // HEADS, kind, torch.device("cpu"))
    x = torch.randn(1, 12, DIM)
    torch.testing.assert_close(
        ours(x, table), theirs(x, rope=torch.cat(tuple(table), -1)), rtol=1e-4, atol=1e-5
    )


def test_table_created_in_inference_mode_can_be_used_in_training() -> None:
    model, x = small(), clip(2, 16, 20)
    with torch.inference_mode():
        model.forward_features(x)
    model.forward_features(x).sum().backward()
    assert model.get_parameter("blocks.0.attn.qkv.weight").grad is not None


def test_parameter_names_are_those_of_the_checkpoints() -> None:
    block = {f"{part}.{kind}" for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
             for kind in ("weight", "bias")}  # fmt: skip
    blocks = {f"blocks.{i}.{name}" for i in range(DEPTH) for name in block}
    patch = {"patch_embed.proj.weight", "patch_embed.proj.bias"}
    v2 = blocks | patch | {"norm.weight", "norm.bias"}
    v21 = blocks | patch | {"patch_embed_img.proj.weight", "patch_embed_img.proj.bias"}
    v21 |= {"img_mod_embed", "video_mod_embed"}
    v21 |= {f"norms_block.{i}.{kind}" for i in range(4) for kind in ("weight", "bias")}
    assert set(small("vjepa2").state_dict()) == v2
    assert set(small().state_dict()) == v21


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(12, (2, 5, 8, 11)), (24, (5, 11, 17, 23)), (40, (9, 19, 29, 39)), (48, (11, 23, 37, 47))],
)
def test_default_depths_are_those_of_the_release(depth: int, expected: tuple[int, ...]) -> None:
    assert default_depths(depth) == expected


def test_forward_intermediates_can_return_the_last_tokens() -> None:
    model, x = small(), clip(2, 8, 8)
    last, grids = model.forward_intermediates(x, (1, 0), intermediates_only=False)
    assert isinstance(grids, list)
    torch.testing.assert_close(last, model.forward_features(x))
    torch.testing.assert_close(grids[1], model.forward_intermediates(x, (0,))[0])


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 9, 8), (2, 8, 0), (0, 8, 8)])
def test_clips_that_do_not_divide_into_tokens_are_rejected(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="multiple of"):
        small().forward_features(torch.zeros(1, 3, *shape))


@pytest.mark.parametrize("indices", [(4,), (-1,), ()])
def test_nonexistent_blocks_are_rejected(indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no features after"):
        small().forward_intermediates(clip(2, 8, 8), indices)


def test_architectures_have_the_published_sizes() -> None:
    with torch.device("meta"):
        widths = {name: create_encoder(name).embed_dim for name in architectures()}
    assert widths == {
        "vit_tiny_patch16_224_t2": 192,
        "vit_small_patch16_224_t2": 384,
        "vit_base_patch16_224_t2": 768,
        "vit_large_patch16_224_t2": 1024,
        "vit_huge_patch16_224_t2": 1280,
        "vit_giant_patch16_224_t2": 1408,
        "vit_gigantic_patch16_224_t2": 1664,
    }


@pytest.mark.parametrize(
    ("name", "heads", "mlp"),
    [
        ("vit_giant_patch16_224_t2.vjepa1", 16, 6144),
        ("vit_giant_patch16_256_t2.vjepa2", 22, 6144),
        ("vit_gigantic_patch16_384_t2", 26, 8192),
        ("vit_w96d3h2m200_patch8_64_t4.vjepa1", 2, 200),
    ],
)
def test_name_determines_the_architecture(name: str, heads: int, mlp: int) -> None:
    read = Architecture.parse(name)
    assert (read.num_heads, read.mlp_dim, read.name) == (heads, mlp, name)
    assert Architecture.parse(read.name) == read


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "vit_small"),
        ("vit_enormous_patch16_224_t2", "vit_small"),
        ("vit_large_patch16_224_t2.vjepa3", "vit_small"),
        ("vit_w96d3h7m200_patch8_64_t4", "heads do not divide"),
        ("vit_large_patch0_224_t2", "must be positive"),
    ],
)
def test_invalid_names_are_rejected(name: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        create_encoder(name)
