"""What a pre-training run would use, and how long it would take on this machine: nothing is kept.

Every cine is read as the run would read it; two steps on a few of them give the time of a step.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from app import paths
from app.domain.errors import ApicalError, CineError
from app.pretraining.packing import Skipped, read_cines
from app.readers.browse import cine_paths
from app.storage.errors import export_error
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.data import load_clips
from vjepa_core.pretraining.dense_labels import LabelledSource
from vjepa_core.pretraining.distributed import World
from vjepa_core.pretraining.loop import Trainer
from vjepa_core.pretraining.pack import RawCine, pack_cines
from vjepa_core.pretraining.shards import PackedSet
from vjepa_core.pretraining.source import ClipSource

SAMPLE = 4
"""Cines that the steps are timed on."""
WARM_S = 5.0
"""A first step that takes longer than this is timed itself: its warming up no longer counts."""

Told = Callable[[str, int, int], None]


@dataclass
class Found:
    """What would be trained on: numbers of cines and frames, seconds of cine, and what is left out, why."""

    cines: int = 0
    frames: int = 0
    seconds: float = 0.0
    skipped: Skipped = field(default_factory=Skipped)
    reading_s: float = 0.0

    @property
    def left_out(self) -> dict[str, int]:
        """Files by reason, the most frequent first."""
        counted = Counter({reason: len(names) for reason, names in self.skipped.by_reason.items()})
        return dict(counted.most_common())


@dataclass(frozen=True)
class Estimate:
    """A survey with the measured seconds of a step."""

    found: Found
    config: PretrainConfig
    device: torch.device
    seconds_a_step: float

    @property
    def total_s(self) -> float:
        """Reading and all steps, in seconds."""
        return self.found.reading_s + self.seconds_a_step * self.config.steps

    @property
    def device_name(self) -> str:
        """The GPU's name, or the CPU with its threads."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"CPU, {torch.get_num_threads()} threads"

    def data(self) -> dict[str, Any]:
        """As JSON types; `left_out` has file names by reason, for the user's eyes."""
        found, config = self.found, self.config
        return {
            "cines": found.cines,
            "frames": found.frames,
            "seconds_of_cine": round(found.seconds, 2),
            "left_out": found.skipped.by_reason,
            "device": self.device.type,
            "device_name": self.device_name,
            "architecture": config.architecture,
            "size": config.size,
            "batch": config.batch,
            "steps": config.steps,
            "seconds_a_step": self.seconds_a_step,
            "clips_per_second": config.batch / self.seconds_a_step,
            "reading_s": found.reading_s,
            "estimated_s": self.total_s,
        }

    def text(self) -> str:
        """For a reader."""
        found, each, batch = self.found, self.seconds_a_step, self.config.batch
        left_out = ", ".join(f"{n} {reason}" for reason, n in found.left_out.items())
        minutes = self.total_s / 60
        return (
            f"Used: {found.cines} cines, {found.frames} frames, {found.seconds:.0f} s of cine. "
            f"Left out: {left_out or 'nothing'}.\n"
            f"{self.device_name}: a step of {batch} clips takes {each:.2f} s ({batch / each:.1f} clips/s); "
            f"{self.config.steps} steps take about "
            + (f"{minutes:.0f} min." if minutes < 90 else f"{minutes / 60:.1f} hours.")
        )


def survey(data: Sequence[Path], sample: Path, on_progress: Told) -> Found:
    """Count what would be used, and pack a few cines of it into the folder `sample`.

    Raises
    ------
    ApicalError
        If nothing can be used: one sentence with the reasons.
    """
    found = Found()
    packed = [path for path in data if PackedSet.is_packed(path)]
    raw = [path for path in data if path not in packed]
    began = time.perf_counter()

    def some() -> Iterator[RawCine]:
        for cine in _all(packed, raw, found, on_progress):
            found.cines += 1
            found.frames += len(cine.frames)
            found.seconds += len(cine.frames) / cine.fps if cine.fps > 0 else 0.0
            if found.cines <= SAMPLE:
                yield cine
        if not found.cines:
            why = ", ".join(f"{n} {reason}" for reason, n in found.left_out.items())
            raise ApicalError(
                f"Nothing here can be trained on{f' ({why})' if why else ''}: "
                "add grey-scale ultrasound cines of 8 frames or more."
            )

    try:
        pack_cines(some(), sample)
    except OSError as error:
        raise export_error(sample.parent, error) from error
    found.reading_s = time.perf_counter() - began
    return found


def seconds_a_step(
    config: PretrainConfig,
    sample: Path,
    world: World,
    *,
    folders: Sequence[Path],
    mixed: Callable[[ClipSource], ClipSource],
    labelled: LabelledSource | None,
) -> float:
    """Time of one step of a run like this, in seconds, measured in a temporary folder beside `sample`."""
    clips = load_clips(
        sample, target_fps=config.fps, size=config.size, clip=config.frames, device=world.device, max_pairs=4
    )
    trainer = Trainer(
        config,
        mixed(clips),
        sample.with_name("run"),
        world,
        labelled=labelled,
        resume=False,
        folders=folders,
    )
    times: list[float] = []
    for _ in range(2 if world.device.type == "cpu" else 5):
        began = time.perf_counter()
        trainer.step()
        times.append(time.perf_counter() - began)
        if world.device.type == "cpu" and times[0] > WARM_S:
            break
    return min(times)


def workshop() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with all in it; on the disk, since a system's own may lie in memory."""
    return tempfile.TemporaryDirectory(prefix="estimate-", dir=paths.cache_dir(), ignore_cleanup_errors=True)


def _all(packed: Sequence[Path], raw: Sequence[Path], found: Found, on_progress: Told) -> Iterator[RawCine]:
    for folder in packed:
        cines = PackedSet(folder)
        total = len(cines.cines)
        for done, (cine, frames, masks) in enumerate(cines.read(), start=1):
            on_progress("reading", done, total)
            yield RawCine(cine.name, frames, cine.fps, cine.group, masks)
    if not raw:
        return
    total = _count(raw)
    for done, read in enumerate(read_cines(raw, found.skipped), start=1):
        left_out = sum(map(len, found.skipped.by_reason.values()))
        on_progress("reading", min(done + left_out, total), total)
        yield read


def _count(raw: Sequence[Path]) -> int:
    """About how many files there are to read: stills of an array file are not counted."""
    try:
        return max(1, len(cine_paths([path.expanduser().absolute() for path in raw])))
    except CineError:
        return 1
