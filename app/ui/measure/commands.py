"""Commands of the menu 'Measure', and of the links in the measure panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QCursor, QGuiApplication
from PySide6.QtWidgets import QMenu

from app.domain.errors import ApicalError
from app.domain.facts import Phase, Point
from app.domain.measure.body_size import BodySize
from app.domain.views import View
from app.ui.actions import connect_actions
from app.ui.banner import Banner
from app.ui.cine_presenter import FrameKey
from app.ui.measure.calibration_tool import CalibrationTool
from app.ui.measure.geometry_marks import landmarks_of
from app.ui.measure.landmark_handles import PIXEL_CENTRE, AxisMarks, LandmarkHandles
from app.ui.measure.panel import MeasurePanel
from app.ui.measure.phase_pictures import PhasePicture
from app.ui.measure.presenter import MeasurePresenter
from app.ui.navigation import Navigation
from app.ui.volume_curve import Flag, VolumeCurve
from app.workspace.measurements import Measurements
from app.workspace.measuring.contents import frame_of
from app.workspace.measuring.shown_views import title
from app.workspace.measuring.text_report import as_text
from app.workspace.notice import Level
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace

NO_PAIR = "None: one view only"


class MeasureCommands(QObject):
    """Passes marks, landmarks, calibration, view and pair from the widgets to the measurements."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        measurements: Measurements,
        presenter: MeasurePresenter,
        navigation: Navigation,
        panel: MeasurePanel,
        curve: VolumeCurve,
        handles: LandmarkHandles,
        calibration: CalibrationTool,
        banner: Banner,
        actions: Mapping[str, QAction],
        menu: QMenu,
    ) -> None:
        super().__init__(panel)
        self._workspace = workspace
        self._measurements = measurements
        self._presenter = presenter
        self._navigation = navigation
        self._panel = panel
        self._calibration = calibration
        self._banner = banner
        self.view_menu, self.pair_menu = QMenu("View", menu), QMenu("Pair with", menu)
        for submenu, fill in ((self.view_menu, self._fill_views), (self.pair_menu, self._fill_pairs)):
            submenu.aboutToShow.connect(fill)
            menu.insertMenu(actions["reset_landmarks"], submenu)
        menu.insertSeparator(actions["reset_landmarks"])
        curve.flag_moved.connect(self._move_flag)
        handles.moved.connect(self._set_landmarks)
        handles.reset_wanted.connect(lambda key: self._set_landmarks(key, None))
        calibration.finished.connect(self._calibrate)
        panel.link_clicked.connect(self.follow)
        panel.copy_wanted.connect(self.copy)
        panel.pictures.chosen.connect(self._show_picture)
        panel.body.chosen.connect(self._set_body)
        panel.body.removed.connect(partial(measurements.set_body, None))
        connect_actions(
            actions,
            {
                "mark_ed": partial(self.mark, Phase.ED),
                "mark_es": partial(self.mark, Phase.ES),
                "remove_mark": self.remove_mark,
                "reset_landmarks": self.reset_landmarks,
                "calibrate": self.start_calibration,
                "copy_measurements": self.copy,
            },
        )

    # Marks, landmarks, calibration

    def mark(self, phase: Phase) -> None:
        """Mark the visible frame as end-diastolic or end-systolic."""
        opened = self._workspace.visible_cine
        if opened is not None:
            self._measurements.set_phase(opened, opened.frame, phase)

    def remove_mark(self) -> None:
        """Remove the mark of the visible frame."""
        opened = self._workspace.visible_cine
        if opened is not None and opened.frame in opened.recorder.layer.phases:
            self._measurements.set_phase(opened, opened.frame, None)

    def _move_flag(self, flag: Flag, frame: int) -> None:
        opened = self._workspace.visible_cine
        if opened is not None:
            self._measurements.set_phase(opened, frame, flag.phase)

    def _set_landmarks(self, key: FrameKey, marks: AxisMarks | None) -> None:
        landmarks = None if marks is None else landmarks_of(marks)
        self._measurements.set_landmarks(key.opened, key.frame, landmarks)

    def reset_landmarks(self) -> None:
        """Derive the landmarks of the visible frame from its masks again."""
        opened = self._workspace.visible_cine
        if opened is not None and opened.frame in opened.recorder.layer.landmarks:
            self._measurements.set_landmarks(opened, opened.frame, None)

    def start_calibration(self) -> None:
        """Let the user set two points of known distance."""
        if self._workspace.visible_cine is not None:
            self._calibration.start()

    def _calibrate(self, first: Point, second: Point, distance_mm: float) -> None:
        opened = self._workspace.visible_cine
        if opened is None:
            return
        one, other = ((x - PIXEL_CENTRE, y - PIXEL_CENTRE) for x, y in (first, second))
        try:
            self._measurements.set_calibration(opened, (one, other), distance_mm)
        except ApicalError as error:
            self._banner.show_message(str(error), Level.WARNING)

    def remove_calibrations(self) -> None:
        """Return to the pixel size that the file states, if any."""
        opened = self._workspace.visible_cine
        if opened is not None:
            self._measurements.remove_calibrations(opened)

    def _set_body(self, height_cm: float, weight_kg: float, store: bool) -> None:
        self._measurements.set_body(BodySize(height_cm, weight_kg), store=store)

    # View and pair

    def _fill_views(self) -> None:
        self.view_menu.clear()
        opened = self._workspace.visible_cine
        if opened is None:
            return
        present, source = self._measurements.view_of(opened)
        for view in View:
            action = self.view_menu.addAction(str(view), partial(self._set_view, view))
            action.setCheckable(True)
            action.setChecked(view is present and source is not None)
            if view is View.A3C:
                self.view_menu.addSeparator()
        self.view_menu.addSeparator()
        self.view_menu.addAction("Not stated", partial(self._set_view, None))

    def _set_view(self, view: View | None) -> None:
        opened = self._workspace.visible_cine
        if opened is not None:
            self._measurements.set_view(opened, view)

    def confirm_view(self) -> None:
        """Confirm the recognised view of the visible cine."""
        opened = self._workspace.visible_cine
        if opened is not None:
            self._set_view(self._measurements.view_of(opened)[0])

    def show_next_beat(self) -> None:
        """Display the numbers of the next beat of the visible cine."""
        view = self._presenter.visible_view
        if view is not None:
            index = (view.beat_index + 1) % len(view.measured.beats)
            self._measurements.set_beat(view.opened, index)

    def _fill_pairs(self) -> None:
        self.pair_menu.clear()
        pair = self._measurements.pair
        for opened in self._measurements.pair_candidates:
            view = self._measurements.view_of(opened)[0]
            text = title(opened) + (f" ({view})" if view is not None else "")
            action = self.pair_menu.addAction(
                text.replace("&", "&&"), partial(self._measurements.set_pair, opened)
            )
            action.setCheckable(True)
            action.setChecked(opened is pair)
        if self.pair_menu.isEmpty():
            self.pair_menu.addAction("No other view of this study is open").setEnabled(False)
        else:
            self.pair_menu.addSeparator()
            none = self.pair_menu.addAction(NO_PAIR, partial(self._measurements.set_pair, None))
            none.setCheckable(True)
            none.setChecked(pair is None)

    # Links and clipboard

    def follow(self, target: str) -> None:
        """Follow a link of the panel."""
        place = frame_of(target)
        if place is not None:
            self._go_to(*place)
            return
        commands: dict[str, Callable[[], object]] = {
            "view": partial(self._popup, self.view_menu),
            "pair": partial(self._popup, self.pair_menu),
            "confirm_view": self.confirm_view,
            "next_beat": self.show_next_beat,
            "calibrate": self.start_calibration,
            "remove_calibrations": self.remove_calibrations,
            "reset_landmarks": self.reset_landmarks,
        }
        commands[target]()

    def _popup(self, menu: QMenu) -> None:
        menu.popup(QCursor.pos())

    def _go_to(self, cine_id: int, frame: int) -> None:
        opened = next((o for o in self._workspace.opened_cines if o.id == cine_id), None)
        if opened is not None:
            self._navigation.show_cine(opened)
            self._navigation.go_to(frame)

    def _show_picture(self, picture: PhasePicture) -> None:
        if isinstance(picture.cine, OpenedCine):
            self._go_to(picture.cine.id, picture.frame)

    def copy(self) -> None:
        """Copy the numbers with units, intervals, origin and method; without names and paths."""
        contents, result = self._panel.contents, self._measurements.result
        if contents.has_numbers and result is not None:
            text = as_text(contents, self._presenter.text_notes(), result.warnings)
            QGuiApplication.clipboard().setText(text)
            self._panel.show_copied()
