"""What the user changes on frames: strokes, accepting, clearing, undo and redo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.domain.history import StrokeKind
from app.ui.shown_cine import FrameKey
from app.ui.tools import Edit

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow

STROKES: dict[str, StrokeKind] = {"brush": "brush", "eraser": "erase", "polygon": "polygon"}


class Editing:
    """Turns what the hand does on a window's picture into calls on its workspace."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window

    def hold_still(self, drawing: bool) -> None:
        """Nobody can draw on a moving picture."""
        if drawing:
            self._window.player_bar.player.pause()
            self._window.layers.show_masks(True)  # nor draw or accept what cannot be seen

    def commit(self, edit: Edit) -> None:
        """A stroke has ended."""
        workspace = self._window.workspace
        key: FrameKey = edit.key  # type: ignore[assignment]
        commit = workspace.correct if self._window.layers.corrects else workspace.draw
        commit(key.opened, key.frame, edit.after, STROKES[edit.kind])

    def undo(self) -> None:
        """Take back the newest stroke and go to its frame."""
        self._step(self._window.workspace.undo)

    def redo(self) -> None:
        """Draw the stroke again and go to its frame."""
        self._step(self._window.workspace.redo)

    def _step(self, step: Callable[[], int | None]) -> None:
        self._window.canvas.finish_stroke()
        frame = step()
        if frame is not None:
            self._window.navigation.go_to(frame)

    def accept_prediction(self) -> None:
        """Make the prediction on this frame an annotation."""
        w, opened = self._window, self._window.current
        if opened is not None:
            w.canvas.finish_stroke()
            w.layers.show_masks(True)
            w.workspace.accept(opened.frame)

    def clear_frame(self) -> None:
        """Take everything drawn off this frame."""
        w, opened = self._window, self._window.current
        if opened is not None:
            w.canvas.cancel_stroke()
            w.workspace.clear(opened.frame)
