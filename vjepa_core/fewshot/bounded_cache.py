"""Arrays that can be computed again, kept up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray


class BoundedCache:
    """The most recently used arrays, `max_bytes` of them in all; safe to use from several threads.

    Parameters
    ----------
    max_bytes : int
        An array that is larger than this alone is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._arrays: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays that are kept."""
        return self._bytes

    def get(self, key: Hashable) -> NDArray[np.float32] | None:
        """Return the array stored under `key`; None if there is none, or no longer."""
        with self._lock:
            found = self._arrays.get(key)
            if found is not None:
                self._arrays.move_to_end(key)
            return found

    def put(self, key: Hashable, array: NDArray[np.float32]) -> None:
        """Keep an array, and drop those that were not used for longest where there is no room for it."""
        if array.nbytes > self.max_bytes:
            return
        with self._lock:
            old = self._arrays.pop(key, None)
            self._bytes += array.nbytes - (0 if old is None else old.nbytes)
            self._arrays[key] = array
            while self._bytes > self.max_bytes:
                _, dropped = self._arrays.popitem(last=False)
                self._bytes -= dropped.nbytes
