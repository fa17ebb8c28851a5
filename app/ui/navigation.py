"""Navigation between frames and between cines."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from PySide6.QtGui import QAction

from app.ui.actions import connect_actions
from app.ui.canvas import CineCanvas
from app.ui.cine_presenter import CinePresenter
from app.ui.layer_presenter import LayerPresenter
from app.ui.player_bar import PlayerBar
from app.ui.saved_state import ViewState
from app.ui.suggestion_presenter import SuggestionPresenter
from app.workspace.cine_entry import CineEntry, CineState
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace


class Navigation:
    """Handles every command that shows another frame or another cine."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        canvas: CineCanvas,
        player_bar: PlayerBar,
        cine: CinePresenter,
        layers: LayerPresenter,
        suggestion: SuggestionPresenter,
        view_state: ViewState,
        actions: Mapping[str, QAction],
    ) -> None:
        self._workspace = workspace
        self._canvas = canvas
        self._player = player_bar.player
        self._cine = cine
        self._layers = layers
        self._suggestion = suggestion
        self._view_state = view_state
        player_bar.frame_wanted.connect(self.show_frame)
        player_bar.step_wanted.connect(self.step)
        canvas.frame_step.connect(self.step)
        canvas.annotated_step.connect(self.step_annotated)
        connect_actions(
            actions,
            {
                "play_pause": self._player.toggle,
                "frame_first": partial(self.show_frame, 0),
                "frame_last": self._show_last_frame,
                "frame_prev": partial(self.step, -1),
                "frame_next": partial(self.step, 1),
                "frame_prev_10": partial(self.step, -10),
                "frame_next_10": partial(self.step, 10),
                "annotated_prev": partial(self.step_annotated, -1),
                "annotated_next": partial(self.step_annotated, 1),
                "suggested_frame": self.go_to_suggested_frame,
                "suggested_cine": self.go_to_suggested_cine,
                "cine_prev": partial(self.step_cine, -1),
                "cine_next": partial(self.step_cine, 1),
            },
        )

    def show_frame(self, frame: int) -> None:
        """Show a frame of the visible cine; `frame` is clamped to its range."""
        opened = self._workspace.visible_cine
        if opened is None:
            return
        frame = min(max(frame, 0), opened.cine.n_frames - 1)
        self._canvas.finish_stroke()
        self._workspace.set_frame(frame)
        self._cine.show_picture(frame)
        self._layers.show()
        self._suggestion.show_sentence()
        self._view_state.save_soon()

    def _show_last_frame(self) -> None:
        opened = self._workspace.visible_cine
        if opened is not None:
            self.show_frame(opened.cine.n_frames - 1)

    def go_to(self, frame: int) -> None:
        """Pause playback and show a frame."""
        self._player.pause()
        self.show_frame(frame)

    def step(self, by: int) -> None:
        """Go `by` frames forward (positive) or back; single steps wrap around if playback loops."""
        opened = self._workspace.visible_cine
        if opened is not None:
            frame = opened.frame + by
            if self._player.loop() and abs(by) == 1:
                frame %= opened.cine.n_frames
            self.go_to(frame)

    def step_annotated(self, by: int) -> None:
        """Go to the next (positive) or previous annotated frame."""
        opened = self._workspace.visible_cine
        if opened is None:
            return
        current, annotated = opened.frame, opened.recorder.layer.annotated_frames
        candidates = [f for f in annotated if (f > current if by > 0 else f < current)]
        if candidates:
            self.go_to(candidates[0] if by > 0 else candidates[-1])

    def go_to_suggested_frame(self) -> None:
        """Go to the frame worth outlining next, if there is a suggestion."""
        frame = self._suggestion.frame
        if frame is not None:
            self.go_to(frame)

    def go_to_suggested_cine(self) -> None:
        """Go to the cine worth outlining next, if there is a suggestion."""
        cine = self._suggestion.cine
        if cine is not None:
            self.choose(cine)

    def choose(self, entry: CineEntry) -> None:
        """Show a cine of the list, which is opened first if necessary."""
        self._leave_cine()
        self._workspace.choose(entry)

    def show_cine(self, opened: OpenedCine) -> None:
        """Show an open cine."""
        self._leave_cine()
        self._workspace.show(opened)

    def _leave_cine(self) -> None:
        self._canvas.finish_stroke()
        self._view_state.save()

    def step_cine(self, by: int) -> None:
        """Go to the next (positive) or previous cine of the list, wrapping around."""
        selected = self._workspace.selected
        entries = [entry for entry in self._workspace.entries if entry.state is not CineState.FAILED]
        if selected in entries and len(entries) > 1:
            self.choose(entries[(entries.index(selected) + by) % len(entries)])
