"""Suggestions of the engine: the frame or cine to outline next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.workspace.cine_entry import CineEntry, CineState
from app.workspace.learner import Learner
from app.workspace.opened_cine import OpenedCine
from vjepa_core.service.messages import Progress, Stage, Suggested


class Suggestions:
    """The newest suggestion for each cine; one for an older revision of the annotations is ignored.

    Parameters
    ----------
    learner : Learner
        Receives the suggestions of the engine.
    changed : callable
        Called when a suggestion was added or discarded.
    """

    def __init__(self, learner: Learner, changed: Callable[[], object]) -> None:
        self._learner = learner
        self._changed = changed
        self._newest: dict[int, Suggested] = {}
        learner.suggested.connect(self._add)
        learner.progress.connect(self._on_progress)

    def clear(self) -> None:
        """Discard all suggestions, for another project or another encoder."""
        self._newest.clear()

    def is_current(self, opened: OpenedCine) -> bool:
        """Return True if there is a suggestion for the present annotations of a cine."""
        suggested = self._newest.get(opened.id)
        return suggested is not None and suggested.revision == opened.revision

    def frame(self, opened: OpenedCine) -> int | None:
        """Return the frame of a cine to outline next; None if there is no suggestion."""
        return self._newest[opened.id].frame if self.is_current(opened) else None

    def cine(self, opened: OpenedCine, entries: Sequence[CineEntry]) -> CineEntry | None:
        """Return the entry of the cine to outline next; None to stay with this one.

        It is the cine in which the engine expects a label to help most. If no frame of the cines that it has
        received is worth outlining, it is one that the engine has not received.
        """
        if not self.is_current(opened):
            return None
        suggested = self._newest[opened.id]
        if suggested.next_cine_id is None and suggested.frame is None:
            return next((other for other in entries if self._is_new(other)), None)
        return next((e for e in entries if e.record and e.record.id == suggested.next_cine_id), None)

    def _add(self, suggested: Suggested) -> None:
        self._newest[suggested.cine_id] = suggested
        self._changed()

    def _on_progress(self, progress: Progress) -> None:
        if progress.stage is Stage.NOT_RECOGNISED:  # no head applies to the cine
            self._newest.pop(progress.cine_id, None)
            self._changed()

    def _is_new(self, entry: CineEntry) -> bool:
        if entry.n_annotated or entry.state is CineState.FAILED:
            return False
        return entry.opened is None or not self._learner.has_sent(entry.opened)
