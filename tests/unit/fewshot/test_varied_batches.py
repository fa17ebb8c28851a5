"""Augmentation draws its numbers on the CPU and changes maps where they lie."""

import torch

from vjepa_core.fewshot.augment import random_affine, vary_image, warp_affine, wobble


def test_maps_on_another_device_are_changed_there() -> None:
    """The "meta" device refuses operands of any other, as a GPU does, and is there on every machine."""
    elsewhere = torch.device("meta")
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(2, 3, 32, 32, device=elsewhere)
    theta = random_affine(2, generator)

    varied = vary_image(wobble(warp_affine(image, theta), 0.01, generator), generator)

    assert varied.device == elsewhere
    assert varied.shape == image.shape


def test_a_device_takes_the_same_numbers_from_the_generator() -> None:
    left = []
    for device in ("cpu", "meta"):
        generator = torch.Generator().manual_seed(3)
        vary_image(torch.zeros(2, 3, 16, 16, device=device), generator)
        left.append(torch.rand(1, generator=generator))

    assert torch.equal(*left)
