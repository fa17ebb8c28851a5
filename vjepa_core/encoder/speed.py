"""Measure the fastest precision, attention implementation and number of threads on this processor.

CPU flags are not a reliable indication: some processors have bfloat16 instructions but multiply float32
matrices faster. Therefore the two operations that dominate an encoder, a linear layer and attention, are
timed with each candidate. This takes about a tenth of a second, once per process, or once per machine if
`SPEED_FILE_VARIABLE` names a file for the result.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch.nn.functional import linear

from vjepa_core.atomic import write_text
from vjepa_core.encoder import attention
from vjepa_core.errors import EncoderError
from vjepa_core.processor import SPEED_FILE_VARIABLE, processor_name

PRECISION_VARIABLE = "APICAL_PRECISION"
"""Environment variable, "float32" or "bfloat16": use this precision and torch's threads without measuring."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_BY_HEAD = "bfloat16, by head"
_METHODS = ("float32, fused", "bfloat16, fused", _BY_HEAD)

_VERSION = 1  # format of the result file
_ROWS, _DIM, _HIDDEN = 392, 384, 1536
_HEADS, _TOKENS, _HEAD_DIM = 2, 784, 64
_PER_BLOCK = 12
# A block of ViT-S on a clip of 1568 tokens costs as much as this many timed linear layers (12 x 384^2 x 1568
# products versus 4 x 384^2 x 392) and as many timed attentions (6 heads of 1568 tokens versus 2 of 784).
_ROUNDS = 2
_MIN_SPEEDUP_FEWER_THREADS = 1.25  # other load on the machine may be temporary
_MIN_SPEEDUP_BFLOAT16 = 1.1  # bfloat16 is less exact
_FEW_ROWS, _MAX_SLOWDOWN = 32, 4.0
_BUSY = 1.2  # ratio of wall time to processor time
_FINE_RESOLUTION = 1e-4  # seconds

Clock = Callable[[], float]
Task = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    """Settings for running an encoder on the processor.

    Attributes
    ----------
    dtype : {"float32", "bfloat16"}
        Dtype of linear layers and patch embeddings.
    by_head : bool
        Compute attention in bfloat16 one head at a time; see `vjepa_core.encoder.attention.attend`.
    threads : int
        Number of torch threads.
    origin : {"measured", "kept", "set"}
        Measured in this process, read from the result file, or set by `PRECISION_VARIABLE`.
    seconds : mapping of str to float
        Measured time of a ViT-S block in one thread, by method ("bfloat16, fused"); empty if not measured.
    thread_seconds : mapping of str to float
        Measured time with the chosen method, by number of threads; empty if it could not be measured.
    """

    dtype: str
    by_head: bool
    threads: int
    origin: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    thread_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Explanation of the settings for the user."""
        if self.origin == "set":
            return f"Set by {PRECISION_VARIABLE}."
        methods = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in self.seconds.items())
        text = f"Time for a block of ViT-S in one thread: {methods}."
        if self.thread_seconds:
            each = ", ".join(f"{n} {1e3 * seconds:.0f} ms" for n, seconds in self.thread_seconds.items())
            return f"{text} By number of threads: {each}."
        return f"{text} The number of threads is torch's default: the processor was too busy to measure."


Key = TypeVar("Key")


@functools.cache
def processor_settings() -> Settings:
    """Return the fastest settings for the processor; the first call also applies them.

    This sets the attention implementation for bfloat16 and torch's number of threads, which is never raised.

    Raises
    ------
    EncoderError
        If `PRECISION_VARIABLE` has an unknown value.
    """
    settings = _determine_settings()
    attention.bfloat16_by_head = settings.by_head
    torch.set_num_threads(settings.threads)
    return settings


def _determine_settings() -> Settings:
    threads = torch.get_num_threads()
    precision = os.environ.get(PRECISION_VARIABLE, "").strip()
    if precision:
        if precision not in _DTYPES:
            raise EncoderError(f"{PRECISION_VARIABLE} is {precision[:20]}: set it to float32 or bfloat16.")
        return Settings(precision, True, threads, "set")
    path = os.environ.get(SPEED_FILE_VARIABLE, "").strip()
    file = Path(path) if path else None
    key = {"version": _VERSION, "torch": torch.__version__, "cpu": processor_name(), "threads": threads}
    cached = None if file is None else _read(file, key)
    settings = cached or measure_precision(threads)
    if not settings.thread_seconds:
        settings = measure_threads(settings)
        if file is not None:
            _write(file, key, settings)
    return settings


def measure_precision(threads: int) -> Settings:
    """Time every method in one thread and choose the fastest; `threads` is stored in the result.

    Processor time is used if its resolution suffices, because it depends less on the load of the machine.
    """
    before = torch.get_num_threads()
    fine = time.get_clock_info("thread_time").resolution < _FINE_RESOLUTION
    try:
        torch.set_num_threads(1)
        with torch.inference_mode():
            seconds = _time_methods(time.thread_time if fine else time.perf_counter)
    finally:
        torch.set_num_threads(before)
    method = choose_method(seconds)
    return Settings(method.partition(",")[0], method == _BY_HEAD, threads, "measured", seconds)


def measure_threads(settings: Settings) -> Settings:
    """Time the chosen method with all threads and with fewer, and choose the number of threads.

    On a busy machine the settings are returned unchanged: the measurement would depend on other load, after
    which all threads are useful again.
    """
    before = torch.get_num_threads()
    dtype = _DTYPES[settings.dtype]
    tasks = {
        "linear": _linear_task(dtype, _ROWS),
        "attention": _attention_task(dtype, by_head=settings.by_head),
    }
    times: dict[int, float] = {}
    n = settings.threads
    try:
        with torch.inference_mode():
            if _is_busy(tasks["linear"]):
                return settings
            while n >= 1 and (not times or times[min(times)] <= min(times.values())):
                torch.set_num_threads(n)
                times[n] = _PER_BLOCK * sum(_best_times(tasks, _ROUNDS, time.perf_counter).values())
                n //= 2
    finally:
        torch.set_num_threads(before)
    thread_seconds = {str(number): seconds for number, seconds in times.items()}
    return replace(settings, threads=choose_threads(times), thread_seconds=thread_seconds)


def choose_method(seconds: Mapping[str, float]) -> str:
    """Return the fastest method ("bfloat16, fused"); bfloat16 only if it is clearly faster."""

    def cost(method: str) -> float:
        return seconds[method] * (_MIN_SPEEDUP_BFLOAT16 if method.startswith("bfloat16") else 1.0)

    return min(seconds, key=cost)


def choose_threads(seconds: Mapping[int, float]) -> int:
    """Return the number of threads: the largest that was timed, unless fewer are clearly faster."""
    most = max(seconds)
    best = min(seconds, key=lambda n: seconds[n])
    return best if seconds[best] * _MIN_SPEEDUP_FEWER_THREADS < seconds[most] else most


def _time_methods(clock: Clock) -> dict[str, float]:
    """Return the shortest time of a block for each method; methods with a very slow precision are omitted."""
    small = _best_times({name: _linear_task(dtype, _FEW_ROWS) for name, dtype in _DTYPES.items()}, 2, clock)
    # Without hardware support, bfloat16 is emulated and need not be timed further.
    dtypes = [name for name in _DTYPES if small[name] < _MAX_SLOWDOWN * small["float32"]]
    methods = {method: method.partition(",")[0] for method in _METHODS if method.partition(",")[0] in dtypes}
    linear_times = _best_times({name: _linear_task(_DTYPES[name], _ROWS) for name in dtypes}, _ROUNDS, clock)
    attention_times = _best_times(
        {
            method: _attention_task(_DTYPES[name], by_head=method == _BY_HEAD)
            for method, name in methods.items()
        },
        _ROUNDS,
        clock,
    )
    return {
        method: _PER_BLOCK * (linear_times[name] + attention_times[method])
        for method, name in methods.items()
    }


def _best_times(tasks: Mapping[Key, Task], rounds: int, clock: Clock) -> dict[Key, float]:
    """Return the shortest time of each task over some rounds, after one untimed call."""
    for task in tasks.values():
        task()
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for name, task in tasks.items():
            start = clock()
            task()
            best[name] = min(best[name], clock() - start)
    return best


def _is_busy(task: Task) -> bool:
    """Return True if a single-threaded task waits for the processor a large part of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start, thread_start = time.perf_counter(), time.thread_time()
        for _ in range(2 * _ROUNDS):
            task()
        processor_time = time.thread_time() - thread_start + time.get_clock_info("thread_time").resolution
        return time.perf_counter() - start > _BUSY * processor_time
    finally:
        torch.set_num_threads(before)


def _linear_task(dtype: torch.dtype, rows: int) -> Task:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((rows, _DIM), generator=generator).to(dtype)
    weight = torch.randn((_HIDDEN, _DIM), generator=generator).to(dtype)
    bias = torch.zeros(_HIDDEN, dtype=dtype)
    return lambda: linear(x, weight, bias)


def _attention_task(dtype: torch.dtype, *, by_head: bool) -> Task:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 1, _TOKENS, _HEADS, _HEAD_DIM)
    q, k, v = torch.randn(shape, generator=generator).to(dtype).transpose(2, 3)
    attend = attention.attend_by_head if by_head else torch.nn.functional.scaled_dot_product_attention
    return lambda: attend(q, k, v)


def _read(file: Path, key: Mapping[str, object]) -> Settings | None:
    """Return the settings stored for this key; None if there are none or they are invalid."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["key"] != key:
            return None
        settings = Settings(**stored["settings"])
        valid = settings.dtype in _DTYPES and isinstance(settings.by_head, bool)
        valid = valid and 1 <= settings.threads <= int(str(key["threads"]))
        settings.reason  # noqa: B018 - fails unless the stored times are numbers
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return replace(settings, origin="kept") if valid else None


def _write(file: Path, key: Mapping[str, object], settings: Settings) -> None:
    """Store the result; if the folder is not writable, the next process measures again."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"key": key, "settings": asdict(settings)}))
