"""Features on disk, so that a cine is encoded once.

The cache is disposable: whatever goes wrong with it, the features are computed again and no error is raised.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vjepa_core.atomic import replacing
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.cache_folder import CacheFolder, remove, touch
from vjepa_core.fewshot.features import CLIP_FRAMES, CineFeatures, PartialFeatures, extract, temporal_stride

log = logging.getLogger(__name__)

FEATURE_VERSION = 3
"""Raise it when the same pixels and weights would give other features: they are then computed again."""

_HEADER_BYTES = 512  # of safetensors, at most: names, shapes, key, checksum


def feature_key(
    frames: NDArray[np.uint8], card: EncoderCard, *, fps: float, matrices: torch.dtype = torch.float32
) -> str:
    """Name of a cine's features: SHA-256 over all that they depend on; it does not tell who was scanned.

    Parameters
    ----------
    frames : array
        (T, H, W) uint8, letterboxed.
    card : EncoderCard
        Of the encoder. Its name does not matter; its architecture does, as the same weights may be read in
        more than one form.
    fps : float
        Frame rate of the cine, Hz; 0 if unknown. Only the stride that follows from it matters.
    matrices : torch.dtype
        Of the encoder: what a GPU made is not taken for what a CPU without its number format makes.
    """
    stride = temporal_stride(fps, card.fps)
    encoder = (card.checksum, card.architecture, tuple(card.depths), str(matrices))
    recipe = (FEATURE_VERSION, encoder, frames.shape, stride, CLIP_FRAMES)
    digest = hashlib.sha256(repr(recipe).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()


def cached_features(
    frames: NDArray[np.uint8],
    encoder: VisionTransformer3D,
    card: EncoderCard,
    *,
    fps: float,
    cache: FeatureCache | None,
    order_from: int | None = None,
    partial: PartialFeatures | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> CineFeatures:
    """Features of letterboxed frames (T, H, W) uint8 at the card's rate and depths; see `extract`."""

    def make() -> CineFeatures:
        return extract(
            encoder,
            frames,
            fps=fps,
            target_fps=card.fps,
            depths=card.depths,
            on_progress=on_progress,
            should_stop=should_stop,
            order_from=order_from,
            partial=partial,
        )

    if cache is None:
        return make()
    matrices = encoder.patch_embed.proj.weight.dtype
    return cache.get_or_make(feature_key(frames, card, fps=fps, matrices=matrices), make)


class FeatureCache(CacheFolder):
    """Features by key, one file for each.

    A file names its key and carries a checksum of its content, and comes into being whole by being renamed.
    Two processes that compute the same features at once do so twice, and either file is right.
    """

    def get_or_make(self, key: str, make: Callable[[], CineFeatures]) -> CineFeatures:
        """Stored features, or those that `make` computes, which are then stored if possible."""
        found = self.get(key)
        if found is not None:
            return found
        made = make()
        # Mapped from now on as well: twenty cines of a large encoder would not fit into memory.
        return (self.get(key) if self.put(key, made) else None) or made

    def get(self, key: str) -> CineFeatures | None:
        """Stored features; None if there are none. A damaged or foreign file counts as none and is removed.

        Their values lie in the mapped file: they take memory that the system may have back, and outlive its
        removal.
        """
        path = self.path(key)
        if not self.max_bytes or not path.is_file():
            return None
        try:
            found = _read(path, key)
        except OSError as error:  # removed in this moment, or held by its writer
            log.debug("cached features cannot be read: %s", error.strerror)
            return None
        if found is None:
            remove(path)
            return None
        touch(path)
        return found

    def put(self, key: str, features: CineFeatures) -> bool:
        """Store features; False, and no error, where the disk is full or the folder cannot be written."""
        tensors = {"values": features.values.contiguous(), "times": features.times.contiguous()}
        size = _HEADER_BYTES + sum(tensor.nbytes for tensor in tensors.values())
        if size > self.max_bytes:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self.make_room(size):
                log.info("features are not cached: there is no room")
                return False
            # Straight from the tensors: bytes in memory would take as much again, and many times as long.
            with replacing(self.path(key)) as temporary:
                save_file(tensors, temporary, {"key": key, "crc32": _crc32(*tensors.values())})
        except (OSError, SafetensorError) as error:
            why = error.strerror if isinstance(error, OSError) else "the disk refuses them"
            log.warning("features are not cached: %s", why)
            return False
        return True


def _read(path: Path, key: str) -> CineFeatures | None:
    """What a file holds; None if that is not, to the last bit, what was stored under this key."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            values, times = file.get_tensor("values"), file.get_tensor("times")
    except (SafetensorError, ValueError, RuntimeError) as error:
        log.debug("cached features are damaged: %s", type(error).__name__)
        return None
    fitting = values.dtype == torch.float16 and values.ndim == 5 and times.dtype == torch.float64
    if not fitting or times.shape != values.shape[1:2] or not values.numel() or metadata.get("key") != key:
        return None
    return CineFeatures(values, times) if metadata.get("crc32") == _crc32(values, times) else None


def _crc32(values: torch.Tensor, times: torch.Tensor) -> str:
    return str(zlib.crc32(times.numpy().data, zlib.crc32(values.numpy().data)))
