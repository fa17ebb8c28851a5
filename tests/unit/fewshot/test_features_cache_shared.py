"""Several processes share a cache: each always gets the requested features."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.features import CineFeatures

KEYS, ROOM = 6, 3
PROCESSES = 2
SECONDS = 1.5


def features(key: int) -> CineFeatures:
    """Return 16 KiB of features with the key as value."""
    return CineFeatures(
        torch.full((2, 4, 4, 4, 64), float(key), dtype=torch.float16), torch.arange(4, dtype=torch.float64)
    )


def stress(folder: str, seed: int, barrier: Barrier, faults: multiprocessing.Queue[str]) -> None:
    """Read, write, evict, clear and damage entries at random; report wrong results."""
    torch.set_num_threads(1)
    dice = random.Random(seed)
    cache = FeatureCache(Path(folder), ROOM * 17_000)
    held: list[tuple[int, CineFeatures]] = []
    done = 0
    barrier.wait(60)
    until = time.monotonic() + SECONDS
    try:
        while time.monotonic() < until:
            key = dice.randrange(KEYS)
            found = cache.get_or_make(str(key), lambda key=key: features(key))  # type: ignore[misc]
            held = [*held[-3:], (key, found)]
            # Earlier features must stay intact even if another process has evicted or replaced them.
            for wanted, kept in held:
                if not bool((kept.values == wanted).all()):
                    faults.put(f"{wanted} became {kept.values.unique()}")
            match dice.randrange(40):
                case 0:
                    cache.clear()
                case 1:  # a failing disk; in a separate file, because files in use are mapped
                    path = cache.path(str(key))
                    damaged = path.with_suffix(f".damaged{seed}")
                    damaged.write_bytes(bytes(17_000))
                    damaged.replace(path)
                case 2:
                    cache.put(str(key), features(key))
            done += 1
    except Exception as error:
        faults.put(repr(error))
        raise
    if not done:
        faults.put("did nothing")


def test_processes_that_write_evict_clear_and_damage_get_correct_features(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    faults = context.Queue()
    barrier = context.Barrier(PROCESSES)
    workers = [
        context.Process(target=stress, args=(str(tmp_path), seed, barrier, faults))
        for seed in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    said = []
    while not faults.empty():
        said.append(faults.get())
    assert said == []
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    # Each process may have exceeded the limit by one file; the next write corrects that.
    cache = FeatureCache(tmp_path, ROOM * 17_000)
    cache.put("last", features(7))
    assert cache.size() <= cache.max_bytes
    assert not list(tmp_path.glob("*.tmp"))
