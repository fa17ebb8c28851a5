"""The bounded history of changes that undo and redo step through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from app.domain.strokes import PackedStroke, Stroke

MAX_STEPS = 500
MAX_BYTES = 64 * 2**20


class History:
    """Done and undone strokes, bounded in steps and in compressed bytes; the oldest go first.

    Parameters
    ----------
    done
        Strokes in force, oldest first.
    undone
        Strokes that redo can bring back, the next one last.
    max_steps, max_bytes
        Bounds over both together.
    """

    def __init__(
        self,
        done: Iterable[PackedStroke] = (),
        undone: Iterable[PackedStroke] = (),
        max_steps: int = MAX_STEPS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._done = deque(done)
        self._undone = deque(undone)
        self._max_steps = max_steps
        self._max_bytes = max_bytes
        self._n_bytes = sum(stroke.n_bytes for stroke in (*self._done, *self._undone))
        self._trim()

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    @property
    def n_bytes(self) -> int:
        """Compressed bytes held."""
        return self._n_bytes

    def __len__(self) -> int:
        return len(self._done) + len(self._undone)

    def push(self, stroke: Stroke) -> None:
        """Add a new stroke; what could have been redone is gone."""
        self._n_bytes -= sum(packed.n_bytes for packed in self._undone)
        self._undone.clear()
        packed = PackedStroke.of(stroke)
        self._done.append(packed)
        self._n_bytes += packed.n_bytes
        self._trim()

    def undo(self) -> Stroke | None:
        """Move the newest done stroke to the undone ones and return it."""
        return self._move(self._done, self._undone)

    def redo(self) -> Stroke | None:
        """Move the stroke undone last back and return it."""
        return self._move(self._undone, self._done)

    @staticmethod
    def _move(source: deque[PackedStroke], target: deque[PackedStroke]) -> Stroke | None:
        if not source:
            return None
        stroke = source[-1].unpack()
        target.append(source.pop())
        return stroke

    def _trim(self) -> None:
        while len(self) > self._max_steps or (self._n_bytes > self._max_bytes and len(self) > 1):
            oldest = (self._done or self._undone).popleft()
            self._n_bytes -= oldest.n_bytes
