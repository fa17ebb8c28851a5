"""Cache of features on disk, so that a cine is encoded only once.

Errors of the cache are never raised: the features are computed instead.
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
"""Increase this when the same pixels and weights would give different features."""

_HEADER_BYTES = 512  # maximum size of the safetensors header: names, shapes, key, checksum


def feature_key(
    frames: NDArray[np.uint8], card: EncoderCard, *, fps: float, matrices: torch.dtype = torch.float32
) -> str:
    """Return the key of a cine's features: SHA-256 of everything that determines them.

    The key contains no patient information.

    Parameters
    ----------
    frames : ndarray of uint8
        Letterboxed frames, shape (T, H, W).
    card : EncoderCard
        Card of the encoder. Its name does not matter; its architecture does, because the same weights may be
        used in more than one form.
    fps : float
        Frame rate of the cine in Hz; 0 if unknown. Only the resulting stride matters.
    matrices : torch.dtype
        Dtype of the encoder's linear layers, which affects the features.
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
    """Return the features of a cine from the cache, or compute and store them.

    Parameters
    ----------
    frames : ndarray of uint8
        Letterboxed frames, shape (T, H, W).
    encoder : VisionTransformer3D
        The encoder.
    card : EncoderCard
        Its card, with frame rate and depths.
    fps : float
        Frame rate of the cine in Hz; 0 if unknown.
    cache : FeatureCache or None
        None to compute without a cache.
    order_from, partial, on_progress, should_stop
        See `extract`.
    """

    def compute() -> CineFeatures:
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
        return compute()
    matrices = encoder.patch_embed.proj.weight.dtype
    return cache.get_or_make(feature_key(frames, card, fps=fps, matrices=matrices), compute)


class FeatureCache(CacheFolder):
    """Features by key, one file for each.

    A file contains its key and a checksum, and is created atomically by renaming. If two processes compute
    the same features at the same time, either file is valid.
    """

    def get_or_make(self, key: str, compute: Callable[[], CineFeatures]) -> CineFeatures:
        """Return the stored features, or compute them and store them if possible."""
        stored = self.get(key)
        if stored is not None:
            return stored
        features = compute()
        # Use the mapped file from now on: twenty cines of a large encoder would not fit into memory.
        return (self.get(key) if self.put(key, features) else None) or features

    def get(self, key: str) -> CineFeatures | None:
        """Return the stored features, or None. A damaged or unknown file is removed.

        The values are mapped into memory, which the system can reclaim, and stay valid after the file is
        removed.
        """
        path = self.path(key)
        if not self.max_bytes or not path.is_file():
            return None
        try:
            features = _read(path, key)
        except OSError as error:  # removed in the meantime, or locked by its writer
            log.debug("cached features cannot be read: %s", error.strerror)
            return None
        if features is None:
            remove(path)
            return None
        touch(path)
        return features

    def put(self, key: str, features: CineFeatures) -> bool:
        """Store features; return False if the disk is full or the folder cannot be written."""
        tensors = {"values": features.values.contiguous(), "times": features.times.contiguous()}
        size = _HEADER_BYTES + sum(tensor.nbytes for tensor in tensors.values())
        if size > self.max_bytes:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self.make_room(size):
                log.info("features are not cached: not enough space")
                return False
            # Directly from the tensors: serialising in memory would need a copy and much more time.
            with replacing(self.path(key)) as temporary:
                save_file(tensors, temporary, {"key": key, "crc32": _crc32(*tensors.values())})
        except (OSError, SafetensorError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the file cannot be written"
            log.warning("features are not cached: %s", reason)
            return False
        return True


def _read(path: Path, key: str) -> CineFeatures | None:
    """Return the contents of a file, or None if they are not exactly those stored under this key."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            values, times = file.get_tensor("values"), file.get_tensor("times")
    except (SafetensorError, ValueError, RuntimeError) as error:
        log.debug("cached features are damaged: %s", type(error).__name__)
        return None
    valid = values.dtype == torch.float16 and values.ndim == 5 and times.dtype == torch.float64
    if not valid or times.shape != values.shape[1:2] or not values.numel() or metadata.get("key") != key:
        return None
    return CineFeatures(values, times) if metadata.get("crc32") == _crc32(values, times) else None


def _crc32(values: torch.Tensor, times: torch.Tensor) -> str:
    return str(zlib.crc32(times.numpy().data, zlib.crc32(values.numpy().data)))
