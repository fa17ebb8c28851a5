"""The main window: tools on the left, picture, curve and timeline in the middle, results on the right."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QDockWidget, QMainWindow, QTabWidget, QVBoxLayout, QWidget

from app import paths
from app.domain.errors import ProjectError
from app.ui.actions import connect_actions, create_actions
from app.ui.banner import Banner
from app.ui.canvas import CineCanvas
from app.ui.cine_list import CineList
from app.ui.cine_presenter import CinePresenter
from app.ui.dialogs import Dialogs
from app.ui.editing import Editing
from app.ui.file_dialogs import FileDialogs
from app.ui.keymap import load_keymap
from app.ui.layer_presenter import LayerPresenter
from app.ui.learning_panel import DOUBT_HELP, LearningPanel
from app.ui.learning_presenter import LearningPresenter
from app.ui.local_files import local_paths
from app.ui.measure.calibration_tool import CalibrationLine, CalibrationTool
from app.ui.measure.commands import MeasureCommands
from app.ui.measure.landmark_handles import LandmarkHandles
from app.ui.measure.panel import MeasurePanel
from app.ui.measure.presenter import MeasurePresenter
from app.ui.menus import build_menus
from app.ui.navigation import Navigation
from app.ui.notices import NoticePresenter
from app.ui.player_bar import PlayerBar
from app.ui.saved_state import ViewState, restore_window, save_window
from app.ui.status import StatusLine
from app.ui.suggestion_presenter import SuggestionPresenter
from app.ui.tool_panel import ToolPanel
from app.workspace.gestures import TOOLS
from app.workspace.measurements import Measurements
from app.workspace.notice import Level
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace

EMPTY = "Open a cine: press Ctrl+O, or drop a file here"
CONFIRM_MS = 60_000
"""Time within which closing again confirms that unsaved work is discarded."""
PANEL_WIDTH = 254
RESULTS_WIDTH = 330


class MainWindow(QMainWindow):
    """Creates the widgets and connects them to a workspace.

    Presenters display the workspace in the widgets; `navigation`, `editing`, `files` and `dialogs` handle the
    user's commands. Each receives only the objects that it uses.

    Parameters
    ----------
    workspace : Workspace
        Project and cines to display.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.setWindowTitle("Apical: research use only")
        self.setAcceptDrops(True)
        self.resize(1360, 860)
        try:
            user_keys: Path | None = paths.config_dir() / "keymap.json"
        except ProjectError:
            user_keys = None
        self.keymap = load_keymap(user_keys)
        self._create_widgets()
        self._create_presenters()
        self._create_commands()
        self._connect_workspace()
        self._show_cine()
        restore_window(self, self.layers, self.results)
        if self.keymap.warning:
            self.banner.show_message(self.keymap.warning, Level.WARNING)

    @property
    def visible_cine(self) -> OpenedCine | None:
        """The visible cine, or None."""
        return self.workspace.visible_cine

    # Construction

    def _create_widgets(self) -> None:
        self.banner = Banner()
        self.canvas = CineCanvas()
        self.canvas.set_empty_text(EMPTY)
        self.canvas.set_peek_keys(self.keymap.sequences("peek"))
        self.player_bar = PlayerBar()
        self.tools = ToolPanel(self.keymap)
        self.learning = LearningPanel()
        self.measure = MeasurePanel()
        self.results = QTabWidget()
        self.results.setDocumentMode(True)
        self.results.tabBar().setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.results.addTab(self.measure, "Measure")
        self.results.addTab(self.learning, "Learning")
        self.calibration_line = CalibrationLine()
        self.cine_list = CineList()
        self.status = StatusLine(self.statusBar())
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.calibration_line)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.player_bar)
        self.setCentralWidget(centre)
        self._dock("Tools", self.tools, Qt.DockWidgetArea.LeftDockWidgetArea)
        self._dock("Cines", self.cine_list, Qt.DockWidgetArea.LeftDockWidgetArea)
        results = self._dock("Results", self.results, Qt.DockWidgetArea.RightDockWidgetArea, RESULTS_WIDTH)
        results.setTitleBarWidget(QWidget())  # the tabs are its title
        self.learning.doubt.setToolTip(f"<qt>{self.keymap.hint('toggle_uncertainty')}. {DOUBT_HELP}</qt>")
        hints = [self.keymap.hint(name) for name in ("suggested_frame", "suggested_cine")]
        self.learning.suggestion.setToolTip("\n".join(hints))
        self.actions_by_id = create_actions(self.keymap, self)
        self.menus = build_menus(self.menuBar(), self.actions_by_id)

    def _dock(
        self, title: str, widget: QWidget, area: Qt.DockWidgetArea, width: int = PANEL_WIDTH
    ) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(title)
        dock.setFeatures(QDockWidget.DockWidgetFeature.NoDockWidgetFeatures)
        widget.setFixedWidth(width)
        dock.setWidget(widget)
        self.addDockWidget(area, dock)
        return dock

    def _create_presenters(self) -> None:
        workspace, canvas, actions = self.workspace, self.canvas, self.actions_by_id
        self.view_state = ViewState(workspace=workspace, canvas=canvas, parent=self)
        self.layers = LayerPresenter(
            workspace=workspace,
            canvas=canvas,
            player=self.player_bar.player,
            tools=self.tools,
            learning=self.learning,
            status=self.status,
            actions=actions,
        )
        self.suggestion = SuggestionPresenter(
            workspace=workspace,
            timeline=self.player_bar.timeline,
            cine_list=self.cine_list,
            line=self.learning.suggestion,
            actions=actions,
        )
        self.cine = CinePresenter(
            workspace=workspace,
            canvas=canvas,
            tools=self.tools,
            player_bar=self.player_bar,
            review=self.learning.review,
            status=self.status,
            banner=self.banner,
            view_state=self.view_state,
        )
        self.handles = LandmarkHandles(canvas)
        self.measurements = Measurements(workspace)
        self.measured = MeasurePresenter(
            workspace=workspace,
            measurements=self.measurements,
            panel=self.measure,
            player_bar=self.player_bar,
            canvas=canvas,
            handles=self.handles,
            status=self.status,
        )
        self.notices = NoticePresenter(workspace=workspace, banner=self.banner)
        self.progress = LearningPresenter(
            workspace=workspace, panel=self.learning, status=self.status, actions=actions
        )

    def _create_commands(self) -> None:
        workspace, canvas, actions = self.workspace, self.canvas, self.actions_by_id
        self.navigation = Navigation(
            workspace=workspace,
            canvas=canvas,
            player_bar=self.player_bar,
            cine=self.cine,
            layers=self.layers,
            suggestion=self.suggestion,
            view_state=self.view_state,
            actions=actions,
        )
        self.editing = Editing(
            workspace=workspace,
            canvas=canvas,
            player=self.player_bar.player,
            tools=self.tools,
            learning=self.learning,
            banner=self.banner,
            layers=self.layers,
            navigation=self.navigation,
            actions=actions,
        )
        self.measuring = MeasureCommands(
            workspace=workspace,
            measurements=self.measurements,
            presenter=self.measured,
            navigation=self.navigation,
            panel=self.measure,
            curve=self.player_bar.curve,
            handles=self.handles,
            calibration=CalibrationTool(canvas, self.calibration_line),
            banner=self.banner,
            actions=actions,
            menu=self.menus["Measure"],
        )
        self.files = FileDialogs(workspace=workspace, canvas=canvas, actions=actions, parent=self)
        self.dialogs = Dialogs(
            workspace=workspace, keymap=self.keymap, banner=self.banner, actions=actions, parent=self
        )
        self._confirmed_outline = self._confirmed_unsaved = False
        self._connect_tools()
        canvas.hover.connect(self.status.show_hover)
        connect_actions(actions, {"quit": self.close, "reset_view": canvas.reset_view})
        learning, navigation = self.learning, self.navigation
        learning.suggestion.frame_wanted.connect(navigation.go_to_suggested_frame)
        learning.suggestion.cine_wanted.connect(navigation.go_to_suggested_cine)
        learning.review.frame_wanted.connect(navigation.go_to)
        learning.encoders_wanted.connect(self.dialogs.show_encoders)
        learning.doubt_toggled.connect(self.layers.show_doubt)
        self.cine_list.chosen.connect(navigation.choose)
        self.player_bar.player.playing_changed.connect(lambda _: self.layers.show())

    def _connect_tools(self) -> None:
        tools, canvas = self.tools, self.canvas
        tools.tool_chosen.connect(canvas.set_tool)
        tools.structure_chosen.connect(canvas.set_active_structure)
        tools.radius_chosen.connect(canvas.set_brush_radius)
        tools.behind_changed.connect(canvas.set_behind)
        tools.scribbles_changed.connect(canvas.set_scribbles)
        tools.from_prediction_changed.connect(canvas.set_corrections)
        tools.hidden_structures_changed.connect(canvas.set_hidden_structures)
        tools.show_radius(canvas.brush_radius())
        canvas.brush_radius_changed.connect(tools.show_radius)
        handlers: dict[str, Callable[[], object]] = {
            "brush_smaller": partial(canvas.step_brush_radius, -1),
            "brush_larger": partial(canvas.step_brush_radius, 1),
        }
        handlers |= {f"tool_{tool}": partial(tools.choose_tool, tool) for tool in TOOLS}
        handlers |= {f"class_{digit}": partial(tools.choose_structure_at, digit) for digit in range(1, 10)}
        connect_actions(self.actions_by_id, handlers)

    def _connect_workspace(self) -> None:
        workspace = self.workspace
        workspace.cines_changed.connect(self._show_cines)
        workspace.visible_cine_changed.connect(self._show_cine)
        workspace.labels_changed.connect(self._show_labels)
        workspace.predictions_changed.connect(self._show_predictions)
        workspace.suggestion_changed.connect(self.suggestion.show)
        workspace.saved_changed.connect(self._show_saved)
        workspace.opening_changed.connect(self.status.show_opening)
        workspace.learner.progress.connect(lambda _: self.layers.fetch_doubt())

    # Workspace changes

    def _show_cine(self) -> None:
        self.cine.show()
        if self.workspace.visible_cine is None:
            self.progress.show_no_cine()
        self._show_labels()

    def _show_predictions(self) -> None:
        self.layers.show()
        self.cine.show_labels()

    def _show_labels(self) -> None:
        self._show_predictions()
        self._show_cines()
        self.suggestion.show()
        self.editing.update_actions()
        self.files.update_actions()

    def _show_cines(self) -> None:
        self.cine_list.show_cines(self.workspace.entries, self.workspace.selected)

    def _show_saved(self) -> None:
        self.status.show_saved(self.workspace.saving.pending)

    # Window events

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the dropped files."""
        self.canvas.finish_stroke()
        self.workspace.open_paths(local_paths(event.mimeData().urls()))

    def closeEvent(self, event: QCloseEvent) -> None:
        """Save everything and end the engine; ask first if an outline or edits would be lost."""
        self.canvas.finish_stroke()
        self.player_bar.player.pause()
        if self.canvas.unfinished_outline() is not None and not self._confirm_outline():
            event.ignore()
            return
        self.view_state.save()
        save_window(self, self.layers, self.results)
        self.workspace.saving.retry()
        if self.workspace.saving.pending and not self._confirm_unsaved():
            event.ignore()
            return
        self.dialogs.close_all()
        self.hide()  # hide at once: ending the engine may take a moment
        self.measurements.close()
        self.workspace.close()
        super().closeEvent(event)

    def _confirm_outline(self) -> bool:
        """Warn of an unfinished outline; closing again discards it."""
        if self._confirmed_outline:
            self.canvas.cancel_stroke()
            return True
        self._confirmed_outline = True
        QTimer.singleShot(CONFIRM_MS, self, lambda: setattr(self, "_confirmed_outline", False))
        self.banner.show_message(
            "An outline is not finished: press Enter to fill it, or close again to discard it.", Level.WARNING
        )
        return False

    def _confirm_unsaved(self) -> bool:
        """Warn of unsaved strokes; closing again discards them."""
        if self._confirmed_unsaved:
            return True
        self._confirmed_unsaved = True
        QTimer.singleShot(CONFIRM_MS, self, lambda: setattr(self, "_confirmed_unsaved", False))
        pending = self.workspace.saving.pending
        self.banner.show_message(
            f"{pending} stroke{'s are' if pending > 1 else ' is'} not saved. Save the project elsewhere "
            "first (Ctrl+Shift+S), or close again to discard them.",
            Level.ERROR,
            ("Save elsewhere", self.files.save_project_as),
        )
        return False
