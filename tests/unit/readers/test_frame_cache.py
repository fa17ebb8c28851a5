"""Cache of decoded frames and its threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.domain.cine import Frame
from app.readers.frame_cache import OTHERS_CAP, CachedFrames, FrameCache, SequentialDecoder
from app.readers.open import open_cine
from tests.unit.readers.dicom_oracle import jpeg_cine

SIZE = 100


def grey(value: int) -> Frame:
    return np.full((10, 10), value, np.uint8)


def test_least_recently_used_frames_are_dropped_first() -> None:
    cache = FrameCache(cap=3 * SIZE)
    for i in range(3):
        cache.put((0, i), grey(i))
    assert cache.get((0, 0)) is not None
    cache.put((0, 3), grey(3))
    assert [(0, i) in cache for i in range(4)] == [True, False, True, True]
    assert cache.nbytes == 3 * SIZE


def test_the_cap_holds_and_a_larger_frame_is_not_stored() -> None:
    cache = FrameCache(cap=SIZE - 1)
    frames = CachedFrames(grey, 3, cache)
    assert frames.frame(2)[0, 0] == 2
    assert not frames.is_decoded(2)
    assert cache.nbytes == 0


def test_other_cines_share_a_small_part() -> None:
    cache = FrameCache(cap=100 * SIZE, others_cap=5 * SIZE)
    cines = [CachedFrames(grey, 8, cache) for _ in range(11)]
    for shown in cines:
        shown.prefetch([])
        for index in range(8):
            shown.frame(index)
        assert all(shown.is_decoded(i) for i in range(8))
        assert cache.nbytes <= (8 + 5) * SIZE
    assert [sum(one.is_decoded(i) for i in range(8)) for one in cines] == [0] * 9 + [5, 8]
    for index in range(8):  # like the session with a cine that is not visible
        cines[0].frame(index)
    assert all(cines[-1].is_decoded(i) for i in range(8))
    assert [sum(one.is_decoded(i) for i in range(8)) for one in cines] == [5] + [0] * 9 + [8]
    cines[-1].close()
    cines[0].close()
    assert cache.nbytes == 0


_ELEVEN_CINES = """
import time
from pathlib import Path
import numpy as np
from app.readers.frame_cache import CachedFrames

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))) * 1024

def decode(index):
    image = np.full((600, 800), index, np.uint8)
    small.append(bytes(100_000))  # allocated by a decoder and kept
    return image

small = []
before = held()
cines = [CachedFrames(decode, 40) for _ in range(11)]
for cine in cines:
    cine.prefetch(range(40))
    until = time.monotonic() + 60
    while not all(cine.is_decoded(i) for i in range(40)) and time.monotonic() < until:
        time.sleep(0.01)
print(held() - before - sum(map(len, small)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the measure of memory is Linux's")
def test_memory_after_viewing_a_study_is_that_of_one_cine() -> None:
    """Eleven cines with 211 MB of decoded frames, of which 19 MB belong to the visible cine."""
    done = subprocess.run(
        [sys.executable, "-c", _ELEVEN_CINES], capture_output=True, text=True, check=True, timeout=300
    )
    one = 40 * 600 * 800
    assert int(done.stdout) < one + OTHERS_CAP + 20 * 2**20


def test_one_thread_decodes_and_the_others_wait() -> None:
    calls, go = [], threading.Event()

    def slow(index: int) -> Frame:
        calls.append(index)
        go.wait(5)
        return grey(index)

    frames = CachedFrames(slow, 2, FrameCache())
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(int(frames.frame(1)[0, 0]))) for _ in range(4)]
    for t in threads:
        t.start()
    go.set()
    for t in threads:
        t.join(5)
    assert (calls, got) == ([1], [1] * 4)


def test_prefetch_reports_frames_and_skips_damaged_ones() -> None:
    def decode(index: int) -> Frame:
        if index == 2:
            raise ValueError("damaged")
        return grey(index)

    frames = CachedFrames(decode, 6, FrameCache())
    seen: list[int] = []
    done = threading.Event()

    def on_frame(index: int) -> None:
        seen.append(index)
        if len(seen) == 5:
            done.set()

    frames.prefetch([5, 4, 3, 2, 1, 0], on_frame)
    assert done.wait(5)
    assert sorted(seen) == [0, 1, 3, 4, 5]
    assert all(frames.is_decoded(i) for i in seen)


def test_prefetch_of_a_cine_larger_than_the_cache_keeps_its_beginning() -> None:
    frames = CachedFrames(grey, 10, FrameCache(cap=4 * SIZE), workers=1)
    full = threading.Event()
    frames.prefetch(range(10), lambda i: full.set() if i == 3 else None)
    assert full.wait(5)
    for t in [t for t in threading.enumerate() if t.name == "apical-decode"]:
        t.join(5)
    assert [frames.is_decoded(i) for i in range(10)] == [True] * 4 + [False] * 6


def test_close_frees_the_memory_and_stops_decoding() -> None:
    cache = FrameCache()
    frames = CachedFrames(grey, 4, cache)
    other = CachedFrames(grey, 4, cache)
    frames.frame(0)
    other.frame(0)
    frames.close()
    assert cache.nbytes == SIZE
    assert other.is_decoded(0)
    frames.frame(1)
    assert not frames.is_decoded(1)


def test_an_index_out_of_range_is_refused() -> None:
    with pytest.raises(IndexError):
        CachedFrames(grey, 4, FrameCache()).frame(4)


def test_sequential_decoding_stores_the_frames_on_the_way() -> None:
    starts = []

    def start() -> Iterator[Frame]:
        starts.append(1)
        return (grey(i) for i in range(5))

    reader = SequentialDecoder(start, LookupError)
    passed: list[int] = []
    reader.on_pass = lambda i, _frame: passed.append(i)
    assert reader.decode(3)[0, 0] == 3
    assert passed == [0, 1, 2]
    assert reader.decode(4)[0, 0] == 4
    assert len(starts) == 1
    assert reader.decode(1)[0, 0] == 1
    assert len(starts) == 2
    with pytest.raises(LookupError):
        reader.decode(7)
    assert reader.decode(0)[0, 0] == 0


def test_threads_give_the_same_frames(tmp_path: Path) -> None:
    path = jpeg_cine(tmp_path / "a.dcm")
    alone, threaded = open_cine(path), open_cine(path)
    left = set(range(6))
    done = threading.Event()

    def on_frame(index: int) -> None:
        left.discard(index)
        if not left:
            done.set()

    threaded.source.prefetch(range(6), on_frame)
    assert done.wait(10)
    assert all(np.array_equal(alone.frame(i), threaded.frame(i)) for i in range(6))
