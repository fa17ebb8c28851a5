"""Clips for pre-training from packed sets: decoded once into the device's memory, sampled by time there.

A training step then waits for no file and no worker: a batch is a gather and one resampling on the device.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.preprocessing import Letterbox
from vjepa_core.pretraining.augment import Augment
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.pseudo import PairBank, PseudoSource
from vjepa_core.pretraining.sampling import cine_weights, crop_affine, pick, resample, sample_moments
from vjepa_core.pretraining.shards import PackedSet
from vjepa_core.pretraining.source import ClipSource, MixedSource

log = logging.getLogger(__name__)

CLIP_FRAMES = 16
SHARES: Mapping[str, float] = {"echo": 0.25, "pseudo": 0.4, "lung": 0.2, "still": 0.15}
"""Share of each group in a batch; one that is not there leaves its own to the others, "pseudo" to "still"."""
SLOWEST = 8.0
"""Frames a second below which a beat is too short to be seen as one."""

Transform = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class HeldCine:
    """What is known about one cine in memory: its group, frames a second, and number of frames."""

    group: str
    fps: float
    frames: int


class HeldClips:
    """Cines in device memory, as a source of clips.

    Parameters
    ----------
    frames : Tensor
        (N, S, S) uint8: the frames of all cines one after the other, letterboxed.
    cines : sequence of HeldCine
        In the order of their frames.
    shares : mapping
        Share of each group.
    rates : tuple of float
        Lowest and highest frames a second of a clip.
    size, clip : int
        Side and number of the frames of a clip.
    transform : callable, optional
        Augmentation of (B, T, size, size) uint8.
    scale, aspect, degrees
        Of the random crop, see `crop_affine`.
    """

    def __init__(
        self,
        frames: Tensor,
        cines: Sequence[HeldCine],
        *,
        shares: Mapping[str, float] = SHARES,
        rates: tuple[float, float] = (SLOWEST, 30.0),
        size: int = 224,
        clip: int = CLIP_FRAMES,
        transform: Transform | None = None,
        scale: tuple[float, float] = (0.5, 1.0),
        aspect: tuple[float, float] = (0.9, 1.1),
        degrees: float = 10.0,
    ) -> None:
        lengths = [cine.frames for cine in cines]
        if frames.dtype != torch.uint8 or frames.ndim != 3 or len(frames) != sum(lengths) or not cines:
            raise ValueError(f"frames {frames.dtype} {tuple(frames.shape)} for cines of {lengths}")
        if not 0 < rates[0] <= rates[1]:
            raise ValueError(f"frame rates from {rates[0]} to {rates[1]} a second")
        device = frames.device
        self.frames, self.cines = frames, tuple(cines)
        self.rates, self.size, self.clip, self.transform = rates, size, clip, transform
        self.scale, self.aspect, self.degrees = scale, aspect, degrees
        self._lengths = torch.tensor(lengths, device=device)
        self._starts = self._lengths.cumsum(0) - self._lengths
        self._fps = torch.tensor([c.fps for c in cines], dtype=torch.float32, device=device)
        weights = cine_weights([c.group for c in cines], lengths, shares)
        self._upper = weights.cumsum(0).float().to(device)

    @property
    def device(self) -> torch.device:
        """Where the frames lie and the clips are made."""
        return self.frames.device

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` clips (n, T, size, size) uint8; `generator` must be of the same device."""
        return self.marked(n, generator)[0]

    def marked(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`n` clips, and which of them move: (n,) bool, False for a still that is repeated."""
        cine = pick(self._upper, n, generator)
        lengths = self._lengths[cine]
        moments = sample_moments(lengths, self._fps[cine], self.clip, self.rates, generator)
        clips = self.frames[self._starts[cine, None] + moments]
        theta = crop_affine(
            n, generator, self.device, scale=self.scale, aspect=self.aspect, degrees=self.degrees
        )
        clips = resample(clips, theta, self.size)
        return clips if self.transform is None else self.transform(clips, generator), lengths > 1


def hold(
    cines: Iterable[tuple[HeldCine, NDArray[np.uint8]]], n_frames: int, side: int, device: torch.device
) -> tuple[Tensor, list[HeldCine]]:
    """Letterbox cines into one tensor.

    Parameters
    ----------
    cines : iterable
        Each with its frames (T, h, w) uint8.
    n_frames : int
        Frames of all cines together.
    side : int
        Side of the squares, S.

    Returns
    -------
    Tensor
        (n_frames, S, S) uint8 on the device.
    list of HeldCine
    """
    frames = np.empty((n_frames, side, side), np.uint8)
    held: list[HeldCine] = []
    done = 0
    for cine, pictures in cines:
        height, width = pictures.shape[1:]
        box = Letterbox.fit(height, width, side)
        frames[done : done + len(pictures)] = box.apply(pictures)
        held.append(cine)
        done += len(pictures)
    return torch.from_numpy(frames[:done]).to(device), held


def load_clips(
    packed: Path | str | Sequence[Path | str],
    *,
    target_fps: float = 30.0,
    size: int = 224,
    device: torch.device | str = "cpu",
    clip: int = CLIP_FRAMES,
    shares: Mapping[str, float] = SHARES,
    augment: Augment | None = None,
    max_pairs: int | None = None,
) -> ClipSource:
    """Read packed sets into memory, as one source of clips.

    Parameters
    ----------
    packed : path or sequence of paths
        Folders that `pack_cines` wrote.
    target_fps : float
        Highest frames a second of a clip; each clip draws its rate between 8 and this.
    size, clip : int
        Side and number of the frames of a clip. Frames are held a seventh larger than `size`, so that
        crops lose little.
    device : device
        Where everything lies.
    shares : mapping
        Share of each group in a batch. "pseudo" needs labelled pairs of end-diastole and end-systole among
        the stills; without them their share goes to the stills, and with a share of 0 none is made.
    augment : Augment, optional
        Default: the ultrasound augmentations at their usual strength; ``Augment.none()`` switches them off.
    max_pairs : int, optional
        Pairs that pseudo-cines are made from; default all. Their registration takes time on a CPU.

    Raises
    ------
    PretrainingError
        If a folder is no packed set, or nothing in it has a share.
    """
    folders = [packed] if isinstance(packed, str | Path) else list(packed)
    if not folders:
        raise PretrainingError("There is no packed set to train on; name at least one.")
    device, began = torch.device(device), time.perf_counter()
    sets = [PackedSet(folder) for folder in folders]
    transform = Augment() if augment is None else augment
    slow = min(SLOWEST, target_fps)
    groups = {group for group, share in shares.items() if share > 0}
    parts: list[tuple[ClipSource, float]] = []

    bank: PairBank | None = None
    if "pseudo" in groups:
        bank = PairBank.from_packed(sets, size=size, device=device, limit=max_pairs)
        if bank is None and "still" in groups:
            # Without outlines no still can be warped: the stills stand in as they are.
            log.info("no outlines, so no pseudo-cines: stills take their share")
            shares = {**shares, "still": shares["still"] + shares["pseudo"]}

    chosen = [c for s in sets for c in s.cines if c.group in groups]
    if chosen:
        frames, cines = hold(
            ((HeldCine(c.group, c.fps, c.frames), f) for s in sets for c, f, _ in s.read(groups)),
            sum(c.frames for c in chosen),
            round(size * 8 / 7),
            device,
        )
        share = sum(shares[group] for group in {c.group for c in cines})
        held = HeldClips(
            frames, cines, shares=shares, rates=(slow, target_fps), size=size, clip=clip, transform=transform
        )
        parts.append((held, share))
        log.info("%d frames of %d cines held, %.0f MB", len(frames), len(cines), frames.numel() / 1e6)
    if bank is not None:
        pseudo = PseudoSource(bank, rates=(slow, target_fps), clip=clip, transform=transform)
        parts.append((pseudo, shares["pseudo"]))
        log.info("%d pairs registered for pseudo-cines", len(bank))
    if not parts:
        found = sorted({c.group for s in sets for c in s.cines})
        raise PretrainingError(
            f"Nothing in the packed sets has a share: they hold {', '.join(found) or 'nothing'}, "
            f"shares are for {', '.join(sorted(groups)) or 'nothing'}."
        )
    log.info("loaded in %.1f s", time.perf_counter() - began)
    if len(parts) == 1:
        return parts[0][0]
    return MixedSource([source for source, _ in parts], [share for _, share in parts])
