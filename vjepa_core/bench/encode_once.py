"""One row of the encoder benchmark, in a process of its own: a `Task` as JSON in, one line of JSON out."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vjepa_core.bench.device import device_name, matrix_rate, peak_memory
from vjepa_core.bench.vjepa2_peer import model_class, ours, theirs
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.normalise import normalise
from vjepa_core.encoder.speed import processor_settings
from vjepa_core.errors import CoreError
from vjepa_core.memory import is_lack_of_memory

_FEWEST, _MOST = 3, 50


@dataclass(frozen=True)
class Task:
    """What one process measures.

    Attributes
    ----------
    architecture : str
        Of the `vjepa2` form.
    device : str
        "cpu" or "cuda".
    frames, size, batch : int
        Clips (batch, 3, frames, size, size) of noise.
    seconds : float
        For how long passes are timed, three at least.
    peer : bool
        VJEPA2Model; else ours.
    dtype : str
        "float32" or "bfloat16": of our matrices, of all that the peer has.
    compiled : bool
        Our blocks by `torch.compile`.
    tokens : str
        File (.npy) for the last tokens, float32.
    """

    architecture: str
    device: str
    frames: int = 16
    size: int = 224
    batch: int = 1
    seconds: float = 2.0
    peer: bool = False
    dtype: str = "float32"
    compiled: bool = False
    tokens: str = ""

    def to_json(self) -> str:
        """The process's argument."""
        return json.dumps(asdict(self))


@torch.inference_mode()
def measure(task: Task) -> dict[str, Any]:
    """Build one side, run it once to warm up, then time it.

    Returns
    -------
    dict
        `seconds` of each pass; bytes: `peak_bytes` of the process, `before_bytes` of it before there were
        weights, both None where the system does not tell, `weight_bytes`; `matrix_flops`, operations a
        second in `dtype`; and what the device is.

    Raises
    ------
    BenchError
        If the peer's library is missing, for our side too, or unknown.
    """
    device, dtype = torch.device(task.device), _dtype(task.dtype)
    model_class()  # its library is no part of what a model takes: both sides have it
    before = peak_memory(device)
    model, encode = _side(task, device, dtype)
    weights = sum(weight.nbytes for weight in model.parameters())
    generator = torch.Generator().manual_seed(0)
    shape = (task.batch, task.frames, task.size, task.size)
    clips = normalise(torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(device))

    def once() -> tuple[float, Tensor]:
        began = time.perf_counter()
        tokens = encode(clips)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began, tokens

    _, tokens = once()
    seconds: list[float] = []
    while len(seconds) < _FEWEST or (sum(seconds) < task.seconds and len(seconds) < _MOST):
        took, tokens = once()
        seconds.append(took)
    peak = peak_memory(device)
    np.save(task.tokens, tokens.float().cpu().numpy())
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "before_bytes": before,
        "weight_bytes": weights,
        "matrix_flops": matrix_rate(device, dtype),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def _side(
    task: Task, device: torch.device, dtype: torch.dtype
) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """A model, and normalised clips (B, 3, T, H, W) float32 to the last tokens (B, N, D)."""
    architecture = Architecture.parse(task.architecture)
    if task.peer:
        peer = theirs(architecture, dtype, task.frames, task.size).to(device)

        def encode(clips: Tensor) -> Tensor:
            tokens: Tensor = peer(clips.transpose(1, 2).to(dtype), skip_predictor=True).last_hidden_state
            return tokens

        return peer, encode
    if device.type == "cpu":
        processor_settings()  # attention and threads as the program has them
    model = ours(architecture, dtype).to(device)
    if task.compiled:
        for block in model.blocks:  # as pre-training does: what is around them does not compile
            block.compile(dynamic=False)
    return model, model


def _dtype(name: str) -> torch.dtype:
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def _reason(task: Task, error: Exception) -> str:
    """A sentence for what a user can do something about; any other error is raised again."""
    if isinstance(error, CoreError):
        return str(error)
    if is_lack_of_memory(error):
        whose = "GPU" if task.device == "cuda" else "machine"
        return f"The {whose}'s memory does not suffice: choose a smaller --batch or encoder."
    if task.compiled:
        said = str(error).partition("Set TORCHDYNAMO")[0]  # advice for its developers
        said = " ".join(said.split())[:160] or type(error).__name__
        return f"torch.compile fails here ({said}): install Triton and a C compiler, or do without this row."
    raise error


def main() -> int:
    """Write `{"result": ...}`, or `{"error": sentence}` and exit code 2."""
    task = Task(**json.loads(sys.argv[1]))
    told: dict[str, Any]
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library says
        try:
            told = {"result": measure(task)}
        except Exception as error:
            told = {"error": _reason(task, error)}
    sys.stdout.write(json.dumps(told) + "\n")
    return 2 if "error" in told else 0


if __name__ == "__main__":
    sys.exit(main())
