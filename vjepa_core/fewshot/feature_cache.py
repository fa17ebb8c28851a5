"""Features on disk, so that a cine is encoded once.

The cache is disposable: whatever goes wrong with it, the features are computed again and no error is raised.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.features import CLIP_FRAMES, CineFeatures, extract, temporal_stride

log = logging.getLogger(__name__)

FEATURE_VERSION = 2
"""Raise it when the same pixels and weights would give other features: they are then computed again."""

_SUFFIX = ".safetensors"
_ABANDONED_S = 3600.0


def feature_key(
    frames: NDArray[np.uint8], encoder_checksum: str, *, stride_frames: int, depths: Sequence[int]
) -> str:
    """Name of a cine's features: SHA-256 over all that they depend on; it does not tell who was scanned.

    Parameters
    ----------
    frames : array
        (T, H, W) uint8, letterboxed.
    encoder_checksum : str
        From the encoder's card.
    stride_frames, depths
        As `temporal_stride` gives, and as `extract` takes.
    """
    recipe = (FEATURE_VERSION, encoder_checksum, frames.shape, stride_frames, tuple(depths), CLIP_FRAMES)
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
        )

    if cache is None:
        return make()
    stride = temporal_stride(fps, card.fps)
    key = feature_key(frames, card.checksum, stride_frames=stride, depths=card.depths)
    return cache.get_or_make(key, make)


class FeatureCache:
    """One file for each cine in `folder`; the longest unused go when there are more than `max_bytes`."""

    def __init__(self, folder: Path, max_bytes: int = 4 * 2**30) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def get_or_make(self, key: str, make: Callable[[], CineFeatures]) -> CineFeatures:
        """Stored features, or those that `make` computes, which are then stored if possible."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def get(self, key: str) -> CineFeatures | None:
        """Stored features; None if there are none. A damaged file counts as missing and is removed."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                values, times = file.get_tensor("values"), file.get_tensor("times")
            intact = metadata.get("crc32") == _crc32(values, times)
        except (OSError, SafetensorError) as error:
            log.debug("cannot read cached features %s: %s", key[:12], type(error).__name__)
            intact = False
        if not intact:
            _remove(path)
            return None
        _touch(path)
        return CineFeatures(values, times)

    def put(self, key: str, features: CineFeatures) -> bool:
        """Store features; False, and no error, where the disk is full or the folder cannot be written."""
        tensors = {"values": features.values.contiguous(), "times": features.times.contiguous()}
        size = sum(tensor.nbytes for tensor in tensors.values())
        if size > self.max_bytes:
            return False
        temporary: Path | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            content = safetensors.torch.save(tensors, {"crc32": _crc32(*tensors.values())})
            handle, name = tempfile.mkstemp(suffix=".tmp", dir=self.folder)
            temporary = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            temporary.replace(self._path(key))
        except OSError as error:
            log.warning("features are not cached: %s", error.strerror)
            if temporary is not None:
                _remove(temporary)
            return False
        return True

    def size(self) -> int:
        """Bytes of the stored features."""
        return sum(size for _, size, _ in self._stored())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _stored(self) -> list[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of each file, longest unused first."""
        found = []
        try:
            for path in self.folder.glob(f"*{_SUFFIX}"):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        except OSError:  # another process removes files too
            log.debug("the feature cache changed while it was read")
        return sorted(found)

    def _make_room(self, size: int) -> None:
        for leftover in self.folder.glob("*.tmp"):  # of a process that was killed while writing
            if time.time() - leftover.stat().st_mtime > _ABANDONED_S:
                _remove(leftover)
        stored = self._stored()
        total = size + sum(bytes_ for _, bytes_, _ in stored)
        for _, bytes_, path in stored:
            if total <= self.max_bytes:
                break
            _remove(path)
            total -= bytes_


def _crc32(values: torch.Tensor, times: torch.Tensor) -> str:
    return str(zlib.crc32(times.numpy().data, zlib.crc32(values.numpy().data)))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.debug("cannot remove %s: %s", path.name, error.strerror)


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError as error:
        log.debug("cannot mark %s as used: %s", path.name, error.strerror)
