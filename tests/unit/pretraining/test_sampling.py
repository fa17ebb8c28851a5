"""Sampling of frames and cines, and crops."""

from __future__ import annotations

import pytest
import torch

from vjepa_core.pretraining.sampling import (
    cine_weights,
    crop_affine,
    draw_indices,
    reflect,
    resample,
    sample_frames,
    to_uint8,
)

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_weights_match_the_shares() -> None:
    weights = cine_weights(["a", "a", "b"], [4, 16, 9], {"a": 3.0, "b": 1.0, "c": 5.0})
    torch.testing.assert_close(weights, torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64))


@pytest.mark.parametrize("shares", [{"x": 1.0}, {"a": 0.0}, {"a": -1.0}])
def test_invalid_shares_are_rejected(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        cine_weights(["a"], [4], shares)


def test_drawn_indices_match_the_weights() -> None:
    chosen = draw_indices(torch.tensor([0.2, 0.2, 1.0]), 4000, seeded())
    share = torch.bincount(chosen, minlength=3) / 4000
    assert share[1] == 0
    assert abs(share[0] - 0.2) < 0.03


def test_indices_are_reflected_at_the_ends() -> None:
    out = reflect(torch.arange(8)[None], torch.tensor([[4]]))
    assert out.tolist() == [[0, 1, 2, 3, 2, 1, 0, 1]]
    assert reflect(torch.arange(3)[None], torch.tensor([[1]])).tolist() == [[0, 0, 0]]


def test_frames_have_the_drawn_rate() -> None:
    lengths, fps = torch.full((200,), 400), torch.full((200,), 60.0)
    frame_numbers = sample_frames(lengths, fps, 16, (10.0, 30.0), seeded())
    assert frame_numbers.min() >= 0
    assert frame_numbers.max() < 400
    span = (frame_numbers[:, -1] - frame_numbers[:, 0]) / 15
    assert span.min() >= 1.9  # 60 to 30 frames a second
    assert span.max() <= 6.1  # 60 to 10
    assert span.max() - span.min() > 3  # the rate varies
    assert frame_numbers[:, 0].unique().numel() > 50  # and so does the start


def test_slow_cines_are_not_slowed_further() -> None:
    frame_numbers = sample_frames(torch.full((50,), 100), torch.full((50,), 5.0), 16, (8.0, 30.0), seeded())
    assert (frame_numbers.diff(dim=1) == 1).all()
    unknown = sample_frames(torch.full((50,), 100), torch.zeros(50), 16, (8.0, 30.0), seeded())
    assert (unknown.diff(dim=1) == 1).all()


def test_short_cines_and_still_images_are_sampled() -> None:
    frame_numbers = sample_frames(torch.tensor([5, 1]), torch.tensor([30.0, 0.0]), 16, (30.0, 30.0), seeded())
    assert frame_numbers[0].max() == 4
    assert (frame_numbers[0].diff().abs() == 1).all()
    assert (frame_numbers[1] == 0).all()


def test_crops_are_inside_and_have_the_requested_area() -> None:
    theta = crop_affine(500, seeded(), CPU)
    half = torch.stack([theta[:, 0, 0], theta[:, 1, 1]], 1)
    assert (half + theta[:, :, 2].abs() <= 1 + 1e-6).all()
    area = half.prod(1)
    assert area.min() > 0.45
    assert area.max() <= 1
    ratio = half[:, 0] / half[:, 1]
    assert ratio.min() > 0.89
    assert ratio.max() < 1.12


def test_the_rotation_of_crops_is_limited() -> None:
    theta = crop_affine(100, seeded(), CPU, scale=(1, 1), aspect=(1, 1), degrees=10)
    angle = torch.rad2deg(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]))
    assert angle.abs().max() <= 10.01
    assert angle.max() > 5
    assert angle.min() < -5


def test_resample_is_exact_and_never_mirrors() -> None:
    clips = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(2, 3, 1, 1)
    whole = torch.eye(2, 3)[None].repeat(2, 1, 1)
    assert torch.equal(resample(clips, whole, 8), clips)
    corner = torch.tensor([[[0.5, 0, -0.5], [0, 0.5, -0.5]]]).repeat(2, 1, 1)
    assert torch.equal(resample(clips, corner, 4), clips[:, :, :4, :4])


def test_values_are_rounded_and_clipped_to_uint8() -> None:
    assert to_uint8(torch.tensor([-3.0, 0.6, 300.0])).tolist() == [0, 1, 255]
