"""Strong augmentation for training a network from scratch on a few images."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from vjepa_core.label_image import UNLABELLED


def augment(images: Tensor, masks: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Augment images and their label images.

    Geometry: rotation, scale, stretch, shift and an elastic deformation. Grey levels: gamma, gain over depth,
    contrast, speckle-like noise, blur, and a dark wedge or block like a shadow. There is no left-right flip,
    because it would mirror the anatomy.

    Parameters
    ----------
    images : Tensor
        Grey levels 0..1, shape (B, 1, h, w).
    masks : Tensor
        Label images, shape (B, h, w), int64.
    generator : torch.Generator
        Source of random numbers, on the CPU.

    Returns
    -------
    images, masks : Tensor
        Same shapes; each image is standardised, and pixels from outside are unlabelled.
    """
    grid = sampling_grid(len(images), images.shape[-1], generator).to(images.device)
    moved = functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    # Label + 1, so that zeros from outside differ from background.
    labels = functional.grid_sample(
        masks[:, None].float() + 1, grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    labels = labels[:, 0].long() - 1
    greys = _augment_greys(moved.clamp(0, 1), generator)
    return standardise(greys), labels.masked_fill(labels < 0, UNLABELLED)


def standardise(images: Tensor) -> Tensor:
    """Standardise each image to mean 0 and standard deviation 1."""
    mean, deviation = images.mean((1, 2, 3), keepdim=True), images.std((1, 2, 3), keepdim=True)
    return (images - mean) / deviation.clamp_min(1e-3)


def _between(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)


def _sometimes(n: int, share: float, generator: Generator) -> Tensor:
    return (torch.rand(n, 1, 1, 1, generator=generator) < share).float()


def sampling_grid(n: int, side: int, generator: Generator) -> Tensor:
    """Draw the source position of each pixel, (n, side, side, 2) in -1..1."""
    angle = _between(n, -0.35, 0.35, generator).flatten()
    scale = torch.exp(_between(n, -0.25, 0.25, generator)).flatten()
    stretch = torch.exp(_between(n, -0.12, 0.12, generator)).flatten()
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos() * scale * stretch, -angle.sin() * scale
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin() * scale, angle.cos() * scale / stretch
    theta[:, :, 2] = 0.4 * (torch.rand(n, 2, generator=generator) - 0.5)
    grid = functional.affine_grid(theta, [n, 1, side, side], align_corners=False)
    bends = torch.randn(n, 2, 6, 6, generator=generator) * _between(n, 0.0, 0.06, generator)
    smooth = functional.interpolate(bends, (side, side), mode="bicubic", align_corners=True)
    return grid + smooth.permute(0, 2, 3, 1)


def _augment_greys(x: Tensor, generator: Generator) -> Tensor:
    n, _, h, w = x.shape

    def between(low: float, high: float) -> Tensor:
        return _between(n, low, high, generator).to(x.device)

    def sometimes(share: float) -> Tensor:
        return _sometimes(n, share, generator).to(x.device)

    x = x.clamp_min(1e-4) ** torch.exp(between(-0.5, 0.5))
    depth = torch.linspace(-1, 1, h, device=x.device).view(1, 1, h, 1)
    x = x * torch.exp(between(-0.3, 0.3)) * torch.exp(depth * between(-0.4, 0.4)) + between(-0.1, 0.1)
    speckle = torch.randn(x.shape, generator=generator).to(x.device)
    speckle = torch.lerp(speckle, functional.avg_pool2d(speckle, 3, 1, 1) * 2, between(0, 1))
    x = x + speckle * (0.03 + 0.5 * x.clamp(0, 1)) * between(0, 0.3)
    x = torch.lerp(x, functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False), sometimes(0.25))
    return x * (1 - shadow(n, h, w, generator).to(x.device) * sometimes(0.5) * between(0.4, 1.0))


def shadow(n: int, h: int, w: int, generator: Generator) -> Tensor:
    """Draw soft wedges from the probe downwards or blocks, (n, 1, h, w) in 0..1."""
    y = torch.linspace(0, 1, h).view(1, 1, h, 1)
    x = torch.linspace(-0.5, 0.5, w).view(1, 1, 1, w)
    middle, half = _between(n, -0.7, 0.7, generator), _between(n, 0.04, 0.12, generator)
    wedge = torch.sigmoid((half * (0.3 + y) - (x - middle * y).abs()) / 0.015)
    top, left = _between(n, 0.0, 0.8, generator), _between(n, -0.5, 0.3, generator)
    tall, wide = _between(n, 0.1, 0.35, generator), _between(n, 0.1, 0.35, generator)
    block = ((y > top) & (y < top + tall) & (x > left) & (x < left + wide)).float()
    return torch.where(_sometimes(n, 0.5, generator) > 0, wedge, block)
