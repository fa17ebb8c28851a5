"""Pseudo-cines: a heart that beats between two labelled stills of one patient and view.

One velocity field carries the outlines at end-diastole (ED) to those at end-systole (ES), see
`registration`. Followed for part of the way, it brings both stills and both label images to any moment of the
beat, and agrees with itself from either end. Everything runs in torch on the device, so that training makes
new beats at every step and keeps only the stills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vjepa_core.preprocessing import Letterbox
from vjepa_core.pretraining.augment import speckle
from vjepa_core.pretraining.pack import fan_of
from vjepa_core.pretraining.registration import (
    CAVITY,
    SHAPES,
    exponential,
    grid_of,
    register,
    signed_distance,
)
from vjepa_core.pretraining.sampling import crop_affine, to_bytes, uniform
from vjepa_core.pretraining.shards import PackedSet

CLASSES = 4
_CHUNK = 16


def beat(phase: Tensor, systole: float | Tensor = 0.38) -> Tensor:
    """How far from ED (0) to ES (1) the heart is, at a phase of the beat counted from ED in beats.

    Contraction for `systole` of the beat, then early filling, rest, and the atrium's kick: the shape of
    the volume curve in Wiggers' diagram, drawn here with half waves of cosine.
    """
    phase = phase % 1.0
    late = ((phase - systole) / (1 - systole)).clamp(0, 1)

    def ease(x: Tensor) -> Tensor:
        return 0.5 - 0.5 * torch.cos(torch.pi * x.clamp(0, 1))

    return ease(phase / systole) - 0.72 * ease(late / 0.45) - 0.28 * ease((late - 0.7) / 0.3)


@dataclass(frozen=True, eq=False)
class PairBank:
    """Registered pairs of stills on the device.

    Attributes
    ----------
    images, masks : Tensor
        (P, 2, H, W) uint8, ED then ES; masks hold labels 0..3.
    fans : Tensor
        (P, 2, H, W) uint8: 1 inside the ultrasound fan, 0 outside.
    velocity : Tensor
        (P, 2, g, g) float32, see `register`.
    names : tuple of str
        Patient and view of each pair.
    """

    images: Tensor
    masks: Tensor
    fans: Tensor
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
        """Find and register the pairs among named stills ``(name, image, mask)``, each (h, w) uint8.

        Two stills are a pair if their names differ only in ending in ``_ED`` and ``_ES`` (CAMUS). None
        where there is no pair.
        """
        ends: dict[str, dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = {}
        for name, image, mask in stills:
            stem, _, moment = str(name).rpartition("_")
            if stem and moment in ("ED", "ES") and (mask == CAVITY).any():
                ends.setdefault(stem, {})[moment] = (image, mask)
        names = [n for n, pair in ends.items() if len(pair) == 2 and _same_size(pair.values())][:limit]
        if not names:
            return None
        images = np.empty((len(names), 2, size, size), np.uint8)
        masks, fans = np.empty_like(images), np.empty_like(images)
        maps = np.empty((len(names), 2, len(SHAPES), size, size), np.float16)
        for p, name in enumerate(names):
            for k, moment in enumerate(("ED", "ES")):
                image, mask = ends[name][moment]
                height, width = image.shape
                box = Letterbox.fit(height, width, size)
                images[p, k], masks[p, k] = box.apply(image[None])[0], box.apply_labels(mask)
                fans[p, k] = fan_of(images[p, k])
                maps[p, k] = signed_distance(masks[p, k])
        device = torch.device(device)
        fields = [
            register(part[:, 0].to(device).float(), part[:, 1].to(device).float())
            for part in torch.from_numpy(maps).split(64)
        ]
        return cls(
            torch.from_numpy(images).to(device),
            torch.from_numpy(masks).to(device),
            torch.from_numpy(fans).to(device),
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
        """The pairs among the labelled stills of packed sets."""
        stills = (
            (cine.name, frames[0], masks[0])
            for packed in sets
            for cine, frames, masks in packed.read({"still"})
            if masks is not None
        )
        return cls.from_stills(stills, size=size, device=device, limit=limit)

    def render(
        self, pairs: Tensor, way: Tensor, base: Tensor, drift: Tensor, *, with_masks: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Pictures of some pairs at given ways from ED (0) to ES (1).

        Parameters
        ----------
        pairs : Tensor
            (n,) int64.
        way : Tensor
            (n, T) float32.
        base : Tensor
            (n, H, W, 2): where each pixel looks, in -1..1; the fan stands still there.
        drift : Tensor
            (n, T, 1, 1, 2): shift of the tissue inside the fan.

        Returns
        -------
        Tensor
            (n, T, H, W) float32 grey levels.
        Tensor or None
            (n, T, H, W) uint8 labels.
        """
        n, frames = way.shape
        at = (base[:, None] + drift).flatten(0, 1)
        velocity = self.velocity[pairs].repeat_interleave(frames, 0)
        share = way.reshape(-1, 1, 1, 1)
        own = grid_of(velocity.shape[2], velocity.shape[3], velocity.device)
        pictures, labels, seen = (base.new_zeros(()) for _ in range(3))
        for k, (part, weight) in enumerate(((share, 1 - share), (share - 1, share))):
            field = exponential(velocity * part, own)
            # The field is read where the pixel looks, and the still where the field then points.
            shift = functional.grid_sample(field, at, padding_mode="border", align_corners=False)
            there = at + shift.permute(0, 2, 3, 1)
            still = torch.stack([self.images[pairs, k], self.fans[pairs, k]], 1).float()
            grey, inside = _read(still.repeat_interleave(frames, 0), there).split(1, 1)
            # Where the heart draws in tissue from outside one fan, the other still alone is shown.
            inside = inside * weight.clamp(min=1e-3)
            pictures, seen = pictures + grey * inside, seen + inside
            if with_masks:
                hot = functional.one_hot(self.masks[pairs, k].long().clamp(max=CLASSES - 1), CLASSES)
                hot = hot.permute(0, 3, 1, 2).float().repeat_interleave(frames, 0)
                labels = labels + weight * _read(hot, there)
        pictures = pictures / seen.clamp(min=1e-4)
        # Two grains mixed half and half are weaker than either: give the detail its contrast back.
        coarse = functional.avg_pool2d(pictures, 9, 1, 4, count_include_pad=False)
        contrast = (share.square() + (1 - share).square()).rsqrt()
        shape = (n, frames, *base.shape[1:3])
        out = (coarse + (pictures - coarse) * contrast).view(shape)
        out = out * _read(self.fans[pairs].amax(1, keepdim=True).float(), base)
        return out, labels.argmax(1).to(torch.uint8).view(shape) if with_masks else None


def _read(maps: Tensor, at: Tensor) -> Tensor:
    return functional.grid_sample(maps, at, padding_mode="zeros", align_corners=False)


def _same_size(pair: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> bool:
    return len({array.shape for both in pair for array in both}) == 1


class PseudoSource:
    """Pseudo-cines as a source of clips: a new heart rate, frame rate, moment and crop every time.

    Parameters
    ----------
    bank : PairBank
    rates : tuple of float
        Lowest and highest frames a second.
    clip : int
        Frames of a clip.
    beats : tuple of float
        Lowest and highest beats a minute.
    transform : callable, optional
        Augmentation of (B, T, H, W) uint8.
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
        """`n` clips (n, T, H, W) uint8, the side as in the bank; `generator` must be of the bank's device."""
        device, side = self.bank.images.device, self.bank.images.shape[-1]
        pairs = torch.randint(len(self.bank), (n,), generator=generator, device=device)
        pace = uniform(n, *self.beats, generator, device) / 60 / uniform(n, *self.rates, generator, device)
        start = torch.rand(n, generator=generator, device=device)
        systole = uniform(n, 0.32, 0.45, generator, device)[:, None]
        way = beat(start[:, None] + pace[:, None] * torch.arange(self.clip, device=device), systole)
        theta = crop_affine(n, generator, device, degrees=10.0)
        base = functional.affine_grid(theta, [n, 1, side, side], align_corners=False)
        moved = drift(n, self.clip, generator, device)
        strength = uniform(n, 0.0, 0.12, generator, device)
        grain = speckle(strength, (self.clip, side, side), generator, uniform(n, 0.0, 0.5, generator, device))
        clips = torch.cat(
            [
                to_bytes(self.bank.render(pairs[p], way[p], base[p], moved[p])[0] * grain[p].exp())
                for p in torch.arange(n, device=device).split(_CHUNK)
            ]
        )
        return clips if self.transform is None else self.transform(clips, generator)


def drift(n: int, frames: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Slow shift of the tissue, (n, T, 1, 1, 2) in -1..1: the hand and the breath."""
    knots = 0.015 * torch.randn(n, 2, 4, generator=generator, device=device)
    path = functional.interpolate(knots, frames, mode="linear", align_corners=True)
    return path.transpose(1, 2)[:, :, None, None]


@dataclass(frozen=True, eq=False)
class PseudoCine:
    """One pseudo-cine with its truth: frames and masks (T, H, W) uint8, fps, way from ED to ES (T,)."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    fps: float
    way: NDArray[np.float32]


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
    """A labelled cine of one pair that starts at ED; the same for the same seed.

    `grain` is the standard deviation, in nepers, of speckle that is new in every frame for the most part;
    `sway` scales the shift of the tissue by hand and breath.
    """
    device, side = bank.images.device, bank.images.shape[-1]
    generator = torch.Generator(device).manual_seed(seed)
    way = beat(torch.arange(frames, device=device)[None] * (beats_per_minute / 60 / fps))
    base, moved = grid_of(side, side, device), sway * drift(1, frames, generator, device)
    strength = torch.full((1,), grain, device=device)
    noise = speckle(strength, (frames, side, side), generator, torch.full_like(strength, 0.3))
    index = torch.tensor([pair], device=device)
    pictures, labels = [], []
    for part in torch.arange(frames, device=device).split(16):
        grey, mask = bank.render(index, way[:, part], base, moved[:, part], with_masks=True)
        pictures.append(to_bytes(grey * noise[:, part].exp())[0])
        labels.append(torch.as_tensor(mask)[0])
    return PseudoCine(
        torch.cat(pictures).cpu().numpy(), torch.cat(labels).cpu().numpy(), fps, way[0].cpu().numpy()
    )
