"""What lies over the picture: masks drawn and predicted, where they may be wrong, and how sure they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.ui.opened_cine import OpenedCine
from vjepa_core.messages import RESTING

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow


class Layers:
    """Shows the layers of the visible frame, and hides them when asked to.

    Attributes
    ----------
    corrects : bool
        A stroke on the visible frame starts from its prediction.
    doubts_shown : bool
        It is shown where the prediction may be wrong.
    """

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self.corrects = False
        self.doubts_shown = False
        self._masks_shown = True
        self._want_corrections = True
        self._scribbles = False

    def show(self) -> None:
        """Bring them up to date with the visible frame."""
        canvas, opened = self._window.canvas, self._window.current
        if opened is None:
            return
        frame = opened.frame
        shown = opened.shown_prediction(frame)
        canvas.set_labels(opened.recorder.annotated.label(frame), shown)
        if not canvas.is_stroke_in_progress():
            wanted = self._want_corrections and not self._scribbles
            self.corrects = wanted and opened.can_correct(frame)
            canvas.set_start_from_prediction(self.corrects)
        canvas.set_doubt(opened.doubt(frame) if self.doubts_shown else None)
        can_accept = shown is not None and bool(shown.any())
        self._window.learning.show_confidence(_confidence(opened, can_accept), can_accept)
        self._window.actions_by_id["accept_prediction"].setEnabled(can_accept)

    def set_corrections(self, on: bool) -> None:
        """Let a first stroke start from the prediction, or from nothing."""
        self._want_corrections = on
        self.show()

    def set_scribbles(self, on: bool) -> None:
        """Let strokes leave open what they do not touch."""
        self._scribbles = on
        self._window.canvas.set_scribbles(on)
        self.show()

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


def _confidence(opened: OpenedCine, can_accept: bool) -> str:
    """How sure the prediction of the visible frame is, in words."""
    frame = opened.frame
    drawn = opened.recorder.annotated.label(frame)
    prediction = opened.predictions.get(frame)
    if frame in opened.hand_drawn:
        return "this frame is drawn by hand"
    if prediction is None:
        return "no prediction on this frame yet"
    if not can_accept and drawn is not None:
        return "this frame is drawn by hand"  # of what is not shown, confidence says nothing
    stale = ", before your last stroke" if frame in opened.stale else ""
    draft = not opened.recorder.annotated.annotated_frames
    whose = "draft, not learnt from this cine: check it; " if draft else ""
    reasons = "".join(f"; check: {reason}" for reason in opened.findings.get(frame, ()))
    return f"{whose}expected Dice here {prediction.confidence:.2f}{stale}{reasons}"
