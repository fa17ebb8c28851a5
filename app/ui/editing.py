"""What the user changes on frames: strokes, accepting, clearing, emptying, undo and redo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.domain.provenance import StrokeKind
from app.domain.shown_mask import FrameMasks
from app.storage.records import Prediction
from app.ui.shown_cine import FrameKey
from app.workspace.notice import Level
from app.workspace.tools import ERASER, POLYGON, Edit

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow

STROKES: dict[str, StrokeKind] = {"brush": "brush", "eraser": "erase", "polygon": "polygon"}


class Editing:
    """Turns strokes and commands on a window's picture into calls on its workspace."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self._waiting = ""  # what was said of an unfinished outline
        self._begun: tuple[FrameKey, Prediction | None] | None = None  # a brush stroke in progress
        self._seen: tuple[FrameKey, FrameMasks, Prediction | None] | None = None  # by a held accept button

    def stroke_begins(self, drawing: bool) -> None:
        """Stop playing, and show every structure that the stroke may change."""
        if not drawing:
            self._forget_waiting_outline()
            return
        w, opened = self._window, self._window.current
        w.player_bar.player.pause()
        if opened is not None and w.canvas.tool() != POLYGON:
            self._begun = FrameKey(opened, opened.frame), opened.predictions.get(opened.frame)
        w.layers.show_masks(True)
        w.tools.show_structures(None if w.canvas.tool() == ERASER else {w.tools.active_class()})

    def commit(self, edit: Edit) -> None:
        """Record a stroke that has ended, and show its frame."""
        key: FrameKey = edit.key  # type: ignore[assignment]
        w = self._window
        begun, self._begun = self._begun, None
        seen = begun[1] if begun is not None and begun[0] == key else None
        w.workspace.apply(key.opened, key.frame, edit.result, STROKES[edit.kind], seen)
        w.tools.show_structures(set(edit.changed))
        if key.opened is not w.current or key.frame != key.opened.frame:
            self._show_frame_of(key)

    def explain_waiting_outline(self) -> None:
        """Say why nothing else can be drawn while an outline is unfinished."""
        key = self._window.canvas.unfinished_outline()
        if isinstance(key, FrameKey):
            self._forget_waiting_outline()
            self._waiting = (
                f"The outline on frame {key.frame} of {key.opened.cine.path.name} is not finished: "
                "press Enter there to fill it, or Esc to discard it."
            )
            self._window.banner.show_message(
                self._waiting, Level.WARNING, ("Show it", lambda: self._show_frame_of(key))
            )

    def _forget_waiting_outline(self) -> None:
        self._window.banner.dismiss(self._waiting)
        self._waiting = ""

    def _show_frame_of(self, key: FrameKey) -> None:
        self._forget_waiting_outline()
        self._window.navigation.choose(key.opened)
        self._window.navigation.go_to(key.frame)

    def turn_behind_off(self) -> None:
        """Drawing behind could change nothing here: the next stroke draws."""
        self._window.tools.set_behind(False)
        self._window.banner.show_message(
            "Nothing was drawn: 'Draw behind' spares other structures, and they cover this place. It is off "
            "now, so draw again.",
            Level.INFO,
        )

    def undo(self) -> None:
        """Take back the last point of an unfinished outline, or the newest stroke and go to its frame."""
        if not self._window.canvas.step_outline_back():
            self._step(self._window.workspace.undo)

    def redo(self) -> None:
        """Apply the stroke again and go to its frame."""
        self._step(self._window.workspace.redo)

    def _step(self, step: Callable[[], int | None]) -> None:
        self._window.canvas.finish_stroke()
        frame = step()
        if frame is not None:
            self._window.navigation.go_to(frame)

    def note_what_is_seen(self) -> None:
        """Keep what is on the screen while the accept button is held down: that is what it accepts."""
        opened = self._window.current
        if opened is not None:
            frame = opened.frame
            self._seen = FrameKey(opened, frame), opened.masks(frame), opened.predictions.get(frame)

    def accept_prediction(self) -> None:
        """Accept the prediction on this frame."""
        w, opened = self._window, self._window.current
        seen, self._seen = self._seen, None
        if opened is not None:
            w.canvas.finish_stroke()
            w.layers.show_masks(True)
            held = seen is not None and seen[0] == FrameKey(opened, opened.frame)
            w.workspace.accept(opened.frame, *(seen[1:] if seen is not None and held else ()))

    def clear_frame(self) -> None:
        """Remove everything that was annotated on this frame."""
        w, opened = self._window, self._window.current
        if opened is not None:
            w.canvas.finish_stroke()
            w.workspace.clear(opened.frame)

    def mark_empty(self) -> None:
        """State that none of the structures is on this frame."""
        w, opened = self._window, self._window.current
        if opened is not None:
            w.canvas.finish_stroke()
            w.workspace.mark_empty(opened.frame)

    def remove_islands(self) -> None:
        """Remove the small islands of the structures on this frame."""
        w, opened = self._window, self._window.current
        if opened is not None:
            w.canvas.finish_stroke()
            w.workspace.remove_islands(opened.frame)
