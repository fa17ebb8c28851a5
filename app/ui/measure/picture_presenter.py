"""Content of the small pictures: frames of end-diastole and end-systole with what was measured on them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, QTimer

from app.domain.cine import Frame
from app.domain.errors import CineError
from app.domain.facts import Phase
from app.domain.measure.heart import HeartGeometry
from app.domain.measure.landmarks import Source
from app.domain.measure.left_heart import UNKNOWN
from app.ui.measure.geometry_marks import around, phase_geometry
from app.ui.measure.phase_pictures import TILE_RATIO, PhaseGeometry, PhasePicture, PhasePictures
from app.workspace.measuring.shown_views import ShownView

MAX_FRAMES = 16
"""Decoded frames that are kept; more than the pictures of two views need."""

FrameName = tuple[int, int]
"""Id of a cine, and frame."""


class PicturePresenter(QObject):
    """Shows both phases of each measured view; frames are decoded one at a time between other events."""

    def __init__(self, pictures: PhasePictures) -> None:
        super().__init__(pictures)
        self._pictures = pictures
        self._views: Sequence[ShownView] = ()
        self._frames: dict[FrameName, Frame | None] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._decode_next)

    def show(self, views: Sequence[ShownView]) -> None:
        """Display the first beat of each view."""
        self._views = views
        self._update()
        self._timer.start()

    def _update(self) -> None:
        pictures: list[PhasePicture] = []
        for view in self._views:
            found = _geometries(view)
            cine = view.opened.cine
            box = around(list(found.values()), cine.region, cine.pixel_aspect, TILE_RATIO)
            for phase, frame in ((Phase.ED, view.beat.ed_frame), (Phase.ES, view.beat.es_frame)):
                if frame is None:
                    continue
                geometry = view.geometry(frame)
                image = self._frames.get((view.opened.id, frame))
                pictures.append(
                    PhasePicture(
                        "" if view.name == UNKNOWN else view.name,
                        phase,
                        frame,
                        view.opened,
                        image,
                        box,
                        cine.pixel_aspect,
                        found.get(frame),
                        revision=(view.opened.id, geometry, box, image is not None),
                    )
                )
        self._pictures.show_pictures(pictures)

    def _decode_next(self) -> None:
        for view in self._views:
            for frame in (view.beat.ed_frame, view.beat.es_frame):
                name = (view.opened.id, frame)
                if frame is None or name in self._frames:
                    continue
                try:
                    self._frames[view.opened.id, frame] = view.opened.cine.frame(frame)
                except CineError:  # the canvas reports damaged frames
                    self._frames[view.opened.id, frame] = None
                while len(self._frames) > MAX_FRAMES:
                    self._frames.pop(next(iter(self._frames)))
                self._update()
                self._timer.start()
                return


def _geometries(view: ShownView) -> dict[int, PhaseGeometry]:
    return {frame: _geometry(view, geometry) for frame, geometry in view.phases}


def _geometry(view: ShownView, geometry: HeartGeometry) -> PhaseGeometry:
    is_manual = geometry.axis.source is Source.MANUAL
    return phase_geometry(geometry, view.spacing, is_manual=is_manual)
