"""What is worth outlining next, shown: marks, a sentence, and the actions that lead there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.ui.suggestion_line import sentence_for
from app.workspace.opened_cine import OpenedCine

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow


class ShownSuggestion:
    """Brings the parts of a window up to date with what the engine suggests."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window

    @property
    def frame(self) -> int | None:
        """The frame of the current cine to outline next, where there is one."""
        opened, suggestions = self._window.current, self._window.workspace.suggestions
        return None if opened is None else suggestions.frame(opened)

    @property
    def cine(self) -> OpenedCine | None:
        """The cine to outline next, where another is worth more."""
        workspace, opened = self._window.workspace, self._window.current
        return None if opened is None else workspace.suggestions.cine(opened, workspace.cines)

    def show(self) -> None:
        """Bring marks, sentence and actions up to date."""
        w, frame, cine = self._window, self.frame, self.cine
        w.player_bar.timeline.set_suggested(frame)
        w.cine_list.set_suggested(cine)
        w.actions_by_id["suggested_frame"].setEnabled(frame is not None)
        w.actions_by_id["suggested_cine"].setEnabled(cine is not None)
        self.say()

    def say(self) -> None:
        """Bring the sentence up to date with the visible frame."""
        w, opened = self._window, self._window.current
        if opened is None or not w.workspace.suggestions.holds(opened):
            w.learning.suggestion.say("")
            return
        cine = self.cine
        name = None if cine is None else cine.cine.path.name
        outlined = bool(opened.recorder.layer.annotated_frames)
        w.learning.suggestion.say(sentence_for(self.frame, opened.frame, name, outlined=outlined))
