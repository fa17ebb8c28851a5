"""Augmentation draws random numbers on the CPU and changes maps on their device."""

import torch

from vjepa_core.fewshot.augment import augment_image, deform, random_affine, warp_affine


def test_maps_on_another_device_stay_there() -> None:
    """The "meta" device rejects operands of other devices, like a GPU, and exists on every machine."""
    elsewhere = torch.device("meta")
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(2, 3, 32, 32, device=elsewhere)
    theta = random_affine(2, generator)

    varied = augment_image(deform(warp_affine(image, theta), 0.01, generator), generator)

    assert varied.device == elsewhere
    assert varied.shape == image.shape


def test_the_random_numbers_do_not_depend_on_the_device() -> None:
    left = []
    for device in ("cpu", "meta"):
        generator = torch.Generator().manual_seed(3)
        augment_image(torch.zeros(2, 3, 16, 16, device=device), generator)
        left.append(torch.rand(1, generator=generator))

    assert torch.equal(*left)
