"""Encoding of selected tokens of grey clips."""

from __future__ import annotations

import pytest
import torch

from vjepa_core.encoder.initialise import initialise
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.normalise import normalise
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.encode import (
    copy_clip_embedding_to_stills,
    encode,
    freeze_unused_weights,
    patchify,
)


@pytest.fixture(scope="module")
def encoder() -> VisionTransformer3D:
    model = create_encoder("vit_tiny_patch16_224_t2")
    initialise(model, 1)
    return model.eval()


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.randint(
        0, 256, (2, 4, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@torch.no_grad()
def test_matches_the_forward_pass_of_the_encoder(encoder: VisionTransformer3D, clips: torch.Tensor) -> None:
    tubelets, grid = patchify(clips, 2, 16)
    keep = torch.tensor([[0, 3, 7], [11, 2, 5]])
    for chosen in (None, keep):
        ours = encode(encoder, tubelets, grid, keep=chosen, depths=(11,))[0]
        torch.testing.assert_close(
            ours, encoder.forward_features(normalise(clips), chosen), rtol=1e-3, atol=1e-3
        )
    levels = encode(encoder, tubelets, grid, depths=encoder.depths)
    grids = encoder.forward_intermediates(normalise(clips))
    for ours, theirs in zip(levels, grids, strict=True):
        torch.testing.assert_close(ours, torch.as_tensor(theirs).flatten(1, 3), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_without_positions_the_order_of_tokens_has_no_effect(
    encoder: VisionTransformer3D, clips: torch.Tensor
) -> None:
    tubelets, grid = patchify(clips, 2, 16)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    keep = order.expand(2, -1)
    plain = encode(encoder, tubelets, grid, depths=(11,), with_positions=False)[0]
    shuffled = encode(encoder, tubelets, grid, keep=keep, depths=(11,), with_positions=False)[0]
    torch.testing.assert_close(shuffled, plain[:, order], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_window_is_encoded_the_same_at_every_offset(encoder: VisionTransformer3D) -> None:
    # Localisation across windows is a valid task only if no position code contains the offset.
    small = torch.randint(0, 256, (1, 2, 32, 32), dtype=torch.uint8)
    clip = torch.zeros(1, 4, 64, 64, dtype=torch.uint8)
    clip[:, :2, :32, :32] = small
    clip[:, 2:, 32:, 16:48] = small
    tubelets, grid = patchify(clip, 2, 16)
    here = torch.tensor([[0, 1, 4, 5]])
    there = torch.tensor([[16 + 9, 16 + 10, 16 + 13, 16 + 14]])
    a, b = (encode(encoder, tubelets, grid, keep=k, depths=(11,))[0] for k in (here, there))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_a_still_image_is_encoded_like_its_repetition(clips: torch.Tensor) -> None:
    model = create_encoder("vit_tiny_patch16_224_t2")
    copy_clip_embedding_to_stills(model)
    still = clips[:, :1]
    repeated = model.forward_features(normalise(still.expand(-1, 2, -1, -1)))
    torch.testing.assert_close(model.forward_features(normalise(still)), repeated, rtol=1e-3, atol=1e-3)


def test_weights_unused_for_clips_are_frozen() -> None:
    model = create_encoder("vit_tiny_patch16_224_t2")
    freeze_unused_weights(model, (11,))
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"patch_embed_img", "img_mod_embed", "norms_block"}
    assert model.norms_block[3].weight.requires_grad


def test_clips_that_do_not_divide_are_rejected() -> None:
    with pytest.raises(ValueError, match="multiple"):
        patchify(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 2, 16)
    with pytest.raises(ValueError, match="uint8"):
        patchify(torch.zeros(1, 2, 32, 32), 2, 16)
