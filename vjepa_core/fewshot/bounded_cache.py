"""In-memory cache of arrays with a size limit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray


class BoundedCache:
    """Least-recently-used cache of arrays, safe for use from several threads.

    Parameters
    ----------
    max_bytes : int
        Maximum total size. A larger array is not stored.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._arrays: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Total size of the stored arrays in bytes."""
        return self._bytes

    def get(self, key: Hashable) -> NDArray[np.float32] | None:
        """Return the array stored under `key`, or None if it is not stored."""
        with self._lock:
            array = self._arrays.get(key)
            if array is not None:
                self._arrays.move_to_end(key)
            return array

    def put(self, key: Hashable, array: NDArray[np.float32]) -> None:
        """Store an array; remove the least recently used ones if the limit is exceeded."""
        if array.nbytes > self.max_bytes:
            return
        with self._lock:
            old = self._arrays.pop(key, None)
            self._bytes += array.nbytes - (0 if old is None else old.nbytes)
            self._arrays[key] = array
            while self._bytes > self.max_bytes:
                _, dropped = self._arrays.popitem(last=False)
                self._bytes -= dropped.nbytes
