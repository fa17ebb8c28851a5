"""What the engine suggests to outline next, as far as it still holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.workspace.opened_cine import OpenedCine
from vjepa_core.service.messages import Suggested


class Suggestions:
    """The newest suggestion for each cine; one for outlines that have changed since counts for nothing.

    Parameters
    ----------
    knows : callable
        Whether the engine was told of a cine.
    """

    def __init__(self, knows: Callable[[OpenedCine], bool]) -> None:
        self._knows = knows
        self._told: dict[int, Suggested] = {}

    def take(self, told: Suggested) -> None:
        """Keep what the engine said last of a cine."""
        self._told[told.cine_id] = told

    def forget(self, cine_id: int) -> None:
        """Suggest nothing about a cine: no head recognises it."""
        self._told.pop(cine_id, None)

    def clear(self) -> None:
        """Forget all: another project or another encoder comes."""
        self._told.clear()

    def holds(self, opened: OpenedCine) -> bool:
        """True where the engine has looked at this cine with its outlines as they are."""
        told = self._told.get(opened.id)
        return told is not None and told.revision == opened.revision

    def frame(self, opened: OpenedCine) -> int | None:
        """The frame to outline next; None where there is none worth it, or nobody knows yet."""
        return self._told[opened.id].frame if self.holds(opened) else None

    def cine(self, opened: OpenedCine, cines: Sequence[OpenedCine]) -> OpenedCine | None:
        """The cine to go on with: where a label teaches more, or, once this one is learnt, an unseen one."""
        if not self.holds(opened):
            return None
        told = self._told[opened.id]
        if told.next_cine_id is None and told.frame is None:
            return next((other for other in cines if self._new(other)), None)
        return next((other for other in cines if other.id == told.next_cine_id), None)

    def _new(self, opened: OpenedCine) -> bool:
        return not self._knows(opened) and not opened.recorder.layer.annotated_frames
