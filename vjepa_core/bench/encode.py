"""Compare the speed of the encoder with Hugging Face's VJEPA2Model for the same weights and clips."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.encode_process import Task
from vjepa_core.bench.fresh_process import run_in_process
from vjepa_core.bench.vjepa2_peer import MISSING
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.cost import clip_flops
from vjepa_core.encoder.precision import inference_dtype

OURS, PEER = "ours", "VJEPA2Model"

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Side:
    """Implementation and settings of one row.

    Attributes
    ----------
    who : str
        `OURS` or `PEER`.
    dtype : str
        "float32" or "bfloat16".
    compiled : bool
        Blocks are compiled with `torch.compile`.
    """

    who: str
    dtype: str
    compiled: bool = False

    @property
    def name(self) -> str:
        """Name of the row."""
        return f"{self.who}, {self.dtype}" + (", compiled" if self.compiled else "")


def sides(device: str, dtype: str) -> list[Side]:
    """Return the rows for "cpu" or "cuda"; ours in the `dtype` used by the program and the peer come first.

    The peer uses float32. If ours uses bfloat16, both are also measured in the other precision.
    """
    rows = [Side(OURS, dtype), Side(PEER, "float32")]
    if dtype != "float32":
        rows += [Side(OURS, "float32"), Side(PEER, dtype)]
    if device == "cuda":
        rows.append(Side(OURS, dtype, compiled=True))
    return rows


def run(
    architectures: Sequence[str],
    *,
    device: str,
    frames: int = 16,
    size: int = 224,
    batches: Sequence[int] = (1,),
    rounds: int = 3,
    seconds: float = 2.0,
    on_progress: OnProgress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Measure all implementations of every encoder.

    They run alternately, `rounds` times, in separate processes, so that other load on the machine affects all
    of them and the peak memory of a process is that of one implementation. A failure gives a row without
    values.

    Parameters
    ----------
    architectures : sequence of str
        Architecture names of the `vjepa2` form.
    device : {"cpu", "cuda"}
        Device.
    frames, size : int
        Number of frames and side in pixels of a clip.
    batches : sequence of int
        Batch sizes; one row for each.
    rounds : int
        Number of processes for each row.
    seconds : float
        Duration of the timed passes of a process; at least three passes.
    on_progress : callable, optional
        Called with (what, finished processes, total).

    Returns
    -------
    dict
        `{name, machine, rows, ratios}` with seconds and bytes in the rows. `as_used` is true in the row with
        the settings of the program; `missing` is None, or the reason why a row has no values. A row contains
        the memory of the encoder without libraries (`encoder_bytes`), the differences of its last tokens from
        those of the peer in float32 (None if unavailable), the operations of a clip divided by the measured
        rate of a square matrix product in the row's precision (`floor_s`), and the fraction of that rate that
        it reached.

    Raises
    ------
    BenchError
        If the peer is not installed, an encoder cannot be measured, or all measurements failed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise BenchError(MISSING)
    flops = {name: _flops(name, frames, size) for name in architectures}
    dtype = str(inference_dtype(device)).removeprefix("torch.")
    all_sides = sides(device, dtype)
    jobs = list(itertools.product(flops, batches))
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    machine: dict[str, Any] = {}
    rates: dict[str, float] = {}
    for number, (name, batch) in enumerate(jobs):
        label = _label(name, batch, architectures, batches)
        job = Task(name, device, frames=frames, size=size, batch=batch, seconds=seconds)

        def report(what: str, done: int, total: int, before: int = number, label: str = label) -> None:
            on_progress(f"{label}: {what}", before * total + done, len(jobs) * total)

        results = _alternate(job, all_sides, rounds, report)
        peer = results[Side(PEER, "float32")]
        reference = None if isinstance(peer, BenchError) else peer.tokens
        measured: dict[Side, dict[str, Any]] = {}
        for side, found in results.items():
            row: dict[str, Any] = {"architecture": name, "label": label, "side": side.name}
            row |= {"dtype": side.dtype, "as_used": side == all_sides[0], "missing": None}
            row |= {"frames": frames, "size": size, "batch": batch, "clip_flops": flops[name]}
            rows.append(row)
            if isinstance(found, BenchError):
                row["missing"] = str(found)
                continue
            machine = {key: found.passes[0][key] for key in ("device", "threads")}
            rates[side.dtype] = max(rates.get(side.dtype, 0.0), *(p["matrix_flops"] for p in found.passes))
            row |= _figures(found.passes, batch) | _difference(found.tokens, reference)
            measured[side] = row
        ratios |= _ratios(label, all_sides[0], measured)
    if not machine:
        raise BenchError(rows[0]["missing"])
    for row in rows:  # relative to the best rate of the whole run
        if row["missing"] is None:
            row["floor_s"] = row["clip_flops"] / rates[row["dtype"]]
            row["utilisation"] = row["floor_s"] / row["clip_s"]
    machine |= {"matrix_flops": rates}
    return {"name": "encode", "machine": machine, "rows": rows, "ratios": ratios}


@dataclass(frozen=True, eq=False)
class _SideResult:
    """Results of the processes of one side, and the last tokens."""

    passes: list[dict[str, Any]]
    tokens: NDArray[np.float32]


def _alternate(
    job: Task, all_sides: Sequence[Side], rounds: int, on_progress: OnProgress
) -> dict[Side, _SideResult | BenchError]:
    """Run every side once per round until it fails; `job` defines everything except the side."""
    passes: dict[Side, list[dict[str, Any]]] = {side: [] for side in all_sides}
    failed: dict[Side, BenchError] = {}
    with tempfile.TemporaryDirectory(prefix="apical-bench-") as folder:
        files = {side: Path(folder) / f"{at}.npy" for at, side in enumerate(all_sides)}
        for at, (number, side) in enumerate(itertools.product(range(rounds), all_sides)):
            if side in failed:
                continue
            on_progress(f"{side.name}, round {number + 1} of {rounds}", at, rounds * len(all_sides))
            task = replace(
                job,
                peer=side.who == PEER,
                dtype=side.dtype,
                compiled=side.compiled,
                tokens=str(files[side]),
            )
            try:
                passes[side].append(_fresh_process(task))
            except BenchError as error:
                failed[side] = error
        return {
            side: failed[side] if side in failed else _SideResult(passes[side], np.load(files[side]))
            for side in all_sides
        }


def _flops(name: str, frames: int, size: int) -> int:
    architecture = Architecture.parse(name)
    if architecture.form != "vjepa2":
        raise BenchError(f"VJEPA2Model does not support {name}: choose an architecture that ends in .vjepa2.")
    try:
        return clip_flops(architecture, frames, size)
    except ValueError as error:
        raise BenchError(f"{error}: choose another --frames or --size.") from error


def _label(name: str, batch: int, architectures: Sequence[str], batches: Sequence[int]) -> str:
    """Return a label, as short as possible to distinguish the encoders and batches of this run."""
    short = {one: f"vit_{Architecture.parse(one).size}" for one in architectures}
    label = short[name] if len(set(short.values())) == len(short) else name
    return label if len(batches) == 1 else f"{label}, {batch} clips"


def _figures(passes: Sequence[dict[str, Any]], batch: int) -> dict[str, Any]:
    seconds = [value / batch for one in passes for value in one["seconds"]]
    known = [one for one in passes if None not in (one["peak_bytes"], one["before_bytes"])]
    return {
        "passes": len(seconds),
        "clip_s": median(seconds),
        "best_s": min(seconds),
        "clips_per_second": 1 / median(seconds),
        "peak_bytes": max((one["peak_bytes"] for one in known), default=None),
        "before_bytes": max((one["before_bytes"] for one in known), default=None),
        "encoder_bytes": max((one["peak_bytes"] - one["before_bytes"] for one in known), default=None),
        "weight_bytes": passes[0]["weight_bytes"],
    }


def _difference(
    tokens: NDArray[np.float32], reference: NDArray[np.float32] | None
) -> dict[str, float | None]:
    if reference is None:
        return {"largest_difference": None, "relative_difference": None}
    difference = tokens.astype(np.float64) - reference
    return {
        "largest_difference": float(np.abs(difference).max()),
        "relative_difference": float(np.linalg.norm(difference) / np.linalg.norm(reference)),
    }


def _ratios(label: str, used: Side, rows: dict[Side, dict[str, Any]]) -> dict[str, float]:
    """Return the ratios of the peer to ours: as used by the program, for each precision, and compiled.

    `rows` are those with values.
    """
    peer = Side(PEER, "float32")
    pairs = [(used, peer, f"ours against {PEER}")]
    for side in rows:
        same = Side(PEER, side.dtype)
        if side.compiled:
            pairs.append((side, peer, f"ours compiled against {PEER}"))
            pairs.append((side, same, f"compiled, same precision ({side.dtype})"))
        elif side.who == OURS:
            pairs.append((side, same, f"same precision ({side.dtype})"))
    pairs = [pair for pair in pairs if pair[0] in rows and pair[1] in rows]
    ratios: dict[str, float] = {}
    for key, what in (("clip_s", "seconds of a clip"), ("encoder_bytes", "memory that the encoder took")):
        for own, other, against in pairs:
            if rows[own][key] and rows[other][key]:
                ratios[f"{label}: {what}, {against}"] = rows[other][key] / rows[own][key]
    return ratios


def _fresh_process(task: Task) -> dict[str, Any]:
    return run_in_process(
        "vjepa_core.bench.encode_process",
        task.to_json(),
        error=BenchError,
        killed=f"The system ended the measurement of {task.architecture}, probably for lack of memory: "
        "choose a smaller encoder or batch.",
    )
