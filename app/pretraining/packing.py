"""Pack cine files and folders into a set for pre-training.

``python -m app.pretraining.packing DATA... --out PACKED`` packs cines for training on a machine without the
program's readers. Cines are not named after their files, because file names may contain patient names.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.domain.cine import Cine
from app.domain.errors import ApicalError, CineError
from app.readers.browse import cine_paths
from app.readers.open import open_cine
from app.readers.suffixes import NIFTI_SUFFIXES
from vjepa_core.errors import CoreError
from vjepa_core.pretraining.pack import LIMITS, PackSummary, RawCine, isolate_ultrasound, pack_cines
from vjepa_core.pretraining.shards import PackedSet

if TYPE_CHECKING:
    from vjepa_core.pretraining.source import ClipSource

log = logging.getLogger(__name__)

MIN_FRAMES = 8
ASSUMED_FPS = 30.0
_DARKEST = 24
"""A frame whose 99th percentile of grey levels is below this is regarded as black."""
_LABEL_ENDINGS = tuple(f"_gt{suffix}" for suffix in NIFTI_SUFFIXES)
"""Ends of the names of CAMUS label images."""
_PATIENT = re.compile(r"patient\d+")


@dataclass
class Skipped:
    """File names of skipped files by reason: shown to the user, never stored."""

    by_reason: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: Path, reason: str) -> None:
        """Record a skipped file."""
        self.by_reason.setdefault(reason, []).append(path.name)


def read_cines(
    paths: Sequence[Path], skipped: Skipped | None = None, *, outlines: bool = True
) -> Iterator[RawCine]:
    """Read the cines in files and folders that are suitable for training, one at a time.

    Skipped are colour Doppler, cines with fewer than 8 frames, almost black cines, copies, label images
    (``_gt``), and patients that a CAMUS file in or above the folder assigns to validation or test. From a
    CAMUS file itself, only the training stills are read.

    Parameters
    ----------
    paths : sequence of Path
    skipped : Skipped, optional
        Receives the skipped files.
    outlines : bool
        Also read the masks of CAMUS stills, which pseudo-cines are warped along.

    Yields
    ------
    RawCine

    Raises
    ------
    CineError
        A path does not exist, or a folder contains no cine.
    """
    skipped = Skipped() if skipped is None else skipped
    paths = [Path(path).expanduser().absolute() for path in paths]
    for path in paths:
        if not path.exists():
            raise CineError(f"{path} does not exist; check the path.")
    arrays = [p for path in paths for p in _arrays_in(path)]
    for array in arrays:
        yield from _camus_stills(array, outlines)
    held_out = _held_out({*arrays, *(p for path in paths for p in _arrays_above(path))})
    seen: set[str] = set()
    for file in _cine_files(paths, allow_none=bool(arrays)):
        patient = _PATIENT.match(file.name.lower())
        if patient and patient.group() in held_out:
            skipped.add(file, "kept for validation")
        elif file.name.lower().endswith(_LABEL_ENDINGS):
            skipped.add(file, "labels, not images")
        else:
            cine = _read(file, seen, skipped)
            if cine is not None:
                yield cine


def pack(
    paths: Sequence[Path],
    out: Path,
    *,
    size: int = 256,
    quality: int = 60,
    skipped: Skipped | None = None,
    outlines: bool = True,
    phantoms: int = 0,
) -> PackSummary:
    """Read cines and write them as a packed set.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders, see `read_cines`.
    out : Path
        New folder of the packed set.
    size : int
        Longest side of the stored frames, pixels.
    quality : int
        Quality of the WebP compression, 1 to 100.
    skipped : Skipped, optional
        Receives the skipped files.
    outlines : bool
        Also read the masks of CAMUS stills.
    phantoms : int
        Number of phantom cines to add.

    Returns
    -------
    PackSummary
    """
    skipped = Skipped() if skipped is None else skipped
    cines = chain(read_cines(paths, skipped, outlines=outlines), phantom_cines(phantoms))
    summary = pack_cines(cines, out, size=size, quality=quality, limits=LIMITS)
    for reason, names in skipped.by_reason.items():
        log.info("%d files skipped: %s", len(names), reason)
    return summary


def phantom_cines(n: int, *, frames: int = 32, size: int = 160, fps: float = 30.0) -> Iterator[RawCine]:
    """Generate `n` synthetic apical cines without labels, group "phantom"; always the same ones."""
    import torch

    from vjepa_core.phantom import make_cines

    generator = torch.Generator().manual_seed(0)
    for i in range(n):
        cines = make_cines(
            1, frames=frames, size=size, generator=generator, fps=(fps, fps), stretch=i % 2 == 1
        )
        yield RawCine(f"phantom-{i}", cines.frames[0].numpy(), fps, "phantom")


def clips_from(paths: Sequence[Path], cache: Path, **options: Any) -> ClipSource:
    """Create a source of clips from packed sets, cine files and folders.

    Parameters
    ----------
    paths : sequence of Path
    cache : Path
        Folder for the packed set of files that are not packed yet. An existing set in it is used, so that a
        continued run sees the same data.
    **options
        For `vjepa_core.pretraining.data.load_clips`.

    Returns
    -------
    ClipSource
    """
    from vjepa_core.pretraining.data import load_clips

    packed = [path for path in paths if PackedSet.is_packed(path)]
    raw = [path for path in paths if path not in packed]
    if raw and not PackedSet.is_packed(cache):
        pack(raw, cache)
    return load_clips([*packed, *([cache] if raw else [])], **options)


def _read(file: Path, seen: set[str], skipped: Skipped) -> RawCine | None:
    try:
        cine = open_cine(file)
    except CineError:
        skipped.add(file, "cannot be read")
        return None
    try:
        reason = _reason_to_skip(cine, seen)
        if reason:
            skipped.add(file, reason)
            return None
        seen.add(cine.content_hash)
        frames = isolate_ultrasound(
            np.stack([cine.frame(i)[cine.region.slices] for i in range(cine.n_frames)])
        )
    except CineError:
        skipped.add(file, "damaged frames")
        return None
    finally:
        cine.source.close()
    if np.percentile(frames[len(frames) // 2], 99) < _DARKEST:
        skipped.add(file, "almost black")
        return None
    group = "lung" if any("lung" in part.lower() for part in (file.parent.name, file.name)) else "echo"
    fps = cine.timing.fps or ASSUMED_FPS
    name = f"{group}-{cine.content_hash[:12]}"
    return RawCine(name, frames, fps, group, pixel_aspect=cine.pixel_aspect)


def _reason_to_skip(cine: Cine, seen: set[str]) -> str:
    if cine.n_frames < MIN_FRAMES:
        return f"fewer than {MIN_FRAMES} frames"
    if cine.colour_doppler:
        return "colour Doppler"
    if cine.content_hash in seen:
        return "a copy"
    return ""


def _cine_files(paths: Sequence[Path], *, allow_none: bool) -> list[Path]:
    files: list[Path] = []
    for path in (path for path in paths if path.suffix.lower() != ".npz"):
        try:
            files.extend(cine_paths([path]))
        except CineError:
            if not allow_none:
                raise
    return list(dict.fromkeys(files))


def _arrays_in(path: Path) -> list[Path]:
    return sorted(path.rglob("*.npz")) if path.is_dir() else [path] if path.suffix.lower() == ".npz" else []


def _arrays_above(path: Path) -> list[Path]:
    return [p for folder in (path.parent, path.parent.parent) for p in folder.glob("*.npz")]


def _load(path: Path) -> Any | None:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile):
        log.warning("an array file cannot be read and is skipped")
        return None


def _camus_stills(path: Path, outlines: bool) -> Iterator[RawCine]:
    arrays = _load(path)
    if arrays is None or not {"train_img", "train_mask", "train_name"} <= set(arrays.files):
        return
    images, masks, names = arrays["train_img"], arrays["train_mask"], arrays["train_name"]
    for image, mask, name in zip(images, masks, names, strict=True):
        yield RawCine(str(name), image[None], 0.0, "still", mask[None] if outlines else None)


def _held_out(files: set[Path]) -> set[str]:
    patients: set[str] = set()
    for path in files:
        arrays = _load(path)
        for names in ("val_name", "test_name"):
            if arrays is not None and names in arrays.files:
                patients.update(str(name).split("_")[0].lower() for name in arrays[names])
    return patients


def main(argv: Sequence[str] | None = None) -> int:
    """Pack from the command line and print one JSON object.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        Exit code: 0 done, 2 bad input.
    """
    parser = argparse.ArgumentParser(prog="python -m app.pretraining.packing", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path, help="cines, folders of cines, CAMUS .npz files")
    parser.add_argument("--out", required=True, type=Path, help="new folder for the packed set")
    parser.add_argument(
        "--size", type=int, default=256, help="longest side of a frame in pixels (default 256)"
    )
    parser.add_argument("--quality", type=int, default=60, help="WebP quality, 1 to 100 (default 60)")
    parser.add_argument(
        "--no-outlines",
        dest="outlines",
        action="store_false",
        help="use no human labels: neither CAMUS outlines nor pseudo-cines warped along them",
    )
    parser.add_argument("--phantoms", type=int, default=0, metavar="N", help="add N unlabelled phantom cines")
    options = parser.parse_args(argv)
    skipped = Skipped()
    try:
        summary = pack(
            options.data,
            options.out,
            size=options.size,
            quality=options.quality,
            skipped=skipped,
            outlines=options.outlines,
            phantoms=options.phantoms,
        )
    except (ApicalError, CoreError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    counts = {reason: len(names) for reason, names in skipped.by_reason.items()}
    report = {
        "cines": summary.cines,
        "frames": summary.frames,
        "bytes": summary.n_bytes,
        "skipped": counts,
    }
    sys.stdout.write(f"{json.dumps(report)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
