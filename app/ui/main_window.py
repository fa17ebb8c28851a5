"""The window: picture in the middle, tools on the left, learning on the right, time below."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QDialog, QDockWidget, QMainWindow, QVBoxLayout, QWidget

from app import paths as places
from app.domain.errors import ProjectError
from app.encoders import registry
from app.ui.actions import ActionTable
from app.ui.banner import Banner
from app.ui.canvas import CineCanvas
from app.ui.cine_list import CineList
from app.ui.editing import Editing
from app.ui.encoders.dialog import EncodersDialog
from app.ui.file_dialogs import FileDialogs
from app.ui.keymap import load_keymap
from app.ui.layers import Layers
from app.ui.learning_panel import HAZE, LearningPanel, describe, describe_stopping
from app.ui.local_files import local_paths
from app.ui.menus import build_menus
from app.ui.navigation import Navigation
from app.ui.player_bar import PlayerBar
from app.ui.pretraining.dialog import PretrainingDialog
from app.ui.shortcut_sheet import ShortcutSheet
from app.ui.shown_cine import ShownCine
from app.ui.shown_suggestion import ShownSuggestion
from app.ui.status import StatusLine
from app.ui.tool_panel import ToolPanel
from app.ui.window_memory import WindowMemory
from app.workspace.notice import Level
from app.workspace.opened_cine import OpenedCine
from app.workspace.workspace import Workspace
from vjepa_core.errors import CoreError
from vjepa_core.service.messages import Progress, Ready

EMPTY = "Open a cine: Ctrl+O, or drop a file here"


class MainWindow(QMainWindow):
    """Shows a workspace and turns what the user does into calls on it.

    Its widgets know nothing of each other; what happens between them has a place of its own.

    Attributes
    ----------
    shown, layers, suggestion
        Bring the widgets up to date: the current cine, what lies over its picture, what to outline next.
    navigation, editing, files
        What the user does: goes elsewhere, changes frames, opens and saves.
    memory
        What is remembered from one time to the next.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.setWindowTitle("Apical: research use only")
        self.setAcceptDrops(True)
        self.resize(1360, 860)
        try:
            user_keys: Path | None = places.config_dir() / "keymap.json"
        except ProjectError:
            user_keys = None
        self.keymap = load_keymap(user_keys)

        self.banner = Banner()
        self.canvas = CineCanvas()
        self.canvas.set_empty_text(EMPTY)
        self.canvas.set_peek_keys(self.keymap.sequences("peek"))
        self.player_bar = PlayerBar()
        self.tools = ToolPanel(self.keymap)
        self.learning = LearningPanel()
        self.cine_list = CineList()
        self.status = StatusLine(self.statusBar())
        self._lay_out()

        self.shown, self.layers, self.suggestion = ShownCine(self), Layers(self), ShownSuggestion(self)
        self.navigation, self.editing, self.files = Navigation(self), Editing(self), FileDialogs(self)
        self.memory = WindowMemory(self)
        self._warned = self._warned_of_outline = False
        self.actions_by_id = ActionTable(self, self.keymap).actions
        self.actions_by_id["toggle_uncertainty"].setCheckable(True)
        self.learning.uncertainty.setToolTip(f"<qt>{self.keymap.hint('toggle_uncertainty')}. {HAZE}</qt>")
        build_menus(self.menuBar(), self.actions_by_id)
        self._connect()
        self.shown.show()
        self.memory.restore()
        if self.keymap.warning:
            self.banner.show_message(self.keymap.warning, Level.WARNING)

    @property
    def current(self) -> OpenedCine | None:
        """The cine on the table."""
        return self.workspace.current

    # Building

    def _lay_out(self) -> None:
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.player_bar)
        self.setCentralWidget(centre)
        self._dock("Tools", self.tools, Qt.DockWidgetArea.LeftDockWidgetArea)
        self._dock("Cines", self.cine_list, Qt.DockWidgetArea.LeftDockWidgetArea)
        self._dock("Learning", self.learning, Qt.DockWidgetArea.RightDockWidgetArea)

    def _dock(self, title: str, widget: QWidget, area: Qt.DockWidgetArea) -> None:
        dock = QDockWidget(title, self)
        dock.setObjectName(title)
        dock.setFeatures(QDockWidget.DockWidgetFeature.NoDockWidgetFeatures)
        widget.setFixedWidth(254)
        dock.setWidget(widget)
        self.addDockWidget(area, dock)

    def _connect(self) -> None:
        w = self.workspace
        w.cines_changed.connect(lambda: self.cine_list.show_cines(w.cines, w.current))
        w.current_changed.connect(self.shown.show)
        w.labels_changed.connect(self.shown.show_labels)
        w.predictions_changed.connect(self.shown.show_labels)
        w.suggestion_changed.connect(self.suggestion.show)
        w.learner.progress.connect(self._on_progress)
        w.learner.stopping.connect(self._on_stopping)
        w.learner.ready.connect(self._on_ready)
        w.saved_changed.connect(self._show_saved)
        w.opening_changed.connect(self.status.show_opening)
        w.message.connect(lambda text, level, action: self.banner.show_message(text, Level(level), action))
        w.retract.connect(self.banner.dismiss)

        c = self.canvas
        c.edited.connect(self.editing.commit)
        c.stroke_in_progress.connect(self.editing.stroke_begins)
        c.outline_waits.connect(self.editing.explain_waiting_outline)
        c.nothing_behind.connect(self.editing.turn_behind_off)
        c.frame_step.connect(self.navigation.step)
        c.annotated_step.connect(self.navigation.step_annotated)
        c.levels_changed.connect(lambda *_: self.memory.save_view_soon())
        c.hover.connect(self.status.show_hover)
        c.brush_radius_changed.connect(self.tools.show_radius)

        t = self.tools
        t.tool_chosen.connect(c.set_tool)
        t.class_chosen.connect(c.set_active_class)
        t.radius_chosen.connect(c.set_brush_radius)
        t.behind_changed.connect(c.set_behind)
        t.scribbles_changed.connect(c.set_scribbles)
        t.from_prediction_changed.connect(c.set_corrections)
        t.hidden_classes_changed.connect(c.set_hidden_classes)
        t.show_radius(c.brush_radius())

        self.learning.cancelled.connect(w.learner.cancel)
        self.learning.resumed.connect(w.learner.resume)
        self.learning.accept.pressed.connect(self.editing.note_what_is_seen)
        self.learning.accepted.connect(self.editing.accept_prediction)
        self.learning.islands_removed.connect(self.editing.remove_islands)
        self.learning.encoders_wanted.connect(self.show_encoders)
        hints = [self.keymap.hint(name) for name in ("suggested_frame", "suggested_cine")]
        self.learning.suggestion.setToolTip("\n".join(hints))
        self.learning.suggestion.frame_wanted.connect(self.navigation.go_to_suggested_frame)
        self.learning.suggestion.cine_wanted.connect(self.navigation.go_to_suggested_cine)
        self.learning.review.frame_wanted.connect(self.navigation.go_to)
        self.learning.uncertainty_wanted.connect(self.layers.show_uncertainty)
        self.player_bar.player.playing_changed.connect(lambda _: self.layers.show())
        self.player_bar.frame_wanted.connect(self.navigation.show_frame)
        self.player_bar.step_wanted.connect(self.navigation.step)
        self.cine_list.chosen.connect(self.navigation.choose)

    # Dialogs

    def show_shortcuts(self) -> None:
        """Show the sheet of keys."""
        _raise(self.findChild(ShortcutSheet) or ShortcutSheet(self.keymap, self))

    def show_pretraining(self) -> None:
        """Pre-train an encoder on the user's cines; the dialog stays open beside the work."""
        _raise(self.findChild(PretrainingDialog) or PretrainingDialog(self.workspace, self))

    def show_encoders(self) -> None:
        """Show all encoders, to choose, compare and import; the dialog stays open beside the work."""
        _raise(self.findChild(EncodersDialog) or EncodersDialog(self.workspace, self))

    def about(self) -> None:
        """Say what this is, and what it is not for."""
        self.banner.show_message(
            "Apical draws cardiac structures from a few outlined frames. Research use only: not a medical "
            "device, not for diagnosis. Everything stays on this machine.",
            Level.INFO,
        )

    # The engine

    def _on_progress(self, progress: Progress) -> None:
        cines = {opened.id: opened.cine.path.name for opened in self.workspace.cines}
        here = self.current is None or progress.cine_id == self.current.id
        other = "" if here else cines.get(progress.cine_id, "")
        self.learning.show_progress(progress, other)
        said = describe(progress)
        self.status.show_engine(f"{other}: {said}" if other else said)
        self.layers.fetch_doubts()

    def _on_stopping(self, progress: Progress) -> None:
        self.learning.show_stopping(progress)
        self.status.show_engine(describe_stopping(progress))

    def _on_ready(self, ready: Ready) -> None:
        try:
            card = registry.find(ready.encoder)
        except CoreError:
            card = None
        self.learning.show_encoder(ready, card)

    def _show_saved(self) -> None:
        self.status.show_saved(self.workspace.pending)

    # Window

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = local_paths(event.mimeData().urls())
        self.canvas.finish_stroke()
        self.workspace.open_paths(paths)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.canvas.finish_stroke()
        self.player_bar.player.pause()
        if self.canvas.unfinished_outline() is not None and not self._discard_outline():
            event.ignore()
            return
        self.memory.save()
        self.workspace.retry_saving()
        if self.workspace.pending and not self._leave_unsaved():
            event.ignore()
            return
        for kind in (PretrainingDialog, EncodersDialog):  # a run saves and ends by itself
            if dialog := self.findChild(kind):
                dialog.close()
        self.hide()  # gone at once: the engine may take a moment to end
        self.workspace.close()
        super().closeEvent(event)

    def _discard_outline(self) -> bool:
        """Warn of an unfinished outline; a second attempt to close within a minute discards it."""
        if self._warned_of_outline:
            self.canvas.cancel_stroke()
            return True
        self._warned_of_outline = True
        QTimer.singleShot(60_000, self, lambda: setattr(self, "_warned_of_outline", False))
        self.banner.show_message(
            "An outline is not finished: press Enter to fill it, or close again to discard it.", Level.WARNING
        )
        return False

    def _leave_unsaved(self) -> bool:
        """Strokes wait in memory: the first try to close says so, a second one within the minute goes."""
        if self._warned:
            return True
        self._warned = True
        QTimer.singleShot(60_000, self, lambda: setattr(self, "_warned", False))
        waiting = self.workspace.pending
        self.banner.show_message(
            f"{waiting} stroke{'s are' if waiting > 1 else ' is'} not saved. Save the project elsewhere "
            "first (Ctrl+Shift+S), or close again to give them up.",
            Level.ERROR,
            ("Save elsewhere", self.files.save_project_as),
        )
        return False


def _raise(dialog: QDialog) -> None:
    dialog.show()
    dialog.raise_()
    dialog.activateWindow()
