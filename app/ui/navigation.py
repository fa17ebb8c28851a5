"""Going from frame to frame and from cine to cine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.workspace.opened_cine import OpenedCine

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow


class Navigation:
    """Moves a window to another frame or cine; every move but that of playing itself stops the playing."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window

    def show_frame(self, frame: int) -> None:
        """Show a frame of the current cine, the nearest one there is."""
        w, opened = self._window, self._window.current
        if opened is None:
            return
        frame = min(max(frame, 0), opened.cine.n_frames - 1)
        w.canvas.finish_stroke()
        w.workspace.look(frame)
        w.shown.show_picture(frame)
        w.layers.show()
        w.suggestion.say()
        w.memory.save_view_soon()

    def go_to(self, frame: int) -> None:
        """Stop there."""
        self._window.player_bar.player.pause()
        self.show_frame(frame)

    def step(self, by: int) -> None:
        """Some frames on or back; at the ends a loop goes round."""
        opened = self._window.current
        if opened is not None:
            frame = opened.frame + by
            if self._window.player_bar.player.loop() and abs(by) == 1:
                frame %= opened.cine.n_frames
            self.go_to(frame)

    def step_annotated(self, by: int) -> None:
        """To the next or previous annotated frame."""
        opened = self._window.current
        if opened is None:
            return
        here, annotated = opened.frame, opened.recorder.layer.annotated_frames
        wanted = [f for f in annotated if (f > here if by > 0 else f < here)]
        if wanted:
            self.go_to(wanted[0] if by > 0 else wanted[-1])

    def go_to_suggested_frame(self) -> None:
        """To the frame worth outlining next, where there is one."""
        frame = self._window.suggestion.frame
        if frame is not None:
            self.go_to(frame)

    def go_to_suggested_cine(self) -> None:
        """To the cine worth outlining next, where there is one."""
        cine = self._window.suggestion.cine
        if cine is not None:
            self.choose(cine)

    def choose(self, opened: OpenedCine) -> None:
        """Make another cine the current one; the zoom of the last one is kept."""
        self._window.canvas.finish_stroke()
        self._window.memory.save_view()
        self._window.workspace.show(opened)

    def step_cine(self, by: int) -> None:
        """To the next or previous cine of the list."""
        cines, opened = self._window.workspace.cines, self._window.current
        if opened is not None and len(cines) > 1:
            self.choose(cines[(cines.index(opened) + by) % len(cines)])
