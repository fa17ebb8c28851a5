"""Process that measures one side of the pre-training benchmark: a `Task` as JSON in, lines of JSON out."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vjepa_core.bench.device import device_name, matrix_rate, peak_memory
from vjepa_core.bench.full_token_peer import every_token_config, use_every_token
from vjepa_core.errors import CoreError
from vjepa_core.pretraining.config import PretrainConfig, with_values
from vjepa_core.pretraining.data import load_clips
from vjepa_core.pretraining.dense_labels import labelled_source, with_phantom
from vjepa_core.pretraining.distributed import World, best_device
from vjepa_core.pretraining.loop import Trainer
from vjepa_core.pretraining.source import ClipSource, MemorySource

_CLIPS = 64


@dataclass(frozen=True)
class Task:
    """Measurement of one process.

    Attributes
    ----------
    config : dict
        Fields of a `PretrainConfig`.
    every_token : bool
        Measure the peer that encodes every token.
    warm_up, steps : int
        Number of untimed and timed steps.
    data : tuple of str
        Packed sets; if empty, noise in memory is used.
    """

    config: dict[str, Any]
    every_token: bool
    warm_up: int
    steps: int
    data: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the argument of the process."""
        return json.dumps(asdict(self))


def measure(task: Task, run: Path, on_step: Callable[[int], None]) -> dict[str, Any]:
    """Run a `Trainer` in the folder `run`.

    Returns
    -------
    dict
        `seconds` and `waits` of each step, `micro_batch`, `peak_bytes`, `matrix_flops` (operations per
        second), device, precision and threads.
    """
    config: PretrainConfig = with_values(PretrainConfig(), task.config)
    # Weights do not affect the time; the run is longer than the measurement, so that schedules do not end.
    config = replace(config, start_from="", steps=task.warm_up + task.steps + 1)
    if task.every_token:
        config = every_token_config(config)
    device = best_device()
    trainer = Trainer(
        config,
        _source(config, task.data, device),
        run,
        World(device),
        labelled=labelled_source(config, device),
    )
    if task.every_token:
        use_every_token(trainer.objective)
    dtype = torch.bfloat16 if trainer.accumulator.bf16 else torch.float32
    seconds, waits = [], []
    for number in range(task.warm_up + task.steps):
        if number == task.warm_up:
            rate = matrix_rate(device, dtype)
            if device.type == "cuda":  # exclude the memory of the matrix products
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(device)
        start = time.perf_counter()
        entry, _ = trainer.step()
        duration = time.perf_counter() - start
        if number >= task.warm_up:
            seconds.append(duration)
            waits.append(entry["data_wait"] * duration)
        on_step(number + 1)
    peak = peak_memory(device)
    return {
        "seconds": seconds,
        "waits": waits,
        "micro_batch": trainer.accumulator.max_clips,
        "peak_bytes": peak,
        "matrix_flops": max(rate, matrix_rate(device, dtype)),
        "device": device_name(device),
        "precision": "bf16" if trainer.accumulator.bf16 else "fp32",
        "threads": torch.get_num_threads(),
    }


def _source(config: PretrainConfig, data: tuple[str, ...], device: torch.device) -> ClipSource:
    own: ClipSource
    if data:
        own = load_clips(data, target_fps=config.fps, size=config.size, clip=config.frames, device=device)
    else:
        generator = torch.Generator(device).manual_seed(config.seed)
        shape = (_CLIPS, config.frames, config.size, config.size)
        own = MemorySource(torch.randint(256, shape, dtype=torch.uint8, generator=generator, device=device))
    return with_phantom(own, config, device)


def main() -> int:
    """Write lines `{"done": n}`, then `{"result": ...}`, or `{"error": message}` with exit code 2."""
    raw = json.loads(sys.argv[1])
    task = Task(**{**raw, "data": tuple(raw["data"])})
    lines = sys.stdout

    def write(**values: Any) -> None:
        lines.write(json.dumps(values) + "\n")
        lines.flush()

    # Libraries may print to stdout.
    with (
        contextlib.redirect_stdout(sys.stderr),
        tempfile.TemporaryDirectory(prefix="apical-bench-") as folder,
    ):
        try:
            write(result=measure(task, Path(folder) / "run", lambda n: write(done=n)))
        except CoreError as error:
            write(error=str(error))
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
