"""Shows the long axis of the visible frame on the picture."""

from __future__ import annotations

from collections.abc import Callable

from app.domain.measure.landmarks import Source
from app.ui.cine_presenter import FrameKey
from app.ui.measure.geometry_marks import axis_marks, marks_of
from app.ui.measure.landmark_handles import AxisMarks, LandmarkHandles
from app.workspace.measuring.shown_views import ShownView


class HandlePresenter:
    """Displays the landmarks at end-diastole and end-systole, and where they were set by hand.

    Parameters
    ----------
    handles : LandmarkHandles
    is_wanted : callable
        Returns False while the axis would be in the way, such as during playback.
    """

    def __init__(self, handles: LandmarkHandles, is_wanted: Callable[[], bool]) -> None:
        self._handles = handles
        self._is_wanted = is_wanted

    def show(self, view: ShownView | None, key: FrameKey | None) -> AxisMarks | None:
        """Display the landmarks of a frame of the visible cine, and return them; None if there are none."""
        marks = None
        if view is not None and key is not None and key.opened is view.opened and self._is_wanted():
            marks = _marks(view, key.frame)
        self._handles.show_marks(marks, key)
        return marks


def _marks(view: ShownView, frame: int) -> AxisMarks | None:
    manual = view.opened.recorder.layer.landmarks.get(frame)
    if manual is not None:
        return marks_of(manual)
    is_phase = any(frame in (beat.ed_frame, beat.es_frame) for beat in view.measured.beats)
    geometry = view.geometry(frame) if is_phase else None
    if geometry is None:
        return None
    return axis_marks(geometry.axis, view.spacing, is_manual=geometry.axis.source is Source.MANUAL)
