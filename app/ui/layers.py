"""What lies over the picture: masks, where they may be wrong, and who stated what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.domain.shown_mask import FrameMasks
from app.ui.frame_states import describe_frame, structure_states
from app.workspace.islands import count_islands
from app.workspace.opened_cine import OpenedCine
from vjepa_core.service.messages import RESTING

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow


class Layers:
    """Shows the layers of the visible frame, and hides them when asked to.

    Attributes
    ----------
    doubts_shown : bool
        Whether the picture shows where the prediction may be wrong.
    """

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self.doubts_shown = False
        self._masks_shown = True

    def show(self) -> None:
        """Bring them up to date with the visible frame."""
        w, opened = self._window, self._window.current
        if opened is None:
            return
        frame = opened.frame
        masks = opened.masks(frame)
        w.canvas.set_masks(masks, outdated=frame in opened.stale)
        w.canvas.set_doubt(opened.doubt(frame) if self.doubts_shown else None)
        if not w.player_bar.player.is_playing():  # too fast to read, and too slow to play
            self._describe(opened, masks)
        elif w.learning.says_something():
            w.learning.show_confidence("", False)
            w.learning.show_islands(0)
            w.tools.show_states({})

    def _describe(self, opened: OpenedCine, masks: FrameMasks) -> None:
        """Say who stated what on the visible frame, and what can be done with it."""
        w = self._window
        predicted = masks.predicted
        can_accept = predicted is not None and bool(predicted.any())
        w.learning.show_confidence(describe_frame(opened, masks, w.workspace.label_set), can_accept)
        w.actions_by_id["accept_prediction"].setEnabled(can_accept)
        w.tools.show_states(structure_states(opened, masks, w.workspace.label_set))
        small = count_islands(masks.shown)
        w.actions_by_id["remove_islands"].setEnabled(small > 0)
        w.learning.show_islands(small)

    def toggle_masks(self) -> None:
        """Show or hide both layers; the status line says so while they are hidden."""
        self.show_masks(not self._masks_shown)

    def show_masks(self, shown: bool) -> None:
        """Show both layers, or hide them."""
        w = self._window
        self._masks_shown = shown
        w.canvas.set_layers_visible(shown, shown)
        keys = ", ".join(w.keymap["toggle_masks"].keys)
        w.status.show_hidden("" if shown else f"masks hidden ({keys})" if keys else "masks hidden")

    def toggle_uncertainty(self) -> None:
        """Show or hide where the prediction may be wrong."""
        self.show_uncertainty(not self.doubts_shown)

    def show_uncertainty(self, shown: bool) -> None:
        """Show where the prediction may be wrong, or not; remembered."""
        self.doubts_shown = shown
        self._window.actions_by_id["toggle_uncertainty"].setChecked(shown)
        self._window.learning.show_uncertainty(shown)
        self.show()
        self.fetch_doubts()

    def fetch_doubts(self) -> None:
        """No project keeps doubts: those about a cine that is opened again are worked out when wanted."""
        learner, opened = self._window.workspace.learner, self._window.current
        progress = learner.last_progress
        if self.doubts_shown and opened is not None and progress and progress.stage in RESTING:
            learner.redraw(opened)
