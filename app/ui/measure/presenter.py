"""Displays measurements: panel, pictures of both phases, curve, and the axis on the picture."""

from __future__ import annotations

from PySide6.QtCore import QObject

from app.domain.measure.biplane import Method
from app.domain.measure.cine_measurement import structure_values
from app.domain.measure.heart import Values
from app.domain.views import View
from app.ui.canvas import CineCanvas
from app.ui.cine_presenter import FrameKey
from app.ui.measure.curve_presenter import curve_of
from app.ui.measure.handle_presenter import HandlePresenter
from app.ui.measure.landmark_handles import LandmarkHandles
from app.ui.measure.panel import MeasurePanel
from app.ui.measure.picture_presenter import PicturePresenter
from app.ui.player_bar import PlayerBar
from app.ui.status import StatusLine
from app.workspace.measurements import Measurements
from app.workspace.measuring.contents import Contents, Line, Link
from app.workspace.measuring.describe import Describer, heart_rate, warning_lines
from app.workspace.measuring.fact_lines import (
    beat_line,
    body_line,
    landmarks_line,
    pair_line,
    pixel_line,
    pixel_text,
    view_line,
    view_text,
)
from app.workspace.measuring.shown_views import ShownView, title
from app.workspace.workspace import Workspace

NO_CINE: Line = ("Open a cine to measure the left heart.",)
NO_CAVITY: Line = (
    "The label set has no LV cavity (SNOMED CT 87878005), so the left ventricle cannot be measured.",
)
NO_MASKS: Line = (
    "No masks yet. Wait for the draft, or outline the LV cavity at end-diastole and at end-systole.",
)
NO_VIEW: Line = ("The view is unknown: ", Link("state it", "view"), " to measure the left heart.")
ORDER: dict[View | None, int] = {View.A4C: 0, View.A2C: 1}
METHODS = {
    Method.ASE: "Volumes: method of disks, ASE/EACVI 2015.",
    Method.CAMUS: "Volumes: method of disks as in the script of the CAMUS data, not ASE/EACVI.",
}


class MeasurePresenter(QObject):
    """Keeps everything that displays measurements up to date."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        measurements: Measurements,
        panel: MeasurePanel,
        player_bar: PlayerBar,
        canvas: CineCanvas,
        handles: LandmarkHandles,
        status: StatusLine,
    ) -> None:
        super().__init__(panel)
        self._workspace = workspace
        self._measurements = measurements
        self._panel = panel
        self._player_bar = player_bar
        self._status = status
        self._pictures = PicturePresenter(panel.pictures)
        self._handles = HandlePresenter(handles, lambda: not player_bar.player.is_playing())
        self._key: FrameKey | None = None
        self._views: list[ShownView] = []
        measurements.changed.connect(self.show)
        workspace.labels_changed.connect(self.show)  # marks, view and pixel size change at once
        canvas.frame_shown.connect(self._on_frame)
        player_bar.player.playing_changed.connect(lambda _: self._show_frame())
        self.show()

    def show(self) -> None:
        """Display the newest measurements."""
        values = structure_values(self._workspace.label_set)
        self._views = [] if values is None else self._find_views(values)
        visible = self.visible_view
        self._pictures.show(self._views)
        opened = self._workspace.visible_cine
        self._status.show_scale(None if opened is None else self._measurements.calibrated(opened))
        body = self._measurements.body
        self._panel.body.show_size(*((None, None) if body is None else (body.height_cm, body.weight_kg)))
        self._player_bar.curve.set_curve(None if visible is None else curve_of(visible))
        self._show_frame()

    def _find_views(self, values: Values) -> list[ShownView]:
        """Return the measured cines, A4C first."""
        result = self._measurements.result
        views: list[ShownView] = []
        if result is None:
            return views
        for (name, measured), opened in zip(result.views.items(), self._measurements.used, strict=True):
            view, source = self._measurements.view_of(opened)
            views.append(ShownView(name, opened, view, source, measured))
        return sorted(views, key=lambda view: ORDER.get(view.view, len(ORDER)))

    @property
    def visible_view(self) -> ShownView | None:
        """Measurements of the visible cine, or None."""
        visible = self._workspace.visible_cine
        return next((view for view in self._views if view.opened is visible), None)

    def _on_frame(self, key: object) -> None:
        self._key = key if isinstance(key, FrameKey) else None
        self._show_frame()

    def _show_frame(self) -> None:
        """Display what depends on the visible frame."""
        marks = self._handles.show(self.visible_view, self._key)
        landmarks = None
        if marks is not None and self._key is not None:
            landmarks = landmarks_line(self._key.frame, is_shown=True, is_manual=marks.is_manual)
        if not self._player_bar.player.is_playing():
            self._panel.show_contents(self._contents(landmarks))

    # Contents of the panel

    def _contents(self, landmarks: Line | None) -> Contents:
        opened, result = self._workspace.visible_cine, self._measurements.result
        if opened is None:
            return Contents(missing=(NO_CINE,))
        values = structure_values(self._workspace.label_set)
        if values is None:
            return Contents(missing=(NO_CAVITY,))
        facts = self._facts(landmarks)
        if result is None or not self._views:
            is_updating = self._measurements.is_updating
            if opened.has_masks and self._measurements.view_of(opened)[0] is None:
                return Contents(missing=(NO_VIEW,), facts=facts, is_updating=is_updating)
            return Contents(missing=(NO_MASKS,), facts=facts, is_updating=is_updating)
        view_facts = [view.facts(values) for view in self._views]
        describer = Describer(result, view_facts)
        return Contents(
            describer.headline(),
            describer.rows(),
            describer.minor(),
            () if self.visible_view is not None else (NO_MASKS,),
            warning_lines(result, view_facts),
            facts,
            self._measurements.is_updating,
        )

    def _facts(self, landmarks: Line | None) -> tuple[Line, ...]:
        measurements, opened = self._measurements, self._workspace.visible_cine
        if opened is None:
            return ()
        view, source = measurements.view_of(opened)
        pair = measurements.pair
        names = [f"{title(o)} ({measurements.view_of(o)[0] or 'view unknown'})" for o in (opened, pair) if o]
        body, shown = measurements.body, self.visible_view
        lines = (
            view_line(view, source),
            None if shown is None else beat_line(shown.beat_index, len(shown.measured.beats)),
            pair_line(
                names[0],
                None if pair is None else names[1],
                reason=measurements.pair_reason,
                has_candidates=bool(measurements.pair_candidates),
            ),
            pixel_line(measurements.calibrated(opened).calibration),
            landmarks,
            body_line(None if body is None else body.surface_m2),
        )
        return tuple(line for line in lines if line is not None)

    def text_notes(self) -> list[str]:
        """Return sentences about method, views, frames and pixel size; they name no file."""
        result = self._measurements.result
        if result is None:
            return []
        notes = [METHODS[result.method]]
        for shown in self._views:
            frames = ""
            if shown.beat.ed_frame is not None:
                frames = f"; ED frame {shown.beat.ed_frame}, ES frame {shown.beat.es_frame}"
            pixel = pixel_text(shown.measured.calibration)
            notes.append(f"View {view_text(shown.view, shown.source)}{frames}; pixel {pixel}.")
            rate = heart_rate(shown.measured)
            if rate is not None:
                notes.append(f"Heart rate {rate[0]:.0f} per minute, from {rate[1]}.")
        return list(dict.fromkeys(notes))
