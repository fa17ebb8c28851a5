"""Training clips from packed sets, which are decoded once into device memory and sampled there.

A training step does not wait for files or worker processes: a batch is one gather and one resampling on the
device.
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

from vjepa_core.letterbox import Letterbox
from vjepa_core.pretraining.augment import Augment
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.pseudo import PairBank, PseudoSource
from vjepa_core.pretraining.sampling import cine_weights, crop_affine, draw_indices, resample, sample_frames
from vjepa_core.pretraining.shards import PackedSet
from vjepa_core.pretraining.source import ClipSource, MixedSource

log = logging.getLogger(__name__)

CLIP_FRAMES = 16
SHARES: Mapping[str, float] = {"echo": 0.25, "pseudo": 0.4, "lung": 0.2, "still": 0.15}
"""Fraction of each group in a batch. The fraction of a missing group is distributed among the others, that of
"pseudo" is added to "still"."""
MIN_FPS = 8.0
"""Minimum frame rate in Hz at which a heartbeat is visible."""

Transform = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class LoadedCine:
    """Group, frame rate in Hz and number of frames of a cine in memory."""

    group: str
    fps: float
    frames: int


class CineClipSource:
    """Source of clips from cines in device memory.

    Parameters
    ----------
    frames : Tensor
        Letterboxed frames of all cines, concatenated, shape (N, S, S), uint8.
    cines : sequence of LoadedCine
        The cines in the order of their frames.
    shares : mapping of str to float
        Fraction of each group.
    rates : (float, float)
        Minimum and maximum frame rate of a clip in Hz.
    size, clip : int
        Side in pixels and number of frames of a clip.
    transform : callable, optional
        Augmentation of clips (B, T, size, size) uint8.
    scale, aspect, degrees
        Parameters of the random crop; see `crop_affine`.
    """

    def __init__(
        self,
        frames: Tensor,
        cines: Sequence[LoadedCine],
        *,
        shares: Mapping[str, float] = SHARES,
        rates: tuple[float, float] = (MIN_FPS, 30.0),
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
        """Device of the frames and the clips."""
        return self.frames.device

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` clips (n, T, size, size) uint8; `generator` must be on the same device."""
        return self.marked(n, generator)[0]

    def marked(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return `n` clips and their `moving` flags (n,) bool, False for repeated still images."""
        cine = draw_indices(self._upper, n, generator)
        lengths = self._lengths[cine]
        frame_numbers = sample_frames(lengths, self._fps[cine], self.clip, self.rates, generator)
        clips = self.frames[self._starts[cine, None] + frame_numbers]
        theta = crop_affine(
            n, generator, self.device, scale=self.scale, aspect=self.aspect, degrees=self.degrees
        )
        clips = resample(clips, theta, self.size)
        return clips if self.transform is None else self.transform(clips, generator), lengths > 1


def load_frames(
    cines: Iterable[tuple[LoadedCine, NDArray[np.uint8]]], n_frames: int, side: int, device: torch.device
) -> tuple[Tensor, list[LoadedCine]]:
    """Letterbox the frames of cines into one tensor.

    Parameters
    ----------
    cines : iterable of (LoadedCine, ndarray)
        Cines with their frames (T, h, w) uint8.
    n_frames : int
        Total number of frames.
    side : int
        Side S of the squares in pixels.
    device : torch.device
        Device of the result.

    Returns
    -------
    frames : Tensor
        Shape (n_frames, S, S), uint8, on the device.
    cines : list of LoadedCine
        The cines in the order of their frames.
    """
    frames = np.empty((n_frames, side, side), np.uint8)
    loaded: list[LoadedCine] = []
    done = 0
    for cine, source in cines:
        height, width = source.shape[1:]
        box = Letterbox.for_image(height, width, side)
        frames[done : done + len(source)] = box.apply(source)
        loaded.append(cine)
        done += len(source)
    return torch.from_numpy(frames[:done]).to(device), loaded


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
    """Load packed sets into memory and return one source of clips.

    Parameters
    ----------
    packed : path or sequence of paths
        Folders written by `pack_cines`.
    target_fps : float
        Maximum frame rate of a clip in Hz; each clip has a random rate between 8 Hz and this.
    size, clip : int
        Side in pixels and number of frames of a clip. Frames are stored a seventh larger than `size`, so that
        crops lose little resolution.
    device : torch.device or str
        Device of the frames.
    shares : mapping of str to float
        Fraction of each group in a batch. "pseudo" needs labelled pairs of end-diastole and end-systole among
        the still images; without such pairs its fraction goes to the still images.
    augment : Augment, optional
        Default: the ultrasound augmentations at their default strength; ``Augment.none()`` disables them.
    max_pairs : int, optional
        Maximum number of pairs for pseudo-cines; default: all. Their registration takes time on a CPU.

    Raises
    ------
    PretrainingError
        If a folder is not a packed set, or no group in it has a positive fraction.
    """
    folders = [packed] if isinstance(packed, str | Path) else list(packed)
    if not folders:
        raise PretrainingError("No packed set was given: name at least one.")
    device, started = torch.device(device), time.perf_counter()
    sets = [PackedSet(folder) for folder in folders]
    transform = Augment() if augment is None else augment
    min_fps = min(MIN_FPS, target_fps)
    groups = {group for group, share in shares.items() if share > 0}
    parts: list[tuple[ClipSource, float]] = []

    bank: PairBank | None = None
    if "pseudo" in groups:
        bank = PairBank.from_packed(sets, size=size, device=device, limit=max_pairs)
        if bank is None and "still" in groups:
            log.info("no labelled pairs, so no pseudo-cines: still images get their fraction")
            shares = {**shares, "still": shares["still"] + shares["pseudo"]}

    chosen = [c for s in sets for c in s.cines if c.group in groups]
    if chosen:
        frames, cines = load_frames(
            ((LoadedCine(c.group, c.fps, c.frames), f) for s in sets for c, f, _ in s.read(groups)),
            sum(c.frames for c in chosen),
            round(size * 8 / 7),
            device,
        )
        share = sum(shares[group] for group in {c.group for c in cines})
        clips = CineClipSource(
            frames,
            cines,
            shares=shares,
            rates=(min_fps, target_fps),
            size=size,
            clip=clip,
            transform=transform,
        )
        parts.append((clips, share))
        log.info("%d frames of %d cines loaded, %.0f MB", len(frames), len(cines), frames.numel() / 1e6)
    if bank is not None:
        pseudo = PseudoSource(bank, rates=(min_fps, target_fps), clip=clip, transform=transform)
        parts.append((pseudo, shares["pseudo"]))
        log.info("%d pairs registered for pseudo-cines", len(bank))
    if not parts:
        available = sorted({c.group for s in sets for c in s.cines})
        raise PretrainingError(
            f"The packed sets contain no cine to train on: they contain the groups "
            f"{', '.join(available) or 'none'}, and shares are set for {', '.join(sorted(groups)) or 'none'}."
        )
    log.info("loaded in %.1f s", time.perf_counter() - started)
    if len(parts) == 1:
        return parts[0][0]
    return MixedSource([source for source, _ in parts], [share for _, share in parts])
