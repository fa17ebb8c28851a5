"""Displays the visible cine: picture, timeline, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.domain.errors import CineError
from app.ui.banner import Banner
from app.ui.canvas import CineCanvas
from app.ui.player_bar import PlayerBar
from app.ui.review_line import ReviewLine
from app.ui.saved_state import ViewState
from app.ui.status import StatusLine
from app.ui.tool_panel import ToolPanel
from app.workspace.frame_state import expected_dice, findings_to_review
from app.workspace.gestures import PAN
from app.workspace.notice import Level
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace


@dataclass(frozen=True)
class FrameKey:
    """A frame of a cine, to which a stroke belongs."""

    opened: OpenedCine
    frame: int


class CinePresenter:
    """Keeps picture, tools, timeline and status line consistent with the visible cine of a workspace."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        canvas: CineCanvas,
        tools: ToolPanel,
        player_bar: PlayerBar,
        review: ReviewLine,
        status: StatusLine,
        banner: Banner,
        view_state: ViewState,
    ) -> None:
        self._workspace = workspace
        self._canvas = canvas
        self._tools = tools
        self._player_bar = player_bar
        self._review = review
        self._status = status
        self._banner = banner
        self._view_state = view_state

    def show(self) -> None:
        """Display the visible cine, or an empty canvas if there is none."""
        canvas, opened = self._canvas, self._workspace.visible_cine
        canvas.finish_stroke()
        canvas.set_label_set(self._workspace.label_set)
        self._tools.set_label_set(self._workspace.label_set)
        canvas.set_active_structure(self._tools.active_structure())
        self._status.show_cine(None if opened is None else opened.cine)
        self._player_bar.set_cine(None if opened is None else opened.cine)
        if opened is None:
            self._discard_outline()
            canvas.set_frame(None)
            return
        if not opened.was_shown:
            self._tools.choose_tool(PAN)  # an accidental click on a new picture must not draw
            opened.was_shown = True
        cine = opened.cine
        # Show the picture first: this frame is decoded already, or is the only one to decode now.
        canvas.set_pixel_aspect(cine.pixel_aspect)
        self.show_picture(opened.frame)
        canvas.reset_view()
        self._view_state.restore(opened)
        order = sorted(range(cine.n_frames), key=lambda f: (f - opened.frame) % cine.n_frames)
        cine.source.prefetch(order, None)
        self._player_bar.watch_decoding(cine)
        canvas.setFocus()

    def show_picture(self, frame: int) -> None:
        """Display a frame without its label layers; a damaged frame is black."""
        opened = self._workspace.visible_cine
        if opened is None:
            return
        try:
            image = opened.cine.frame(frame)
        except CineError as error:
            image = np.zeros((opened.cine.height, opened.cine.width), np.uint8)
            self._banner.show_message(str(error), Level.ERROR)
        self._canvas.set_frame(image, key=FrameKey(opened, frame), group=opened)
        self._player_bar.set_current(frame)

    def show_labels(self) -> None:
        """Update annotated frames, expected Dice and findings of the visible cine."""
        opened = self._workspace.visible_cine
        if opened is None:
            return
        layer = opened.recorder.layer
        accepted_only = set(layer.annotated_frames) - set(layer.drawn_frames)
        self._player_bar.timeline.set_annotated(layer.drawn_frames, accepted_only)
        dice = expected_dice(opened)
        self._player_bar.timeline.set_predictions(dice, opened.outdated)
        self._review.show_findings(findings_to_review(opened, dice))

    def _discard_outline(self) -> None:
        """Discard an unfinished outline whose cine was closed, and report it."""
        key = self._canvas.unfinished_outline()
        if isinstance(key, FrameKey):
            self._canvas.cancel_stroke()
            self._banner.show_message(
                f"The unfinished outline on frame {key.frame} of {key.opened.cine.path.name} was discarded.",
                Level.WARNING,
            )
