"""The current cine, shown: its picture, its time, its place in the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.domain.errors import CineError
from app.workspace.notice import Level
from app.workspace.opened_cine import OpenedCine
from app.workspace.tools import PAN

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow


@dataclass(frozen=True)
class FrameKey:
    """Which frame of which cine a stroke was drawn on."""

    opened: OpenedCine
    frame: int


class ShownCine:
    """Brings the parts of a window up to date with the workspace's current cine."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window

    def show(self) -> None:
        """Another cine, or none, is the current one."""
        w, opened = self._window, self._window.current
        w.canvas.finish_stroke()
        w.canvas.set_label_set(w.workspace.label_set)
        w.tools.set_label_set(w.workspace.label_set)
        w.canvas.set_active_class(w.tools.active_class())
        w.cine_list.show_cines(w.workspace.cines, opened)
        w.status.show_cine(None if opened is None else opened.cine)
        w.player_bar.set_cine(None if opened is None else opened.cine)
        if opened is None:
            self._discard_outline()
            w.canvas.set_frame(None)
            w.learning.show_nothing()
            w.suggestion.show()
            w.status.show_engine("no cine open")
            self._enable()
            return
        if not opened.shown:
            w.tools.choose_tool(PAN)  # a stray click on a new picture must draw nothing
            opened.shown = True
        cine = opened.cine
        # The picture first: this frame was decoded when the file was opened or is decoded here, alone.
        w.canvas.set_pixel_aspect(cine.pixel_aspect)
        self.show_picture(opened.frame)
        w.canvas.reset_view()
        w.memory.restore_view(opened)
        order = sorted(range(cine.n_frames), key=lambda f: (f - opened.frame) % cine.n_frames)
        cine.source.prefetch(order, None)
        w.player_bar.watch_decoding(cine)
        self.show_labels()
        w.canvas.setFocus()

    def _discard_outline(self) -> None:
        """The cine of an unfinished outline was closed."""
        key = self._window.canvas.unfinished_outline()
        if isinstance(key, FrameKey):
            self._window.canvas.cancel_stroke()
            name = key.opened.cine.path.name
            self._window.banner.show_message(
                f"The unfinished outline on frame {key.frame} of {name} was discarded.", Level.WARNING
            )

    def show_picture(self, frame: int) -> None:
        """Show a frame without what lies over it; black where it is damaged."""
        w, opened = self._window, self._window.current
        if opened is None:
            return
        try:
            image = opened.cine.frame(frame)
        except CineError as error:
            image = np.zeros((opened.cine.height, opened.cine.width), np.uint8)
            w.banner.show_message(str(error), Level.ERROR)
        w.canvas.set_frame(image, key=FrameKey(opened, frame), group=opened)
        w.player_bar.set_current(frame)

    def show_labels(self) -> None:
        """Bring layers, timeline and actions up to date with annotations and predictions."""
        w, opened = self._window, self._window.current
        if opened is None:
            return
        w.layers.show()
        annotated = opened.recorder.layer
        drawn = annotated.drawn_frames
        w.player_bar.timeline.set_annotated(drawn, set(annotated.annotated_frames) - set(drawn))
        dice = _expected_dice(opened)
        w.player_bar.timeline.set_predictions(dice, opened.stale)
        current = {
            f: reasons for f, reasons in opened.findings.items() if f in dice and f not in opened.stale
        }
        w.learning.review.show_findings(current)
        w.cine_list.show_cines(w.workspace.cines, opened)
        w.suggestion.show()
        self._enable()

    def _enable(self) -> None:
        w, opened = self._window, self._window.current
        annotated = None if opened is None else opened.recorder.layer
        w.actions_by_id["undo"].setEnabled(annotated is not None and annotated.can_undo)
        w.actions_by_id["redo"].setEnabled(annotated is not None and annotated.can_redo)
        w.actions_by_id["save_project_as"].setEnabled(w.workspace.project is not None)


def _expected_dice(opened: OpenedCine) -> dict[int, float]:
    """Expected Dice of every frame that shows a prediction: what a human stated has none."""
    dice = {frame: prediction.confidence for frame, prediction in opened.predictions.items()}
    for frame in opened.recorder.layer.annotated_frames:
        predicted = opened.shown_prediction(frame)
        if predicted is None or not predicted.any():
            dice.pop(frame, None)
    return dice
