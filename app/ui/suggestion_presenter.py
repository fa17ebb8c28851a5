"""Displays the frame and the cine that are worth outlining next."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtGui import QAction

from app.ui.cine_list import CineList
from app.ui.suggestion_line import SuggestionLine, suggestion_html
from app.ui.timeline import Timeline
from app.workspace.cine_entry import CineEntry
from app.workspace.workspace import Workspace


class SuggestionPresenter:
    """Keeps marks, sentence and actions consistent with the suggestions of a workspace."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        timeline: Timeline,
        cine_list: CineList,
        line: SuggestionLine,
        actions: Mapping[str, QAction],
    ) -> None:
        self._workspace = workspace
        self._timeline = timeline
        self._cine_list = cine_list
        self._line = line
        self._actions = actions

    @property
    def frame(self) -> int | None:
        """Suggested frame of the visible cine, or None."""
        opened = self._workspace.visible_cine
        return None if opened is None else self._workspace.suggestions.frame(opened)

    @property
    def cine(self) -> CineEntry | None:
        """Suggested cine; None if the visible one is the best choice."""
        opened = self._workspace.visible_cine
        return None if opened is None else self._workspace.suggestions.cine(opened, self._workspace.entries)

    def show(self) -> None:
        """Update marks, actions and sentence."""
        frame, cine = self.frame, self.cine
        self._timeline.set_suggested(frame)
        self._cine_list.set_suggested(cine)
        self._actions["suggested_frame"].setEnabled(frame is not None)
        self._actions["suggested_cine"].setEnabled(cine is not None)
        self.show_sentence()

    def show_sentence(self) -> None:
        """Update the sentence for the visible frame."""
        opened = self._workspace.visible_cine
        if opened is None or not self._workspace.suggestions.is_current(opened):
            self._line.show_html("")
            return
        cine = self.cine
        name = None if cine is None else cine.name
        outlined = bool(opened.recorder.layer.annotated_frames)
        self._line.show_html(suggestion_html(self.frame, opened.frame, name, outlined=outlined))
