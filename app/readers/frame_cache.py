"""Decoded frames: one cache of limited size for the process, and threads that fill it."""

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
"""Limit of the decoded frames of a process in bytes: 512 MiB."""

OTHERS_CAP = 1 << 26
"""Limit of the frames of all cines that are not visible, in bytes: 64 MiB."""

_LARGE = 1 << 16
_PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
)

Key = tuple[int, int]


class FrameCache:
    """Cache of the most recently used frames of all open cines.

    Most of the memory is for the visible cine, because users view one cine at a time and decoding again is
    fast.

    Parameters
    ----------
    cap : int
        Bytes. A single frame larger than this is not stored.
    others_cap : int
        Bytes for frames of all other cines together.
    """

    def __init__(self, cap: int = DEFAULT_CAP, others_cap: int = OTHERS_CAP) -> None:
        self.cap = cap
        self._others_cap = min(others_cap, cap)
        self._frames: OrderedDict[Key, Frame] = OrderedDict()
        self._bytes = 0
        self._visible: int | None = None  # the source of the visible cine
        self._others_bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the stored frames."""
        return self._bytes

    def get(self, key: Key) -> Frame | None:
        """Return a frame, which becomes the most recently used one, or None."""
        with self._lock:
            frame = self._frames.get(key)
            if frame is not None:
                self._frames.move_to_end(key)
            return frame

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._frames

    def put(self, key: Key, frame: Frame) -> None:
        """Store a frame and drop the least recently used ones above the cap."""
        with self._lock:
            if key in self._frames:
                self._remove(key)
            if frame.nbytes > self.cap:
                return
            self._frames[key] = frame
            self._bytes += frame.nbytes
            if key[0] != self._visible:
                self._others_bytes += frame.nbytes
                self._trim_others()
            while self._bytes > self.cap:
                self._remove(next(iter(self._frames)))

    def set_visible(self, owner: int) -> None:
        """Reserve most of the memory for the frames of one source, that of the visible cine."""
        with self._lock:
            if owner == self._visible:
                return
            self._visible = owner
            self._others_bytes = sum(frame.nbytes for key, frame in self._frames.items() if key[0] != owner)
            self._trim_others()

    def drop(self, owner: int) -> None:
        """Remove all frames of one source."""
        with self._lock:
            for key in [k for k in self._frames if k[0] == owner]:
                self._remove(key)

    def _trim_others(self) -> None:
        """Drop the least recently used frames of other cines above their cap."""
        if self._visible is None or self._others_bytes <= self._others_cap:
            return
        for key in [k for k in self._frames if k[0] != self._visible]:
            self._remove(key)
            if self._others_bytes <= self._others_cap:
                return

    def _remove(self, key: Key) -> None:
        nbytes = self._frames.pop(key).nbytes
        self._bytes -= nbytes
        if key[0] != self._visible:
            self._others_bytes -= nbytes


_shared = FrameCache()
_owners = itertools.count()


def shared_cache() -> FrameCache:
    """Return the cache of this process."""
    return _shared


class CachedFrames:
    """`FrameSource` of all formats: a function that decodes one frame, a cache and threads.

    Parameters
    ----------
    decode : callable
        ``decode(index) -> Frame``, thread-safe.
    n_frames : int
        Number of frames of the cine.
    cache : FrameCache, optional
        Default: the cache of the process.
    workers : int, optional
        Threads of `prefetch`; default: one per core, at most 8. 1 for formats that can only be decoded in
        order.
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
        """Return the luma of one frame.

        Parameters
        ----------
        index : int
            0 to n_frames - 1.

        Returns
        -------
        ndarray, shape (height, width), uint8
            Read-only.

        Raises
        ------
        IndexError
            There is no such frame.
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
            is_first = future is None
            if future is None:
                future = self._running[index] = Future()
        if not is_first:  # another thread is decoding the frame
            return future.result()
        try:
            # Another thread may have finished it between the cache look-up and the lock.
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
        """Store a decoded frame, also one that was decoded on the way to another one."""
        frame.flags.writeable = False  # shared by all callers
        if not self._closed:
            self._cache.put((self._owner, index), _in_own_pages(frame))

    def is_decoded(self, index: int) -> bool:
        """Return True if `frame` needs no decoding."""
        return (self._owner, index) in self._cache

    def prefetch(self, order: Iterable[int], on_frame: Callable[[int], None] | None = None) -> None:
        """Start decoding frames in threads and return at once; replaces an earlier prefetch.

        The cine counts as the visible one, see `FrameCache`. Decoding stops when the cache is full, so that
        the end of a long cine does not displace its beginning. Damaged frames are logged and skipped.

        Parameters
        ----------
        order : iterable of int
            Frame indices, the most urgent first.
        on_frame : callable, optional
            ``on_frame(index)`` is called from a worker thread for each frame in memory.
        """
        with self._lock:
            self._generation += 1
            generation = self._generation
        self._cache.set_visible(self._owner)
        pending = _SharedIterator(iter(order), budget=self._cache.cap)

        def work() -> None:
            for index in pending:
                if self._closed or generation != self._generation:
                    return
                try:
                    pending.spend(self.frame(index).nbytes)
                except Exception as error:
                    log.warning("frame %d skipped: %s", index, type(error).__name__)
                    continue
                if on_frame is not None and not self._closed and generation == self._generation:
                    on_frame(index)

        # Daemon threads: the program must not wait for a long cine when it ends.
        for _ in range(self._workers):
            threading.Thread(target=work, name="apical-decode", daemon=True).start()

    def close(self) -> None:
        """Stop the threads and free the memory; `frame` still works, but without the cache."""
        with self._lock:
            self._closed = True
            self._generation += 1
        self._cache.drop(self._owner)


def _in_own_pages(frame: Frame) -> Frame:
    """Copy a large frame into separate memory pages, which return to the system when it is dropped.

    Memory of the general heap often stays with the process, because of small blocks allocated after it.
    """
    if frame.nbytes < _LARGE:
        return frame
    pages = mmap.mmap(-1, frame.nbytes, **_PRIVATE)
    copy: Frame = np.frombuffer(pages, np.uint8).reshape(frame.shape)
    copy[...] = frame
    copy.flags.writeable = False
    return copy


class _SharedIterator:
    """Iterator for several threads that ends when a budget in bytes is spent."""

    def __init__(self, items: Iterator[int], budget: int) -> None:
        self._items = items
        self._left = budget
        self._lock = threading.Lock()

    def spend(self, nbytes: int) -> None:
        with self._lock:
            self._left -= nbytes
            if self._left < nbytes:
                self._items = iter(())

    def __iter__(self) -> _SharedIterator:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._items)


class SequentialDecoder:
    """Random access to a format that can only be decoded from the start, such as video and GIF.

    A step backwards decodes from the beginning again. Frames decoded on the way are passed to `on_pass`.

    Parameters
    ----------
    start : callable
        Opens the file and yields its frames in order.
    missing : callable
        ``missing(index)`` returns the error for a file that ends before this frame.
    """

    def __init__(self, start: Callable[[], Iterator[Frame]], missing: Callable[[int], Exception]) -> None:
        self._start = start
        self._missing = missing
        self._frames: Iterator[Frame] = iter(())
        self._next = -1
        self._lock = threading.Lock()
        self.on_pass: Callable[[int, Frame], None] = lambda _index, _frame: None

    def decode(self, index: int) -> Frame:
        """Decode up to a frame and return it."""
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
