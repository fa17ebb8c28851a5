"""One side of the pre-training benchmark, in a process of its own: a `Task` as JSON in, lines of JSON out."""

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
from vjepa_core.bench.every_token import drop_no_token, every_token_config
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
    """What one process measures.

    Attributes
    ----------
    config : dict
        Of a `PretrainConfig`.
    every_token : bool
        The peer, see `every_token`.
    warm_up, steps : int
        Steps before the clock runs, and timed ones.
    data : tuple of str
        Packed sets; none for noise in memory.
    """

    config: dict[str, Any]
    every_token: bool
    warm_up: int
    steps: int
    data: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The process's argument."""
        return json.dumps(asdict(self))


def measure(task: Task, run: Path, on_step: Callable[[int], None]) -> dict[str, Any]:
    """Run the real `Trainer` in the folder `run`.

    Returns
    -------
    dict
        `seconds` and `waits` of each step, `micro_batch`, `peak_bytes`, `matrix_flops` (operations a second),
        and what the device is.
    """
    config: PretrainConfig = with_values(PretrainConfig(), task.config)
    # Weights do not change the time; a length that ends behind the last step keeps all schedules going.
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
        drop_no_token(trainer.objective)
    dtype = torch.bfloat16 if trainer.accumulator.bf16 else torch.float32
    seconds, waits = [], []
    for number in range(task.warm_up + task.steps):
        if number == task.warm_up:
            rate = matrix_rate(device, dtype)
            if device.type == "cuda":  # the matrices are not the run's
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(device)
        began = time.perf_counter()
        entry, _ = trainer.step()
        took = time.perf_counter() - began
        if number >= task.warm_up:
            seconds.append(took)
            waits.append(entry["data_wait"] * took)
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
    """Lines `{"done": n}` while it goes, then `{"result": ...}`, or `{"error": sentence}` and exit code 2."""
    raw = json.loads(sys.argv[1])
    task = Task(**{**raw, "data": tuple(raw["data"])})
    lines = sys.stdout

    def tell(**values: Any) -> None:
        lines.write(json.dumps(values) + "\n")
        lines.flush()

    # Whatever a library says on stdout must not get among the lines.
    with (
        contextlib.redirect_stdout(sys.stderr),
        tempfile.TemporaryDirectory(prefix="apical-bench-") as folder,
    ):
        try:
            tell(result=measure(task, Path(folder) / "run", lambda n: tell(done=n)))
        except CoreError as error:
            tell(error=str(error))
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
