"""Estimate the data and the duration of a pre-training run on this machine.

All cines are read as the run would read them; a few steps on some of them give the time of a step. Nothing is
stored.
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
from app.formatting import format_count
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
"""Number of cines on which steps are timed."""
WARM_S = 5.0
"""If the first step takes longer than this, in seconds, its warm-up is negligible and no other is timed."""

ReportProgress = Callable[[str, int, int], None]


@dataclass
class Survey:
    """Data of a run.

    Attributes
    ----------
    cines, frames : int
        Number of cines and of frames.
    seconds : float
        Total duration of the cines.
    skipped : Skipped
        Files that are not used, by reason.
    reading_s : float
        Seconds that reading and packing took.
    """

    cines: int = 0
    frames: int = 0
    seconds: float = 0.0
    skipped: Skipped = field(default_factory=Skipped)
    reading_s: float = 0.0

    @property
    def skipped_counts(self) -> dict[str, int]:
        """Numbers of skipped files by reason, the most frequent first."""
        counted = Counter({reason: len(names) for reason, names in self.skipped.by_reason.items()})
        return dict(counted.most_common())


@dataclass(frozen=True)
class Estimate:
    """A survey and the measured time of a step, in seconds."""

    survey: Survey
    config: PretrainConfig
    device: torch.device
    step_s: float

    @property
    def total_s(self) -> float:
        """Seconds for reading and all steps."""
        return self.survey.reading_s + self.step_s * self.config.steps

    @property
    def device_name(self) -> str:
        """Name of the GPU, or number of CPU threads."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"CPU, {format_count(torch.get_num_threads(), 'thread')}"

    def data(self) -> dict[str, Any]:
        """Return JSON types; "left_out" has file names, which are shown to the user and never stored."""
        survey, config = self.survey, self.config
        return {
            "cines": survey.cines,
            "frames": survey.frames,
            "seconds_of_cine": round(survey.seconds, 2),
            "left_out": survey.skipped.by_reason,
            "device": self.device.type,
            "device_name": self.device_name,
            "architecture": config.architecture,
            "size": config.size,
            "batch": config.batch,
            "steps": config.steps,
            "seconds_a_step": self.step_s,
            "clips_per_second": config.batch / self.step_s,
            "reading_s": survey.reading_s,
            "estimated_s": self.total_s,
        }

    def text(self) -> str:
        """Return the estimate as text for the terminal."""
        survey, step_s, batch = self.survey, self.step_s, self.config.batch
        skipped = ", ".join(f"{n} {reason}" for reason, n in survey.skipped_counts.items())
        minutes = self.total_s / 60
        return (
            f"Used: {survey.cines} cines, {survey.frames} frames, {survey.seconds:.0f} s of cine. "
            f"Skipped: {skipped or 'nothing'}.\n"
            f"{self.device_name}: a step of {batch} clips takes {step_s:.2f} s "
            f"({batch / step_s:.1f} clips/s); "
            f"{self.config.steps} steps take about "
            + (f"{minutes:.0f} min." if minutes < 90 else f"{minutes / 60:.1f} hours.")
        )


def survey_data(data: Sequence[Path], sample: Path, report_progress: ReportProgress) -> Survey:
    """Read all data and pack a few of the cines.

    Parameters
    ----------
    data : sequence of Path
        Cines, folders and packed sets.
    sample : Path
        New folder for the packed cines.
    report_progress : callable
        Called with the stage, the files done and the files in all.

    Returns
    -------
    Survey

    Raises
    ------
    ApicalError
        No cine can be used; the message has the reasons.
    """
    survey = Survey()
    packed = [path for path in data if PackedSet.is_packed(path)]
    raw = [path for path in data if path not in packed]
    started = time.perf_counter()

    def sampled() -> Iterator[RawCine]:
        for cine in _read_all(packed, raw, survey, report_progress):
            survey.cines += 1
            survey.frames += len(cine.frames)
            survey.seconds += len(cine.frames) / cine.fps if cine.fps > 0 else 0.0
            if survey.cines <= SAMPLE:
                yield cine
        if not survey.cines:
            reasons = ", ".join(f"{n} {reason}" for reason, n in survey.skipped_counts.items())
            raise ApicalError(
                f"None of these files can be used for training{f' ({reasons})' if reasons else ''}: "
                "add grey-scale ultrasound cines of 8 frames or more."
            )

    try:
        pack_cines(sampled(), sample)
    except OSError as error:
        raise export_error(sample.parent, error) from error
    survey.reading_s = time.perf_counter() - started
    return survey


def time_step(
    config: PretrainConfig,
    sample: Path,
    world: World,
    *,
    folders: Sequence[Path],
    mix: Callable[[ClipSource], ClipSource],
    labelled: LabelledSource | None,
) -> float:
    """Measure the time of one step of a run.

    Parameters
    ----------
    config : PretrainConfig
    sample : Path
        Folder with a packed set, from `survey_data`; the run is created next to it.
    world : World
    folders : sequence of Path
        Folders with encoder cards.
    mix : callable
        Adds phantom clips to the clips of the sample.
    labelled : LabelledSource or None
        Source of labelled phantom clips.

    Returns
    -------
    float
        Seconds.
    """
    clips = load_clips(
        sample, target_fps=config.fps, size=config.size, clip=config.frames, device=world.device, max_pairs=4
    )
    trainer = Trainer(
        config,
        mix(clips),
        sample.with_name("run"),
        world,
        labelled=labelled,
        resume=False,
        folders=folders,
    )
    times: list[float] = []
    for _ in range(2 if world.device.type == "cpu" else 5):
        started = time.perf_counter()
        trainer.step()
        times.append(time.perf_counter() - started)
        if world.device.type == "cpu" and times[0] > WARM_S:
            break
    return min(times)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Create a temporary folder on disk: the system's own temporary folder may be in memory."""
    return tempfile.TemporaryDirectory(prefix="estimate-", dir=paths.cache_dir(), ignore_cleanup_errors=True)


def _read_all(
    packed: Sequence[Path], raw: Sequence[Path], survey: Survey, report_progress: ReportProgress
) -> Iterator[RawCine]:
    for folder in packed:
        cines = PackedSet(folder)
        total = len(cines.cines)
        for done, (cine, frames, masks) in enumerate(cines.read(), start=1):
            report_progress("reading", done, total)
            yield RawCine(cine.name, frames, cine.fps, cine.group, masks)
    if not raw:
        return
    total = _count(raw)
    for done, read in enumerate(read_cines(raw, survey.skipped), start=1):
        skipped = sum(map(len, survey.skipped.by_reason.values()))
        report_progress("reading", min(done + skipped, total), total)
        yield read


def _count(raw: Sequence[Path]) -> int:
    """Count the files to read, approximately: stills of an array file are not counted."""
    try:
        return max(1, len(cine_paths([path.expanduser().absolute() for path in raw])))
    except CineError:
        return 1
