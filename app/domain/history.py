"""The bounded history of edits that undo and redo step through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from app.domain.facts import FactEdit
from app.domain.strokes import PackedStroke, Stroke

MAX_STEPS = 500
MAX_BYTES = 64 * 2**20

Edit = Stroke | FactEdit
"""A stroke or a change of facts, which is undone as a whole."""
PackedEdit = PackedStroke | FactEdit
"""An edit as the history and the project file store it."""


def packed(edit: Edit) -> PackedEdit:
    """Compress an edit."""
    return PackedStroke.of(edit) if isinstance(edit, Stroke) else edit


class History:
    """Edits in force and undone edits, bounded in number and in bytes; the oldest are dropped first.

    Parameters
    ----------
    done : iterable of PackedEdit
        Edits in force, oldest first.
    undone : iterable of PackedEdit
        Edits that redo can apply again, the next one last.
    max_steps, max_bytes : int
        Bounds for both together.
    """

    def __init__(
        self,
        done: Iterable[PackedEdit] = (),
        undone: Iterable[PackedEdit] = (),
        max_steps: int = MAX_STEPS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._done = deque(done)
        self._undone = deque(undone)
        self._max_steps = max_steps
        self._max_bytes = max_bytes
        self._n_bytes = sum(edit.n_bytes for edit in (*self._done, *self._undone))
        self._trim()

    @property
    def can_undo(self) -> bool:
        """True if an edit is in force."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """True if an edit was undone and no other followed."""
        return bool(self._undone)

    @property
    def n_bytes(self) -> int:
        """Compressed size in bytes."""
        return self._n_bytes

    def __len__(self) -> int:
        return len(self._done) + len(self._undone)

    def push(self, edit: Edit) -> None:
        """Add an edit and discard those that could have been redone."""
        self._n_bytes -= sum(item.n_bytes for item in self._undone)
        self._undone.clear()
        item = packed(edit)
        self._done.append(item)
        self._n_bytes += item.n_bytes
        self._trim()

    def undo(self) -> Edit | None:
        """Move the newest edit in force to the undone ones and return it; None if there is none."""
        return self._move(self._done, self._undone)

    def redo(self) -> Edit | None:
        """Move the most recently undone edit back and return it; None if there is none."""
        return self._move(self._undone, self._done)

    @staticmethod
    def _move(source: deque[PackedEdit], target: deque[PackedEdit]) -> Edit | None:
        if not source:
            return None
        item = source[-1]
        edit = item.unpack() if isinstance(item, PackedStroke) else item
        target.append(source.pop())
        return edit

    def _trim(self) -> None:
        while len(self) > self._max_steps or (self._n_bytes > self._max_bytes and len(self) > 1):
            oldest = (self._done or self._undone).popleft()
            self._n_bytes -= oldest.n_bytes
