"""Displays what the learning engine is doing."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtGui import QAction

from app.encoders import registry
from app.ui.actions import connect_actions
from app.ui.learning_panel import LearningPanel, describe, describe_stopping
from app.ui.status import StatusLine
from app.workspace.remaining_time import RemainingTime
from app.workspace.workspace import Workspace
from vjepa_core.errors import CoreError
from vjepa_core.service.messages import Progress, Ready


class LearningPresenter:
    """Shows progress and encoder of a workspace's learner in the learning panel and the status line."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        panel: LearningPanel,
        status: StatusLine,
        actions: Mapping[str, QAction],
    ) -> None:
        self._workspace = workspace
        self._panel = panel
        self._status = status
        self._remaining = RemainingTime()
        learner = workspace.learner
        learner.progress.connect(self._show_progress)
        learner.stopping.connect(self._show_stopping)
        learner.ready.connect(self._show_encoder)
        panel.cancelled.connect(learner.cancel)
        panel.resumed.connect(learner.resume)
        connect_actions(actions, {"cancel_learning": learner.cancel, "resume_learning": learner.resume})

    def show_no_cine(self) -> None:
        """Show that no cine is open."""
        self._panel.show_nothing()
        self._status.show_engine("No cine open")

    def _show_progress(self, progress: Progress) -> None:
        visible = self._workspace.visible_cine
        names = {opened.id: opened.cine.path.name for opened in self._workspace.opened_cines}
        is_visible = visible is None or progress.cine_id == visible.id
        other_cine = "" if is_visible else names.get(progress.cine_id, "")
        seconds_left = self._remaining.update(progress)
        self._panel.show_progress(progress, other_cine, seconds_left)
        text = describe(progress, seconds_left)
        self._status.show_engine(f"{other_cine}: {text}" if other_cine else text)

    def _show_stopping(self, progress: Progress) -> None:
        self._panel.show_stopping(progress)
        self._status.show_engine(describe_stopping(progress))

    def _show_encoder(self, ready: Ready) -> None:
        try:
            card = registry.find(ready.encoder)
        except CoreError:
            card = None
        self._panel.show_encoder(ready, card)
