"""How the encoder runs fastest on this processor: number format, attention and threads, by measurement.

What a processor's flags promise is not what it does: some have bfloat16 instructions and multiply matrices
of float32 faster. So the two operations in which an encoder spends its time, a linear map and attention, are
timed in every way that is in question. That takes about a tenth of a second, once in a process, or once on a
machine where `SPEED_FILE_VARIABLE` names a file for the result.
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
"""Environment variable, "float32" or "bfloat16": measure nothing, take this format and torch's threads."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_BY_HEAD = "bfloat16, by head"
_WAYS = ("float32, fused", "bfloat16, fused", _BY_HEAD)

_VERSION = 1  # of the file
_ROWS, _DIM, _HIDDEN = 392, 384, 1536
_HEADS, _TOKENS, _HEAD_DIM = 2, 784, 64
_OF_A_BLOCK = 12
# A block of ViT-S with a clip of 1568 tokens costs this many such linear maps (12 x 384^2 x 1568 products
# against 4 x 384^2 x 392) and as many such attentions (6 heads of 1568 tokens against 2 of 784).
_ROUNDS = 2
_FEWER_PAYS = 1.25  # fewer threads have to be faster by this: later there may be less to do beside
_ROUGHER_PAYS = 1.1  # bfloat16 by this, since it is less exact
_FEW_ROWS, _HOPELESS = 32, 4.0
_BUSY = 1.2  # times as long as the processor works
_FINE = 1e-4  # seconds: resolution of a clock that can tell

Clock = Callable[[], float]
Work = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    """How the encoder runs on the processor.

    Attributes
    ----------
    dtype : {"float32", "bfloat16"}
        Of linear maps and patch embeddings.
    by_head : bool
        Whether attention in bfloat16 goes head by head; see `vjepa_core.encoder.attention.attend`.
    threads : int
    origin : {"measured", "kept", "set"}
        Measured in this process, read from the file, or by `PRECISION_VARIABLE`.
    seconds : mapping
        Measured time of a block of ViT-S in one thread, by way ("bfloat16, fused"); empty if not measured.
    thread_seconds : mapping
        The same by number of threads, in the way that was chosen; empty if that could not be measured.
    """

    dtype: str
    by_head: bool
    threads: int
    origin: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    thread_seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """One sentence for a user."""
        if self.origin == "set":
            return f"{PRECISION_VARIABLE} says so."
        ways = ", ".join(f"{way} {1e3 * seconds:.0f} ms" for way, seconds in self.seconds.items())
        told = f"One thread takes for a block of ViT-S: {ways}."
        if self.thread_seconds:
            each = ", ".join(f"{n} {1e3 * seconds:.0f} ms" for n, seconds in self.thread_seconds.items())
            return f"{told} By number of threads: {each}."
        return f"{told} The number of threads is torch's own: the processor was too busy to measure it."


Key = TypeVar("Key")


@functools.cache
def processor_settings() -> Settings:
    """The fastest way to run an encoder on the processor; the first call also puts it into force.

    That is: the kind of attention in bfloat16, and torch's number of threads, which is only ever lowered.

    Raises
    ------
    EncoderError
        If `PRECISION_VARIABLE` has a value that is not known.
    """
    settings = _found()
    attention.bfloat16_by_head = settings.by_head
    torch.set_num_threads(settings.threads)
    return settings


def _found() -> Settings:
    threads = torch.get_num_threads()
    said = os.environ.get(PRECISION_VARIABLE, "").strip()
    if said:
        if said not in _DTYPES:
            raise EncoderError(f"{PRECISION_VARIABLE} is {said[:20]}: set it to float32 or bfloat16.")
        return Settings(said, True, threads, "set")
    named = os.environ.get(SPEED_FILE_VARIABLE, "").strip()
    file = Path(named) if named else None
    key = {"version": _VERSION, "torch": torch.__version__, "cpu": processor_name(), "threads": threads}
    kept = None if file is None else _read(file, key)
    settings = kept or with_format(threads)
    if not settings.thread_seconds:
        settings = with_threads(settings)
        if file is not None:
            _write(file, key, settings)
    return settings


def with_format(threads: int) -> Settings:
    """Time every way in one thread and choose; `threads` are kept as they are.

    Processor time is taken where the system tells it: what else the machine does counts less.
    """
    before = torch.get_num_threads()
    fine = time.get_clock_info("thread_time").resolution < _FINE
    try:
        torch.set_num_threads(1)
        with torch.inference_mode():
            seconds = _measured_ways(time.thread_time if fine else time.perf_counter)
    finally:
        torch.set_num_threads(before)
    way = choose(seconds)
    return Settings(way.partition(",")[0], way == _BY_HEAD, threads, "measured", seconds)


def with_threads(settings: Settings) -> Settings:
    """Time the chosen way with all threads and with fewer; the settings as they are where that tells nothing.

    Which is so on a busy machine: there any number of threads waits for what else runs, and when that has
    ended all of them are wanted.
    """
    before = torch.get_num_threads()
    dtype = _DTYPES[settings.dtype]
    work = {
        "linear": _linear(dtype, _ROWS),
        "attention": _attention(dtype, by_head=settings.by_head),
    }
    found: dict[int, float] = {}
    n = settings.threads
    try:
        with torch.inference_mode():
            if _busy(work["linear"]):
                return settings
            while n >= 1 and (not found or found[min(found)] <= min(found.values())):
                torch.set_num_threads(n)
                found[n] = _OF_A_BLOCK * sum(_best(work, _ROUNDS, time.perf_counter).values())
                n //= 2
    finally:
        torch.set_num_threads(before)
    told = {str(number): seconds for number, seconds in found.items()}
    return replace(settings, threads=fewest(found), thread_seconds=told)


def choose(seconds: Mapping[str, float]) -> str:
    """The fastest way, of the times by way ("bfloat16, fused"); bfloat16 only if it clearly is."""

    def cost(way: str) -> float:
        return seconds[way] * (_ROUGHER_PAYS if way.startswith("bfloat16") else 1.0)

    return min(seconds, key=cost)


def fewest(seconds: Mapping[int, float]) -> int:
    """Number of threads, of the times by number: the most, unless fewer are clearly faster."""
    most = max(seconds)
    best = min(seconds, key=lambda n: seconds[n])
    return best if seconds[best] * _FEWER_PAYS < seconds[most] else most


def _measured_ways(clock: Clock) -> dict[str, float]:
    """Shortest times of a block by way; without those of a format that is hopelessly slow."""
    small = _best({name: _linear(dtype, _FEW_ROWS) for name, dtype in _DTYPES.items()}, 2, clock)
    # Without instructions for it, bfloat16 is computed number by number: no need to time more of that.
    formats = [name for name in _DTYPES if small[name] < _HOPELESS * small["float32"]]
    ways = {way: way.partition(",")[0] for way in _WAYS if way.partition(",")[0] in formats}
    linears = _best({name: _linear(_DTYPES[name], _ROWS) for name in formats}, _ROUNDS, clock)
    attentions = _best(
        {way: _attention(_DTYPES[name], by_head=way == _BY_HEAD) for way, name in ways.items()},
        _ROUNDS,
        clock,
    )
    return {way: _OF_A_BLOCK * (linears[name] + attentions[way]) for way, name in ways.items()}


def _best(works: Mapping[Key, Work], rounds: int, clock: Clock) -> dict[Key, float]:
    """Shortest of some rounds, in which each has its turn; what the first call prepares does not count."""
    for work in works.values():
        work()
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            began = clock()
            work()
            best[name] = min(best[name], clock() - began)
    return best


def _busy(work: Work) -> bool:
    """Whether work in one thread waits for the processor a good part of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        began, ran = time.perf_counter(), time.thread_time()
        for _ in range(2 * _ROUNDS):
            work()
        worked = time.thread_time() - ran + time.get_clock_info("thread_time").resolution
        return time.perf_counter() - began > _BUSY * worked
    finally:
        torch.set_num_threads(before)


def _linear(dtype: torch.dtype, rows: int) -> Work:
    generator = torch.Generator().manual_seed(0)
    rows_in = torch.randn((rows, _DIM), generator=generator).to(dtype)
    weight = torch.randn((_HIDDEN, _DIM), generator=generator).to(dtype)
    bias = torch.zeros(_HIDDEN, dtype=dtype)
    return lambda: linear(rows_in, weight, bias)


def _attention(dtype: torch.dtype, *, by_head: bool) -> Work:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 1, _TOKENS, _HEADS, _HEAD_DIM)
    q, k, v = torch.randn(shape, generator=generator).to(dtype).transpose(2, 3)
    how = attention.attend_by_head if by_head else torch.nn.functional.scaled_dot_product_attention
    return lambda: how(q, k, v)


def _read(file: Path, key: Mapping[str, object]) -> Settings | None:
    """What was kept for this key; None where there is nothing, or what is there makes no sense."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["key"] != key:
            return None
        kept = Settings(**told["settings"])
        sound = kept.dtype in _DTYPES and isinstance(kept.by_head, bool)
        sound = sound and 1 <= kept.threads <= int(str(key["threads"]))
        kept.reason  # noqa: B018 - its figures are numbers
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return replace(kept, origin="kept") if sound else None


def _write(file: Path, key: Mapping[str, object], settings: Settings) -> None:
    """Keep the result; a folder that cannot be written costs the next process a measurement."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"key": key, "settings": asdict(settings)}))
