"""Packed sets on disk: a folder with `index.json` and a few files of compressed images.

A shard is the concatenation of many small compressed images; the index contains their sizes. Complete shards
are read and decoded in threads before training, so that nothing is read during training.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import accumulate, chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.atomic import unfinished_name, write_text
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.files import INDEX

FORMAT = "apical-packed"
VERSION = 1
SHARD_BYTES = 16 << 20

_CODECS = {
    "webp": (".webp", cv2.IMWRITE_WEBP_QUALITY),
    "jpeg": (".jpg", cv2.IMWRITE_JPEG_QUALITY),
}


@dataclass(frozen=True)
class PackedCine:
    """Index entry of a cine.

    Attributes
    ----------
    name, group : str
        Source and kind of the cine.
    fps : float
        Frame rate in Hz; 0 for a still image.
    frames, height, width : int
        Number and size in pixels of its images.
    shard : str
        File that contains it.
    offset : int
        Offset of its first image in the file, in bytes.
    sizes : tuple of int
        Size of each image in bytes.
    mask_sizes : tuple of int
        Size of each label image (PNG) in bytes; they follow the images. Empty if there are none.
    """

    name: str
    group: str
    fps: float
    frames: int
    height: int
    width: int
    shard: str
    offset: int
    sizes: tuple[int, ...]
    mask_sizes: tuple[int, ...] = ()


class ShardWriter:
    """Writes a packed set; the index is written last, so that an incomplete set is never read."""

    def __init__(
        self, out: Path, *, size: int, quality: int, codec: str, terms: Mapping[str, str] | None = None
    ) -> None:
        if codec not in _CODECS or not 1 <= quality <= 100:
            raise ValueError(f"codec {codec!r} (of {', '.join(_CODECS)}), quality {quality} (of 1..100)")
        if out.exists() and not (out.is_dir() and all(_is_leftover(path) for path in out.iterdir())):
            raise PretrainingError(f"{out} is not empty: choose a new folder for the packed set.")
        out.mkdir(parents=True, exist_ok=True)
        for path in out.iterdir():
            path.unlink()
        self._out = out
        self._head = {"size": size, "quality": quality, "codec": codec, "terms": dict(terms or {})}
        self._suffix, flag = _CODECS[codec]
        self._parameters = [flag, quality]
        self._cines: list[PackedCine] = []
        self._shards: dict[str, str] = {}
        self._parts: list[bytes] = []
        self.n_bytes = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            self._write_index()

    def add(
        self,
        name: str,
        frames: NDArray[np.uint8],
        fps: float,
        group: str,
        masks: NDArray[np.uint8] | None = None,
    ) -> None:
        """Append a cine (T, h, w), uint8, and optional label images of the same shape."""
        encoded = [_encode(self._suffix, frame, self._parameters) for frame in frames]
        labels = [_encode(".png", mask, []) for mask in masks] if masks is not None else []
        offset = sum(map(len, self._parts))
        self._cines.append(
            PackedCine(
                name=name,
                group=group,
                fps=round(float(fps), 3),
                frames=len(frames),
                height=frames.shape[1],
                width=frames.shape[2],
                shard=self._shard,
                offset=offset,
                sizes=tuple(map(len, encoded)),
                mask_sizes=tuple(map(len, labels)),
            )
        )
        # One bytes object per cine, so that computing the offset stays fast.
        self._parts.append(b"".join(chain(encoded, labels)))
        if offset + len(self._parts[-1]) >= SHARD_BYTES:
            self._flush()

    @property
    def _shard(self) -> str:
        return f"shard_{len(self._shards):03d}.bin"

    def _flush(self) -> None:
        if not self._parts:
            return
        data, name = b"".join(self._parts), self._shard
        (self._out / name).write_bytes(data)
        self._shards[name] = hashlib.sha256(data).hexdigest()
        self.n_bytes += len(data)
        self._parts = []

    def _write_index(self) -> None:
        index = {
            "format": FORMAT,
            "version": VERSION,
            **self._head,
            "shards": self._shards,
            "cines": [asdict(cine) for cine in self._cines],
        }
        text = json.dumps(index, separators=(",", ":"))
        write_text(self._out / INDEX, text)
        self.n_bytes += len(text)


class PackedSet:
    """Reads a packed set.

    Parameters
    ----------
    folder : Path
        Folder written by `pack_cines`.

    Raises
    ------
    PretrainingError
        If the folder contains no packed set, or one of another version.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        index = _read_index(self.folder)
        try:
            self.size = int(index["size"])
            self.terms: dict[str, str] = dict(index["terms"])
            self._shards: dict[str, str] = dict(index["shards"])
            self.cines = tuple(_cine(entry) for entry in index["cines"])
            if any(Path(shard).name != shard for shard in self._shards):
                raise ValueError("a shard outside the folder")
        except (KeyError, TypeError, ValueError) as error:
            raise PretrainingError(f"{self.folder / INDEX} is damaged: pack the set again.") from error

    @staticmethod
    def is_packed(folder: Path | str) -> bool:
        """Return True if a folder contains a packed set."""
        return (Path(folder) / INDEX).is_file()

    def read(
        self, groups: Iterable[str] | None = None, *, threads: int | None = None
    ) -> Iterator[tuple[PackedCine, NDArray[np.uint8], NDArray[np.uint8] | None]]:
        """Decode the cines of some groups (default: all), shard by shard.

        Yields
        ------
        cine : PackedCine
            Index entry.
        frames : ndarray of uint8
            Shape (T, h, w).
        masks : ndarray of uint8 or None
            Label images, shape (T, h, w).

        Raises
        ------
        PretrainingError
            If a file cannot be read or is damaged.
        """
        selected = None if groups is None else set(groups)
        with ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1)) as pool:
            for shard in self._shards:
                chosen = [
                    c for c in self.cines if c.shard == shard and (selected is None or c.group in selected)
                ]
                if not chosen:
                    continue
                data = self._bytes(shard)
                for cine, (frames, masks) in zip(
                    chosen, pool.map(lambda c, d=data: self._decode(c, d), chosen), strict=True
                ):
                    yield cine, frames, masks

    def _bytes(self, shard: str) -> memoryview:
        try:
            data = (self.folder / shard).read_bytes()
        except OSError as error:
            raise PretrainingError(f"{self.folder / shard} cannot be read: pack the set again.") from error
        if hashlib.sha256(data).hexdigest() != self._shards[shard]:
            raise PretrainingError(f"{self.folder / shard} is damaged: copy or pack the set again.")
        return memoryview(data)

    def _decode(
        self, cine: PackedCine, data: memoryview
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        ends = list(accumulate((*cine.sizes, *cine.mask_sizes), initial=cine.offset))
        out = np.empty((len(ends) - 1, cine.height, cine.width), np.uint8)
        for target, (start, stop) in zip(out, pairwise(ends), strict=True):
            image = cv2.imdecode(np.frombuffer(data[start:stop], np.uint8), cv2.IMREAD_GRAYSCALE)
            if image is None or image.shape != target.shape:
                raise PretrainingError(f"{self.folder / cine.shard} does not match its index: pack it again.")
            target[...] = image
        return out[: cine.frames], out[cine.frames :] if cine.mask_sizes else None


def _is_leftover(path: Path) -> bool:
    """Return True for a file of an incomplete set: a shard without an index, or an unfinished index."""
    shard = path.name.startswith("shard_") and path.suffix == ".bin"
    return (shard or unfinished_name(path) == INDEX) and not (path.parent / INDEX).exists()


def _encode(suffix: str, image: NDArray[np.uint8], parameters: list[int]) -> bytes:
    ok, data = cv2.imencode(suffix, image, parameters)
    if not ok:
        raise PretrainingError(f"OpenCV cannot write {suffix} on this machine: choose another codec.")
    return data.tobytes()


def _cine(entry: dict[str, Any]) -> PackedCine:
    sizes, masks = tuple(entry.pop("sizes")), tuple(entry.pop("mask_sizes"))
    cine = PackedCine(**entry, sizes=sizes, mask_sizes=masks)
    if len(sizes) != cine.frames or len(masks) not in (0, cine.frames) or cine.frames < 1:
        raise ValueError(f"{cine.name}: {cine.frames} frames, {len(sizes)} sizes, {len(masks)} masks")
    return cine


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PretrainingError(
            f"{folder} is not a packed set: create one with "
            f"`python -m app.pretraining.packing DATA --out {folder}`."
        ) from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise PretrainingError(f"{folder} contains an index of another format: choose a packed set.")
    if index.get("version") != VERSION:
        raise PretrainingError(f"{folder} was packed by another version of Apical: pack it again.")
    return index
