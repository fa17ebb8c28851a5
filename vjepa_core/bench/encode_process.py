"""Process that measures one row of the encoder benchmark: a `Task` as JSON in, a line of JSON out."""

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
from vjepa_core.bench.vjepa2_peer import create_ours, create_peer, model_class
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.normalise import normalise
from vjepa_core.encoder.speed import processor_settings
from vjepa_core.errors import CoreError
from vjepa_core.memory import is_lack_of_memory

_MIN_PASSES, _MAX_PASSES = 3, 50


@dataclass(frozen=True)
class Task:
    """Measurement of one process.

    Attributes
    ----------
    architecture : str
        Architecture name of the `vjepa2` form.
    device : str
        "cpu" or "cuda".
    frames, size, batch : int
        Clips (batch, 3, frames, size, size) of noise.
    seconds : float
        Duration of the timed passes; at least three passes.
    peer : bool
        Measure VJEPA2Model instead of our encoder.
    dtype : str
        "float32" or "bfloat16", for our linear layers or the whole peer.
    compiled : bool
        Compile our blocks with `torch.compile`.
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
        """Return the argument of the process."""
        return json.dumps(asdict(self))


@torch.inference_mode()
def measure(task: Task) -> dict[str, Any]:
    """Build a model, run it once to warm up, then time it.

    Returns
    -------
    dict
        `seconds` of each pass; `peak_bytes` of the process and `before_bytes` before creating the weights,
        both None if the system does not report them; `weight_bytes`; `matrix_flops`, operations per second in
        `dtype`; and the name of the device.

    Raises
    ------
    BenchError
        If the peer's library is missing (also for our side) or unknown.
    """
    device, dtype = torch.device(task.device), _dtype(task.dtype)
    model_class()  # import the peer's library for both sides, so that its memory does not count
    before = peak_memory(device)
    model, encode = _side(task, device, dtype)
    weights = sum(weight.nbytes for weight in model.parameters())
    generator = torch.Generator().manual_seed(0)
    shape = (task.batch, task.frames, task.size, task.size)
    clips = normalise(torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(device))

    def once() -> tuple[float, Tensor]:
        start = time.perf_counter()
        tokens = encode(clips)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start, tokens

    _, tokens = once()
    seconds: list[float] = []
    while len(seconds) < _MIN_PASSES or (sum(seconds) < task.seconds and len(seconds) < _MAX_PASSES):
        duration, tokens = once()
        seconds.append(duration)
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
    """Return a model and a function from normalised clips (B, 3, T, H, W) to the last tokens (B, N, D)."""
    architecture = Architecture.parse(task.architecture)
    if task.peer:
        peer = create_peer(architecture, dtype, task.frames, task.size).to(device)

        def encode(clips: Tensor) -> Tensor:
            tokens: Tensor = peer(clips.transpose(1, 2).to(dtype), skip_predictor=True).last_hidden_state
            return tokens

        return peer, encode
    if device.type == "cpu":
        processor_settings()  # attention and threads as in the program
    model = create_ours(architecture, dtype).to(device)
    if task.compiled:
        for block in model.blocks:  # blocks only, as in pre-training
            block.compile(dynamic=False)
    return model, model


def _dtype(name: str) -> torch.dtype:
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def _reason(task: Task, error: Exception) -> str:
    """Return a message for errors that the user can resolve; raise all others again."""
    if isinstance(error, CoreError):
        return str(error)
    if is_lack_of_memory(error):
        owner = "GPU" if task.device == "cuda" else "machine"
        return f"The memory of the {owner} is too small: choose a smaller --batch or encoder."
    if task.compiled:
        reason = str(error).partition("Set TORCHDYNAMO")[0]  # without advice for developers
        reason = " ".join(reason.split())[:160] or type(error).__name__
        return f"torch.compile fails on this machine ({reason}): install Triton and a C compiler."
    raise error


def main() -> int:
    """Write `{"result": ...}` and return 0, or write `{"error": message}` and return 2."""
    task = Task(**json.loads(sys.argv[1]))
    output: dict[str, Any]
    with contextlib.redirect_stdout(sys.stderr):  # libraries may print to stdout
        try:
            output = {"result": measure(task)}
        except Exception as error:
            output = {"error": _reason(task, error)}
    sys.stdout.write(json.dumps(output) + "\n")
    return 2 if "error" in output else 0


if __name__ == "__main__":
    sys.exit(main())
