"""Commands that change annotations: strokes, accept, clear, mark as empty, undo and redo."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtGui import QAction

from app.domain.prediction import Prediction
from app.domain.provenance import StrokeKind
from app.domain.shown_mask import FrameMasks
from app.ui.actions import connect_actions
from app.ui.banner import Banner
from app.ui.canvas import CineCanvas
from app.ui.cine_presenter import FrameKey
from app.ui.layer_presenter import LayerPresenter
from app.ui.learning_panel import LearningPanel
from app.ui.navigation import Navigation
from app.ui.tool_panel import ToolPanel
from app.ui.transport import Player
from app.workspace.gestures import ERASER, OUTLINE, FinishedStroke
from app.workspace.notice import Level
from app.workspace.workspace import Workspace

STROKE_KINDS: dict[str, StrokeKind] = {"brush": "brush", "eraser": "erase", "polygon": "polygon"}


class Editing:
    """Passes strokes and editing commands from the widgets to the workspace."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        canvas: CineCanvas,
        player: Player,
        tools: ToolPanel,
        learning: LearningPanel,
        banner: Banner,
        layers: LayerPresenter,
        navigation: Navigation,
        actions: Mapping[str, QAction],
    ) -> None:
        self._workspace = workspace
        self._canvas = canvas
        self._player = player
        self._tools = tools
        self._banner = banner
        self._layers = layers
        self._navigation = navigation
        self._actions = actions
        self._outline_message = ""  # message in the banner about an unfinished outline
        # Frame of the brush stroke in progress, and its prediction when the stroke began.
        self._stroke_start: tuple[FrameKey, Prediction | None] | None = None
        # Frame, masks and prediction visible when the accept button was pressed.
        self._visible_at_press: tuple[FrameKey, FrameMasks, Prediction | None] | None = None
        canvas.stroke_finished.connect(self.commit)
        canvas.stroke_in_progress.connect(self._on_stroke_in_progress)
        canvas.blocked_by_outline.connect(self.explain_unfinished_outline)
        canvas.drew_nothing_behind.connect(self._turn_off_draw_behind)
        learning.accept.pressed.connect(self._remember_visible)
        learning.accepted.connect(self.accept_prediction)
        learning.islands_removed.connect(self.remove_islands)
        connect_actions(
            actions,
            {
                "undo": self.undo,
                "redo": self.redo,
                "accept_prediction": self.accept_prediction,
                "clear_frame": self.clear_frame,
                "mark_empty": self.mark_empty,
                "remove_islands": self.remove_islands,
                "draw_behind": tools.toggle_behind,
            },
        )

    def update_actions(self) -> None:
        """Enable undo and redo if there is an edit to undo or redo."""
        opened = self._workspace.visible_cine
        layer = None if opened is None else opened.recorder.layer
        self._actions["undo"].setEnabled(layer is not None and layer.can_undo)
        self._actions["redo"].setEnabled(layer is not None and layer.can_redo)

    # Strokes

    def _on_stroke_in_progress(self, in_progress: bool) -> None:
        """Pause playback and show every structure the stroke may change; at its end, dismiss the message."""
        if not in_progress:
            self._dismiss_outline_message()
            return
        opened = self._workspace.visible_cine
        self._player.pause()
        if opened is not None and self._canvas.tool() != OUTLINE:
            self._stroke_start = FrameKey(opened, opened.frame), opened.predictions.get(opened.frame)
        self._layers.show_masks(True)
        erasing = self._canvas.tool() == ERASER
        self._tools.show_structures(None if erasing else {self._tools.active_structure()})

    def commit(self, stroke: FinishedStroke) -> None:
        """Record a finished stroke and show its frame."""
        key: FrameKey = stroke.key  # type: ignore[assignment]
        start, self._stroke_start = self._stroke_start, None
        prediction = start[1] if start is not None and start[0] == key else None
        self._workspace.editor.apply(
            key.opened, key.frame, stroke.result, STROKE_KINDS[stroke.kind], prediction
        )
        self._tools.show_structures(set(stroke.changed))
        if key.opened is not self._workspace.visible_cine or key.frame != key.opened.frame:
            self._go_to(key)

    def explain_unfinished_outline(self) -> None:
        """Report that an unfinished outline blocks other strokes, and offer to show it."""
        key = self._canvas.unfinished_outline()
        if isinstance(key, FrameKey):
            self._dismiss_outline_message()
            self._outline_message = (
                f"The outline on frame {key.frame} of {key.opened.cine.path.name} is not finished: "
                "press Enter there to fill it, or Esc to discard it."
            )
            action = ("Show the outline", lambda: self._go_to(key))
            self._banner.show_message(self._outline_message, Level.WARNING, action)

    def _dismiss_outline_message(self) -> None:
        self._banner.dismiss(self._outline_message)
        self._outline_message = ""

    def _go_to(self, key: FrameKey) -> None:
        self._dismiss_outline_message()
        self._navigation.show_cine(key.opened)
        self._navigation.go_to(key.frame)

    def _turn_off_draw_behind(self) -> None:
        """Turn off drawing behind after it had no effect; the next stroke covers other structures."""
        self._tools.set_behind(False)
        self._banner.show_message(
            "Nothing was drawn: 'Draw behind' does not change other structures, and they cover this area. "
            "It is now off: draw again.",
            Level.INFO,
        )

    # Commands

    def undo(self) -> None:
        """Remove the last point of an unfinished outline, or undo the last edit and show its frame."""
        if not self._canvas.step_outline_back():
            self._step_history(self._workspace.editor.undo)

    def redo(self) -> None:
        """Redo the most recently undone edit and show its frame."""
        self._step_history(self._workspace.editor.redo)

    def _step_history(self, step: Callable[[], int | None]) -> None:
        self._canvas.finish_stroke()
        frame = step()
        if frame is not None:
            self._navigation.go_to(frame)

    def _remember_visible(self) -> None:
        """Remember the visible prediction: the accept button accepts what was visible when it was pressed."""
        opened = self._workspace.visible_cine
        if opened is not None:
            frame = opened.frame
            self._visible_at_press = (
                FrameKey(opened, frame),
                opened.masks(frame),
                opened.predictions.get(frame),
            )

    def accept_prediction(self) -> None:
        """Accept the prediction on the visible frame."""
        opened = self._workspace.visible_cine
        visible, self._visible_at_press = self._visible_at_press, None
        if opened is None:
            return
        self._canvas.finish_stroke()
        self._layers.show_masks(True)
        if visible is not None and visible[0] == FrameKey(opened, opened.frame):
            _, masks, prediction = visible
            self._workspace.editor.accept(opened.frame, masks, prediction)
        else:
            self._workspace.editor.accept(opened.frame)

    def clear_frame(self) -> None:
        """Remove the annotation of the visible frame."""
        self._change_frame(self._workspace.editor.clear)

    def mark_empty(self) -> None:
        """Mark the visible frame as empty: it shows no structure."""
        self._change_frame(self._workspace.editor.mark_empty)

    def remove_islands(self) -> None:
        """Remove the small islands of the structures on the visible frame."""
        self._change_frame(self._workspace.editor.remove_islands)

    def _change_frame(self, change: Callable[[int], object]) -> None:
        opened = self._workspace.visible_cine
        if opened is not None:
            self._canvas.finish_stroke()
            change(opened.frame)
