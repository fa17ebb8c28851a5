"""Pseudo-cines: synthetic heartbeats between two labelled still images of one patient and view.

A velocity field deforms the outlines at end-diastole (ED) to those at end-systole (ES); see `registration`.
With a fraction of the deformation, both still images and both label images are moved to any phase of the
heartbeat. Everything runs in torch on the device, so that training generates new heartbeats at every step and
stores the still images only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vjepa_core.letterbox import Letterbox
from vjepa_core.pretraining.augment import speckle
from vjepa_core.pretraining.pack import sector_mask
from vjepa_core.pretraining.registration import (
    CAVITY,
    SHAPES,
    exponential,
    pixel_grid,
    register,
    signed_distance,
)
from vjepa_core.pretraining.sampling import crop_affine, to_uint8, uniform
from vjepa_core.pretraining.shards import PackedSet

CLASSES = 4
_CHUNK = 16


def contraction_curve(phase: Tensor, systole: float | Tensor = 0.38) -> Tensor:
    """Return the contraction, from 0 at ED to 1 at ES, at a phase counted from ED in beats.

    Contraction takes the fraction `systole` of the beat, followed by early filling, diastasis and atrial
    contraction. The shape imitates the volume curve of the Wiggers diagram with half cosine waves.
    """
    phase = phase % 1.0
    late = ((phase - systole) / (1 - systole)).clamp(0, 1)

    def ease(x: Tensor) -> Tensor:
        return 0.5 - 0.5 * torch.cos(torch.pi * x.clamp(0, 1))

    return ease(phase / systole) - 0.72 * ease(late / 0.45) - 0.28 * ease((late - 0.7) / 0.3)


@dataclass(frozen=True, eq=False)
class PairBank:
    """Registered pairs of still images on the device.

    Attributes
    ----------
    images, masks : Tensor
        Images and labels 0..3, ED then ES, shape (P, 2, H, W), uint8.
    sectors : Tensor
        1 inside the ultrasound sector, 0 outside, shape (P, 2, H, W), uint8.
    velocity : Tensor
        Result of `register`, shape (P, 2, g, g), float32.
    names : tuple of str
        Patient and view of each pair.
    """

    images: Tensor
    masks: Tensor
    sectors: Tensor
    velocity: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_stills(
        cls,
        stills: Iterable[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]],
        *,
        size: int = 224,
        device: torch.device | str = "cpu",
        limit: int | None = None,
    ) -> PairBank | None:
        """Find and register pairs of still images.

        Two still images are a pair if their names differ only in the endings ``_ED`` and ``_ES`` (CAMUS).

        Parameters
        ----------
        stills : iterable of (str, ndarray, ndarray)
            Name, image and label image, each (h, w), uint8.
        size : int
            Side of the letterboxed images in pixels.
        device : torch.device or str
            Device of the result.
        limit : int, optional
            Maximum number of pairs.

        Returns
        -------
        PairBank or None
            None if there is no pair.
        """
        ends: dict[str, dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = {}
        for name, image, mask in stills:
            stem, _, phase = str(name).rpartition("_")
            if stem and phase in ("ED", "ES") and (mask == CAVITY).any():
                ends.setdefault(stem, {})[phase] = (image, mask)
        names = [n for n, pair in ends.items() if len(pair) == 2 and _same_size(pair.values())][:limit]
        if not names:
            return None
        images = np.empty((len(names), 2, size, size), np.uint8)
        masks, sectors = np.empty_like(images), np.empty_like(images)
        maps = np.empty((len(names), 2, len(SHAPES), size, size), np.float16)
        for p, name in enumerate(names):
            for k, phase in enumerate(("ED", "ES")):
                image, mask = ends[name][phase]
                height, width = image.shape
                box = Letterbox.for_image(height, width, size)
                images[p, k], masks[p, k] = box.apply(image[None])[0], box.apply_labels(mask)
                sectors[p, k] = sector_mask(images[p, k])
                maps[p, k] = signed_distance(masks[p, k])
        device = torch.device(device)
        fields = [
            register(part[:, 0].to(device).float(), part[:, 1].to(device).float())
            for part in torch.from_numpy(maps).split(64)
        ]
        return cls(
            torch.from_numpy(images).to(device),
            torch.from_numpy(masks).to(device),
            torch.from_numpy(sectors).to(device),
            torch.cat(fields),
            tuple(names),
        )

    @classmethod
    def from_packed(
        cls,
        sets: Sequence[PackedSet],
        *,
        size: int = 224,
        device: torch.device | str = "cpu",
        limit: int | None = None,
    ) -> PairBank | None:
        """Find and register pairs among the labelled still images of packed sets; see `from_stills`."""
        stills = (
            (cine.name, frames[0], masks[0])
            for packed in sets
            for cine, frames, masks in packed.read({"still"})
            if masks is not None
        )
        return cls.from_stills(stills, size=size, device=device, limit=limit)

    def render(
        self, pairs: Tensor, contraction: Tensor, base: Tensor, drift: Tensor, *, with_masks: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Render frames of some pairs at given contractions.

        Parameters
        ----------
        pairs : Tensor
            Indices of the pairs, shape (n,), int64.
        contraction : Tensor
            Contraction from ED (0) to ES (1), shape (n, T), float32.
        base : Tensor
            Sampling position of each pixel in -1..1, shape (n, H, W, 2). The sector is fixed in this frame.
        drift : Tensor
            Shift of the tissue inside the sector, shape (n, T, 1, 1, 2).
        with_masks : bool
            Render label images too.

        Returns
        -------
        frames : Tensor
            Grey levels, shape (n, T, H, W), float32.
        labels : Tensor or None
            Shape (n, T, H, W), uint8.
        """
        n, frames = contraction.shape
        at = (base[:, None] + drift).flatten(0, 1)
        velocity = self.velocity[pairs].repeat_interleave(frames, 0)
        share = contraction.reshape(-1, 1, 1, 1)
        field_grid = pixel_grid(velocity.shape[2], velocity.shape[3], velocity.device)
        images, labels, coverage = (base.new_zeros(()) for _ in range(3))
        for k, (part, weight) in enumerate(((share, 1 - share), (share - 1, share))):
            field = exponential(velocity * part, field_grid)
            # The field is sampled at the pixel's position, and the image at the displaced position.
            shift = functional.grid_sample(field, at, padding_mode="border", align_corners=False)
            there = at + shift.permute(0, 2, 3, 1)
            still = torch.stack([self.images[pairs, k], self.sectors[pairs, k]], 1).float()
            grey, inside = _sample(still.repeat_interleave(frames, 0), there).split(1, 1)
            # Where the deformation reaches outside the sector of one image, only the other image is used.
            inside = inside * weight.clamp(min=1e-3)
            images, coverage = images + grey * inside, coverage + inside
            if with_masks:
                hot = functional.one_hot(self.masks[pairs, k].long().clamp(max=CLASSES - 1), CLASSES)
                hot = hot.permute(0, 3, 1, 2).float().repeat_interleave(frames, 0)
                labels = labels + weight * _sample(hot, there)
        images = images / coverage.clamp(min=1e-4)
        # Mixing two speckle patterns reduces their contrast: restore it.
        coarse = functional.avg_pool2d(images, 9, 1, 4, count_include_pad=False)
        contrast = (share.square() + (1 - share).square()).rsqrt()
        shape = (n, frames, *base.shape[1:3])
        out = (coarse + (images - coarse) * contrast).view(shape)
        out = out * _sample(self.sectors[pairs].amax(1, keepdim=True).float(), base)
        return out, labels.argmax(1).to(torch.uint8).view(shape) if with_masks else None


def _sample(maps: Tensor, at: Tensor) -> Tensor:
    return functional.grid_sample(maps, at, padding_mode="zeros", align_corners=False)


def _same_size(pair: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> bool:
    return len({array.shape for both in pair for array in both}) == 1


class PseudoSource:
    """Source of pseudo-cines with random heart rate, frame rate, start and crop.

    Parameters
    ----------
    bank : PairBank
        The registered pairs.
    rates : (float, float)
        Minimum and maximum frame rate in Hz.
    clip : int
        Frames of a clip.
    beats : (float, float)
        Minimum and maximum heart rate in beats per minute.
    transform : callable, optional
        Augmentation of clips (B, T, H, W), uint8.
    """

    def __init__(
        self,
        bank: PairBank,
        *,
        rates: tuple[float, float] = (8.0, 30.0),
        clip: int = 16,
        beats: tuple[float, float] = (50.0, 110.0),
        transform: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        self.bank, self.rates, self.clip, self.beats, self.transform = bank, rates, clip, beats, transform

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` clips (n, T, H, W), uint8, of the bank's image size; see `ClipSource`."""
        device, side = self.bank.images.device, self.bank.images.shape[-1]
        pairs = torch.randint(len(self.bank), (n,), generator=generator, device=device)
        pace = uniform(n, *self.beats, generator, device) / 60 / uniform(n, *self.rates, generator, device)
        start = torch.rand(n, generator=generator, device=device)
        systole = uniform(n, 0.32, 0.45, generator, device)[:, None]
        contraction = contraction_curve(
            start[:, None] + pace[:, None] * torch.arange(self.clip, device=device), systole
        )
        theta = crop_affine(n, generator, device, degrees=10.0)
        base = functional.affine_grid(theta, [n, 1, side, side], align_corners=False)
        shifts = drift(n, self.clip, generator, device)
        strength = uniform(n, 0.0, 0.12, generator, device)
        grain = speckle(strength, (self.clip, side, side), generator, uniform(n, 0.0, 0.5, generator, device))
        clips = torch.cat(
            [
                to_uint8(self.bank.render(pairs[p], contraction[p], base[p], shifts[p])[0] * grain[p].exp())
                for p in torch.arange(n, device=device).split(_CHUNK)
            ]
        )
        return clips if self.transform is None else self.transform(clips, generator)


def drift(n: int, frames: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw slow shifts of the tissue (n, T, 1, 1, 2) in -1..1, as from probe movement and breathing."""
    knots = 0.015 * torch.randn(n, 2, 4, generator=generator, device=device)
    path = functional.interpolate(knots, frames, mode="linear", align_corners=True)
    return path.transpose(1, 2)[:, :, None, None]


@dataclass(frozen=True, eq=False)
class PseudoCine:
    """Pseudo-cine with labels: frames and masks (T, H, W) uint8, frame rate, contraction (T,)."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    fps: float
    contraction: NDArray[np.float32]


def pseudo_cine(
    bank: PairBank,
    pair: int,
    *,
    frames: int = 40,
    fps: float = 25.0,
    beats_per_minute: float = 70.0,
    grain: float = 0.1,
    sway: float = 1.0,
    seed: int = 0,
) -> PseudoCine:
    """Generate a labelled cine of one pair that starts at ED.

    Parameters
    ----------
    bank : PairBank
        The registered pairs.
    pair : int
        Index of the pair.
    frames : int
        Number of frames.
    fps : float
        Frame rate in Hz.
    beats_per_minute : float
        Heart rate.
    grain : float
        Standard deviation of the speckle in nepers; most of it changes between frames.
    sway : float
        Scale of the shift of the tissue by probe movement and breathing.
    seed : int
        Seed; the result is reproducible.
    """
    device, side = bank.images.device, bank.images.shape[-1]
    generator = torch.Generator(device).manual_seed(seed)
    contraction = contraction_curve(torch.arange(frames, device=device)[None] * (beats_per_minute / 60 / fps))
    base, shifts = pixel_grid(side, side, device), sway * drift(1, frames, generator, device)
    strength = torch.full((1,), grain, device=device)
    noise = speckle(strength, (frames, side, side), generator, torch.full_like(strength, 0.3))
    index = torch.tensor([pair], device=device)
    images, labels = [], []
    for part in torch.arange(frames, device=device).split(16):
        grey, mask = bank.render(index, contraction[:, part], base, shifts[:, part], with_masks=True)
        images.append(to_uint8(grey * noise[:, part].exp())[0])
        labels.append(torch.as_tensor(mask)[0])
    return PseudoCine(
        torch.cat(images).cpu().numpy(), torch.cat(labels).cpu().numpy(), fps, contraction[0].cpu().numpy()
    )
