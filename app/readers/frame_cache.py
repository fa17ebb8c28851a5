"""Decoded frames: one byte-capped cache for the process, and worker threads that fill it."""

from __future__ import annotations

import itertools
import logging
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

import numpy as np

from app.domain.cine import Frame

log = logging.getLogger(__name__)

DEFAULT_CAP = 1 << 29
"""Bytes of decoded frames that one process keeps: 512 MiB."""

ASIDE_CAP = 1 << 26
"""Bytes of them that may be of other cines than the one that is shown: 64 MiB."""

_LARGE = 1 << 16
_PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
)

Key = tuple[int, int]


class FrameCache:
    """Least recently used frames of all open cines, never more than `cap` bytes.

    Most of them are of one cine, the one that is shown: a study is looked at cine by cine, and frames are
    decoded again much sooner than somebody looks at all of them.

    Parameters
    ----------
    cap : int
        Bytes. A single frame larger than this is not kept at all.
    aside : int
        Bytes for frames of all other cines together.
    """

    def __init__(self, cap: int = DEFAULT_CAP, aside: int = ASIDE_CAP) -> None:
        self.cap = cap
        self._aside = min(aside, cap)
        self._frames: OrderedDict[Key, Frame] = OrderedDict()
        self._bytes = 0
        self._shown: int | None = None  # the source whose frames are not counted as set aside
        self._bytes_aside = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def get(self, key: Key) -> Frame | None:
        """The frame, now the most recently used one, or None."""
        with self._lock:
            frame = self._frames.get(key)
            if frame is not None:
                self._frames.move_to_end(key)
            return frame

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._frames

    def put(self, key: Key, frame: Frame) -> None:
        """Keep a frame, dropping the least recently used ones to stay under the cap."""
        with self._lock:
            if key in self._frames:
                self._remove(key)
            if frame.nbytes > self.cap:
                return
            self._frames[key] = frame
            self._bytes += frame.nbytes
            if key[0] != self._shown:
                self._bytes_aside += frame.nbytes
                self._trim_aside()
            while self._bytes > self.cap:
                self._remove(next(iter(self._frames)))

    def show(self, owner: int) -> None:
        """Keep frames of this source from now on; of all others few."""
        with self._lock:
            if owner == self._shown:
                return
            self._shown = owner
            self._bytes_aside = sum(frame.nbytes for key, frame in self._frames.items() if key[0] != owner)
            self._trim_aside()

    def drop(self, owner: int) -> None:
        """Forget every frame of one source."""
        with self._lock:
            for key in [k for k in self._frames if k[0] == owner]:
                self._remove(key)

    def _trim_aside(self) -> None:
        """Drop the least recently used frames of cines that are not shown, down to their share."""
        if self._shown is None or self._bytes_aside <= self._aside:
            return
        for key in [k for k in self._frames if k[0] != self._shown]:
            self._remove(key)
            if self._bytes_aside <= self._aside:
                return

    def _remove(self, key: Key) -> None:
        nbytes = self._frames.pop(key).nbytes
        self._bytes -= nbytes
        if key[0] != self._shown:
            self._bytes_aside -= nbytes


_shared = FrameCache()
_owners = itertools.count()


def shared_cache() -> FrameCache:
    """The cache of this process."""
    return _shared


class CachedFrames:
    """The `FrameSource` of every format: a function that decodes one frame, a cache, threads.

    Parameters
    ----------
    decode : callable
        ``decode(index) -> Frame``; safe to call from several threads.
    n_frames : int
        Valid indices are 0..n_frames-1.
    cache : FrameCache, optional
        Default: the one of the process.
    workers : int, optional
        Threads of `prefetch`; default one per core, at most 8. 1 for formats that decode in order only.
    """

    def __init__(
        self,
        decode: Callable[[int], Frame],
        n_frames: int,
        cache: FrameCache | None = None,
        workers: int | None = None,
    ) -> None:
        self._decode = decode
        self._n = n_frames
        self._cache = shared_cache() if cache is None else cache
        self._workers = workers or min(8, os.cpu_count() or 1)
        self._owner = next(_owners)
        self._lock = threading.Lock()
        self._running: dict[int, Future[Frame]] = {}
        self._generation = 0
        self._closed = False

    def frame(self, index: int) -> Frame:
        """Luma of one frame, read-only, shape (height, width), uint8.

        Raises
        ------
        IndexError
            Outside 0..n_frames-1.
        CineError
            The frame's data are damaged.
        """
        if not 0 <= index < self._n:
            raise IndexError(f"frame {index} of a cine of {self._n} frames")
        key = (self._owner, index)
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        with self._lock:
            future = self._running.get(index)
            mine = future is None
            if future is None:
                future = self._running[index] = Future()
        if not mine:  # another thread is at it already
            return future.result()
        try:
            # It may have been finished between the look into the cache and the lock.
            frame = self._cache.get(key)
            if frame is None:
                frame = self._decode(index)
                self.put(index, frame)
            future.set_result(frame)
            return frame
        except BaseException as error:
            future.set_exception(error)
            raise
        finally:
            with self._lock:
                self._running.pop(index, None)

    def put(self, index: int, frame: Frame) -> None:
        """Hand in a frame that was decoded on the way to another one."""
        frame.flags.writeable = False  # shared by everyone who asks
        if not self._closed:
            self._cache.put((self._owner, index), _apart(frame))

    def is_decoded(self, index: int) -> bool:
        """True where `frame` would answer from memory."""
        return (self._owner, index) in self._cache

    def prefetch(self, order: Iterable[int], on_frame: Callable[[int], None] | None = None) -> None:
        """Decode frames in threads, in this order, and return at once; replaces an earlier prefetch.

        From now on the memory is there for this cine, see `FrameCache`. Stops after as many bytes as the
        cache holds, so that the end of a long cine does not push out its beginning. A damaged frame is logged
        and left out.

        Parameters
        ----------
        order : iterable of int
            Frame indices, the most wanted first.
        on_frame : callable, optional
            Called from a worker thread with each index that is in memory.
        """
        with self._lock:
            self._generation += 1
            generation = self._generation
        self._cache.show(self._owner)
        todo = _Shared(iter(order), budget=self._cache.cap)

        def work() -> None:
            for index in todo:
                if self._closed or generation != self._generation:
                    return
                try:
                    todo.spend(self.frame(index).nbytes)
                except Exception as error:
                    log.warning("frame %d left out: %s", index, type(error).__name__)
                    continue
                if on_frame is not None and not self._closed and generation == self._generation:
                    on_frame(index)

        # Daemons: a long cine must never hold up the end of the program.
        for _ in range(self._workers):
            threading.Thread(target=work, name="apical-decode", daemon=True).start()

    def close(self) -> None:
        """Stop the threads and free the memory; `frame` still works, but is no longer cached."""
        with self._lock:
            self._closed = True
            self._generation += 1
        self._cache.drop(self._owner)


def _apart(frame: Frame) -> Frame:
    """A large frame in pages of its own: the system has them back when the frame is dropped.

    Memory from the general heap often stays with the process, since something small that was allocated later
    lies behind it.
    """
    if frame.nbytes < _LARGE:
        return frame
    pages = mmap.mmap(-1, frame.nbytes, **_PRIVATE)
    copy: Frame = np.frombuffer(pages, np.uint8).reshape(frame.shape)
    copy[...] = frame
    copy.flags.writeable = False
    return copy


class _Shared:
    """An iterator that several threads take from, until a budget in bytes is spent."""

    def __init__(self, items: Iterator[int], budget: int) -> None:
        self._items = items
        self._left = budget
        self._lock = threading.Lock()

    def spend(self, nbytes: int) -> None:
        with self._lock:
            self._left -= nbytes
            if self._left < nbytes:
                self._items = iter(())

    def __iter__(self) -> _Shared:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._items)


class InOrder:
    """Random access to a format that can only be decoded from the start, such as video and GIF.

    Going back starts again; frames passed on the way are handed to `on_pass`.

    Parameters
    ----------
    start : callable
        Opens the file anew and yields its frames in order.
    missing : callable
        Makes the error to raise when the file ends before the frame asked for.
    """

    def __init__(self, start: Callable[[], Iterator[Frame]], missing: Callable[[int], Exception]) -> None:
        self._start = start
        self._missing = missing
        self._frames: Iterator[Frame] = iter(())
        self._next = -1
        self._lock = threading.Lock()
        self.on_pass: Callable[[int, Frame], None] = lambda _index, _frame: None

    def decode(self, index: int) -> Frame:
        """Decode up to this frame and return it."""
        with self._lock:
            if self._next < 0 or index < self._next:
                self._frames, self._next = self._start(), 0
            for frame in self._frames:
                self._next += 1
                if self._next > index:
                    return frame
                self.on_pass(self._next - 1, frame)
            self._next = -1
            raise self._missing(index)
