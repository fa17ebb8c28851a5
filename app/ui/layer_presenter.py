"""Displays the layers over the picture (masks, doubt) and the state of each structure."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtGui import QAction, QKeySequence

from app.domain.labels import LabelSet
from app.domain.provenance import Provenance
from app.domain.shown_mask import FrameMasks
from app.ui.actions import connect_actions
from app.ui.canvas import CineCanvas
from app.ui.learning_panel import LearningPanel
from app.ui.status import StatusLine
from app.ui.tool_panel import ToolPanel
from app.ui.transport import Player
from app.workspace.frame_state import is_draft, structure_states
from app.workspace.islands import count_islands
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace
from vjepa_core.label_image import structures_in
from vjepa_core.service.messages import RESTING


class LayerPresenter:
    """Keeps the layers of the visible frame up to date, and shows or hides them.

    Attributes
    ----------
    doubt_visible : bool
        True if doubt is displayed.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        canvas: CineCanvas,
        player: Player,
        tools: ToolPanel,
        learning: LearningPanel,
        status: StatusLine,
        actions: Mapping[str, QAction],
    ) -> None:
        self._workspace = workspace
        self._canvas = canvas
        self._player = player
        self._tools = tools
        self._learning = learning
        self._status = status
        self._actions = actions
        self.doubt_visible = False
        self._masks_visible = True
        actions["toggle_uncertainty"].setCheckable(True)
        connect_actions(actions, {"toggle_masks": self.toggle_masks, "toggle_uncertainty": self.toggle_doubt})

    def show(self) -> None:
        """Update layers and texts for the visible frame."""
        opened = self._workspace.visible_cine
        if opened is None:
            return
        frame = opened.frame
        masks = opened.masks(frame)
        self._canvas.set_masks(masks, outdated=frame in opened.outdated)
        self._canvas.set_doubt(opened.doubt(frame) if self.doubt_visible else None)
        if not self._player.is_playing():
            self._describe(opened, masks)
        elif self._learning.frame_text.text():  # during playback, texts would change too fast to be read
            self._learning.show_frame_text("", can_accept=False)
            self._learning.show_islands(0)
            self._tools.show_states({})

    def _describe(self, opened: OpenedCine, masks: FrameMasks) -> None:
        """Show the state of each structure, and enable the possible commands."""
        label_set, predicted = self._workspace.label_set, masks.predicted
        can_accept = predicted is not None and bool(predicted.any())
        self._learning.show_frame_text(describe_frame(opened, masks, label_set), can_accept=can_accept)
        self._actions["accept_prediction"].setEnabled(can_accept)
        self._tools.show_states(structure_states(opened, masks, label_set))
        islands = count_islands(masks.shown)
        self._actions["remove_islands"].setEnabled(islands > 0)
        self._learning.show_islands(islands)

    def toggle_masks(self) -> None:
        """Show or hide all masks."""
        self.show_masks(not self._masks_visible)

    def show_masks(self, visible: bool) -> None:
        """Show or hide all masks; the status line names the key that shows them again."""
        self._masks_visible = visible
        self._canvas.set_layers_visible(visible, visible)
        shortcuts = self._actions["toggle_masks"].shortcuts()
        keys = ", ".join(keys.toString(QKeySequence.SequenceFormat.NativeText) for keys in shortcuts)
        self._status.show_hidden("" if visible else f"Masks hidden ({keys})" if keys else "Masks hidden")

    def toggle_doubt(self) -> None:
        """Show or hide doubt."""
        self.show_doubt(not self.doubt_visible)

    def show_doubt(self, visible: bool) -> None:
        """Show or hide doubt."""
        self.doubt_visible = visible
        self._actions["toggle_uncertainty"].setChecked(visible)
        self._learning.doubt.setChecked(visible)
        self.show()
        self.fetch_doubt()

    def fetch_doubt(self) -> None:
        """Request doubt for a reopened cine: projects store predictions without doubt."""
        learner, opened = self._workspace.learner, self._workspace.visible_cine
        progress = learner.last_progress
        if self.doubt_visible and opened is not None and progress and progress.stage in RESTING:
            learner.request_doubts(opened)


def describe_frame(opened: OpenedCine, masks: FrameMasks, labels: LabelSet) -> str:
    """Return one or two sentences about the visible frame for the learning panel."""
    names = {c.value: c.name for c in labels.structures}
    by_state = {
        state: [v for v, s in masks.states.items() if s is state and v in names]
        for state in (Provenance.DRAWN, Provenance.ACCEPTED)
    }
    annotated = () if masks.annotation is None else structures_in(masks.annotation)
    if masks.states and not annotated and set(masks.states) >= set(labels.values):
        return "Marked as empty: none of the structures is on this frame."
    sentences: list[str] = []
    for state, values in by_state.items():
        present = [names[v] for v in values if v in annotated]
        if present:
            sentences.append(f"{str(state).capitalize()}: {', '.join(present)}.")
    absent = [names[v] for values in by_state.values() for v in values if v not in annotated]
    if absent:
        sentences.append(f"Marked as absent: {', '.join(absent)}.")
    prediction = opened.predictions.get(opened.frame)
    if masks.predicted is not None and masks.predicted.any() and prediction is not None:
        sentences.append(_describe_prediction(opened, prediction.expected_dice))
    elif not sentences:
        sentences.append(
            "No prediction on this frame yet."
            if prediction is None
            else "Nothing is predicted on this frame."
        )
    return " ".join(sentences)


def _describe_prediction(opened: OpenedCine, dice: float) -> str:
    reasons = "".join(f"; check: {reason}" for reason in opened.findings.get(opened.frame, ()))
    if is_draft(opened):
        return f"Draft, not fitted to this cine: check it; expected Dice {dice:.2f}{reasons}"
    if opened.frame in opened.outdated:
        return f"Outdated: expected Dice {dice:.2f} before your last stroke{reasons}"
    return f"Predicted: expected Dice {dice:.2f}{reasons}"
