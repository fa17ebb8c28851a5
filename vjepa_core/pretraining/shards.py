"""The packed set on disk: one folder with `index.json` and a few files of compressed pictures.

A shard is the bytes of many small pictures one after the other; the index says how long each one is. Whole
shards are read at once and decoded in threads, once, before training: nothing is read while it runs.
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
    """One cine of a packed set, as the index has it.

    Attributes
    ----------
    name, group : str
        Where it came from, and what kind it is.
    fps : float
        Frames a second; 0 for a still.
    frames, height, width : int
        Number and size of its pictures.
    shard : str
        File that holds it.
    offset : int
        Where its first picture starts there.
    sizes : tuple of int
        Bytes of each picture.
    mask_sizes : tuple of int
        Bytes of each label image (PNG), which follow the pictures; empty where there are none.
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
    """Writes a packed set; the index comes last, so that a set cut short is never taken for a whole one."""

    def __init__(
        self, out: Path, *, size: int, quality: int, codec: str, terms: Mapping[str, str] | None = None
    ) -> None:
        if codec not in _CODECS or not 1 <= quality <= 100:
            raise ValueError(f"codec {codec!r} (of {', '.join(_CODECS)}), quality {quality} (of 1..100)")
        if out.exists() and not (out.is_dir() and all(_is_leftover(path) for path in out.iterdir())):
            raise PretrainingError(f"{out} is in use already; name a new folder for the packed set.")
        out.mkdir(parents=True, exist_ok=True)
        for path in out.iterdir():
            path.unlink()
        self._out = out
        self._head = {"size": size, "quality": quality, "codec": codec, "terms": dict(terms or {})}
        self._suffix, flag = _CODECS[codec]
        self._how = [flag, quality]
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
        """Append a cine (T, h, w) uint8, and label images of the same shape."""
        pictures = [_encode(self._suffix, frame, self._how) for frame in frames]
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
                sizes=tuple(map(len, pictures)),
                mask_sizes=tuple(map(len, labels)),
            )
        )
        # One string a cine: a list of single pictures would be slow to measure again and again.
        self._parts.append(b"".join(chain(pictures, labels)))
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
        What `pack_cines` wrote.

    Raises
    ------
    PretrainingError
        If the folder holds no packed set, or one of another version.
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
            raise PretrainingError(f"{self.folder / INDEX} is damaged; pack the set again.") from error

    @staticmethod
    def is_packed(folder: Path | str) -> bool:
        """True where a folder holds a packed set."""
        return (Path(folder) / INDEX).is_file()

    def read(
        self, groups: Iterable[str] | None = None, *, threads: int | None = None
    ) -> Iterator[tuple[PackedCine, NDArray[np.uint8], NDArray[np.uint8] | None]]:
        """Decode the cines of some groups (default all), shard by shard.

        Yields
        ------
        PackedCine
        array
            Frames (T, h, w) uint8.
        array or None
            Masks (T, h, w) uint8.
        """
        wanted = None if groups is None else set(groups)
        with ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1)) as pool:
            for shard in self._shards:
                chosen = [c for c in self.cines if c.shard == shard and (wanted is None or c.group in wanted)]
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
            raise PretrainingError(f"{self.folder / shard} cannot be read; pack the set again.") from error
        if hashlib.sha256(data).hexdigest() != self._shards[shard]:
            raise PretrainingError(f"{self.folder / shard} is damaged; copy or pack the set again.")
        return memoryview(data)

    def _decode(
        self, cine: PackedCine, data: memoryview
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        ends = list(accumulate((*cine.sizes, *cine.mask_sizes), initial=cine.offset))
        out = np.empty((len(ends) - 1, cine.height, cine.width), np.uint8)
        for target, (start, stop) in zip(out, pairwise(ends), strict=True):
            picture = cv2.imdecode(np.frombuffer(data[start:stop], np.uint8), cv2.IMREAD_GRAYSCALE)
            if picture is None or picture.shape != target.shape:
                raise PretrainingError(f"{self.folder / cine.shard} does not fit its index; pack it again.")
            target[...] = picture
        return out[: cine.frames], out[cine.frames :] if cine.mask_sizes else None


def _is_leftover(path: Path) -> bool:
    """What a packing that was killed leaves behind: shards without an index."""
    shard = path.name.startswith("shard_") and path.suffix == ".bin"
    return (shard or unfinished_name(path) == INDEX) and not (path.parent / INDEX).exists()


def _encode(suffix: str, image: NDArray[np.uint8], how: list[int]) -> bytes:
    ok, data = cv2.imencode(suffix, image, how)
    if not ok:
        raise PretrainingError(f"OpenCV cannot write {suffix} here; choose another codec.")
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
            f"{folder} is no packed set; make one with "
            f"`python -m app.pretraining.packing DATA --out {folder}`."
        ) from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise PretrainingError(f"{folder} holds an index of another kind; name a packed set.")
    if index.get("version") != VERSION:
        raise PretrainingError(f"{folder} was packed by another version of Apical; pack it again.")
    return index
