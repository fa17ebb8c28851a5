"""Speed of pre-training compared with a loop that encodes every token, alternately in separate processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from vjepa_core.bench.flops import ClipFlops, clip_flops
from vjepa_core.bench.fresh_process import run_in_process
from vjepa_core.bench.full_token_peer import every_token_config
from vjepa_core.bench.pretrain_process import Task
from vjepa_core.pretraining.config import PretrainConfig, as_dict
from vjepa_core.pretraining.errors import PretrainingError

OURS, PEER = "ours", "every token"
WARM_UP = 2
_ROUNDS = 2

OnProgress = Callable[[str, int, int], None]


def run(
    config: PretrainConfig,
    *,
    steps: int = 10,
    data: Sequence[Path] = (),
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measure on the GPU of this machine, or its CPU.

    Both sides run alternately, twice each, in separate processes, so that other load on the machine affects
    both and the peak memory of a process is that of one side.

    Parameters
    ----------
    config : PretrainConfig
        Configuration; its length, checkpoints and initial weights are not used.
    steps : int
        Timed steps of each side; each process runs 2 more steps to warm up.
    data : sequence of Path
        Packed sets; if empty, noise in memory is used.
    on_progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    dict
        `{name, machine, rows, ratios}` with seconds, bytes and operations per second in the rows. `machine`
        contains device, precision, threads and `matrix_flops`, the best measured rate of a square matrix
        product, to which utilisation refers.

    Raises
    ------
    PretrainingError
        If the configuration does not run on this machine.
    """
    results: dict[str, list[dict[str, Any]]] = {OURS: [], PEER: []}
    rounds = min(_ROUNDS, steps)
    for number in range(rounds):
        share = steps * (number + 1) // rounds - steps * number // rounds
        for side, results_of_side in results.items():
            task = Task(as_dict(config), side == PEER, WARM_UP, share, tuple(str(path) for path in data))
            results_of_side.append(
                _fresh_process(task, f"{side}, round {number + 1} of {rounds}", on_progress)
            )
    every = [result for results_of_side in results.values() for result in results_of_side]
    first = every[0]
    rate = max(result["matrix_flops"] for result in every)
    rows = [
        _row(OURS, config, results[OURS], clip_flops(config), rate),
        _row(PEER, config, results[PEER], clip_flops(every_token_config(config), every_token=True), rate),
    ]
    ours, peer = rows
    ratios = {f"clips/s against encoding {PEER}": ours["clips_per_second"] / peer["clips_per_second"]}
    if ours["peak_bytes"] and peer["peak_bytes"]:
        ratios[f"memory against encoding {PEER}"] = peer["peak_bytes"] / ours["peak_bytes"]
    machine = {key: first[key] for key in ("device", "precision", "threads")} | {"matrix_flops": rate}
    return {"name": "pretrain", "machine": machine, "rows": rows, "ratios": ratios}


def _row(
    side: str, config: PretrainConfig, results: Sequence[dict[str, Any]], flops: ClipFlops, rate: float
) -> dict[str, Any]:
    seconds = [value for result in results for value in result["seconds"]]
    waits = [value for result in results for value in result["waits"]]
    peaks = [result["peak_bytes"] for result in results if result["peak_bytes"] is not None]
    clips = config.batch / median(seconds)
    return {
        "side": side,
        "architecture": config.architecture,
        "frames": config.frames,
        "size": config.size,
        "batch": config.batch,
        "micro_batch": min(result["micro_batch"] for result in results),
        "steps": len(seconds),
        "clips_per_second": clips,
        "median_s": median(seconds),
        "best_s": min(seconds),
        "worst_s": max(seconds),
        "clip_flops": flops.total,
        "clip_flops_parts": flops.parts(),
        "utilisation": clips * flops.total / rate,
        "data_wait": sum(waits) / sum(seconds),
        "peak_bytes": max(peaks, default=None),
    }


def _fresh_process(task: Task, what: str, on_progress: OnProgress | None) -> dict[str, Any]:
    def report(done: int) -> None:
        if on_progress:
            on_progress(what, done, task.warm_up + task.steps)

    report(0)
    return run_in_process(
        "vjepa_core.bench.pretrain_process",
        task.to_json(),
        error=PretrainingError,
        killed="The system ended the measurement, probably for lack of memory: choose a smaller batch or "
        "micro_batch.",
        on_line=lambda line: report(line["done"]) if "done" in line else None,
    )
