"""The window: picture in the middle, tools on the left, learning on the right, time below."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QByteArray, QSettings, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QDockWidget, QFileDialog, QMainWindow, QVBoxLayout, QWidget

from app import encoders
from app import paths as places
from app.domain.errors import CineError, ProjectError
from app.domain.history import StrokeKind
from app.ui.actions import ActionTable
from app.ui.banner import Banner, Level
from app.ui.canvas import CineCanvas
from app.ui.cine_list import CineList
from app.ui.encoders.dialog import EncodersDialog
from app.ui.keymap import load_keymap
from app.ui.learning_panel import HAZE, LearningPanel, describe
from app.ui.opened_cine import OpenedCine
from app.ui.player_bar import PlayerBar
from app.ui.pretraining.dialog import PretrainingDialog
from app.ui.shortcut_sheet import ShortcutSheet
from app.ui.status import StatusLine
from app.ui.suggestion_line import sentence_for
from app.ui.tool_panel import ToolPanel
from app.ui.tools import Edit
from app.ui.workspace import Workspace
from vjepa_core.errors import CoreError
from vjepa_core.messages import RESTING, Progress, Ready

VIEW_SAVE_MS = 800
EMPTY = "Open a cine: Ctrl+O, or drop a file here"
FILTER = "Cines (*.dcm *.dicom *.mp4 *.avi *.mkv *.gif *.nii *.nii.gz *.png *.jpg *.tif);;All files (*)"


STROKES: dict[str, StrokeKind] = {"brush": "brush", "eraser": "erase", "polygon": "polygon"}


def _settings() -> QSettings | None:
    """Where the window's place is kept: with all the rest, so that APICAL_HOME moves it too."""
    try:
        return QSettings(str(places.config_dir() / "window.ini"), QSettings.Format.IniFormat)
    except ProjectError:
        return None


@dataclass(frozen=True)
class FrameKey:
    """Which frame of which cine a stroke was drawn on."""

    opened: OpenedCine
    frame: int


class MainWindow(QMainWindow):
    """Shows a workspace and turns what the user does into calls on it."""

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

        self.actions_by_id = ActionTable(self, self.keymap).actions
        self.actions_by_id["toggle_uncertainty"].setCheckable(True)
        self.learning.uncertainty.setToolTip(f"<qt>{self.keymap.hint('toggle_uncertainty')}. {HAZE}</qt>")
        self._build_menus()
        self._connect()
        self._view_timer = QTimer(self)
        self._view_timer.setSingleShot(True)
        self._view_timer.setInterval(VIEW_SAVE_MS)
        self._view_timer.timeout.connect(self._save_view)
        self._masks_shown = True
        self._doubts_shown = False
        self._want_corrections = True
        self._scribbles = False
        self._corrects = False
        self._warned = False
        self._show_current()
        settings = _settings()
        geometry = None if settings is None else settings.value("geometry")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        if settings is not None and settings.value("uncertainty", False, bool):
            self.show_uncertainty(True)
        if self.keymap.warning:
            self.banner.show_message(self.keymap.warning, Level.WARNING)

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
        widget.setFixedWidth(236)
        dock.setWidget(widget)
        self.addDockWidget(area, dock)

    def _build_menus(self) -> None:
        table = self.actions_by_id
        for title, ids in (
            ("&File", ["open_files", "open_folder", "open_project", "-", "save_project_as", "-", "quit"]),
            ("&Edit", ["undo", "redo", "-", "accept_prediction", "clear_frame"]),
            (
                "&Frames",
                [
                    "play_pause",
                    "-",
                    "frame_prev",
                    "frame_next",
                    "annotated_prev",
                    "annotated_next",
                    "-",
                    "suggested_frame",
                    "suggested_cine",
                ],
            ),
            ("&View", ["toggle_masks", "toggle_uncertainty", "reset_view"]),
            ("&Learning", ["cancel_learning", "resume_learning", "-", "encoders", "pretrain"]),
            ("&Help", ["shortcuts", "about"]),
        ):
            menu = self.menuBar().addMenu(title)
            for name in ids:
                if name == "-":
                    menu.addSeparator()
                else:
                    menu.addAction(table[name])

    def _connect(self) -> None:
        w = self.workspace
        w.cines_changed.connect(lambda: self.cine_list.show_cines(w.cines, w.current))
        w.current_changed.connect(self._show_current)
        w.labels_changed.connect(self._show_labels)
        w.predictions_changed.connect(self._show_labels)
        w.suggestion_changed.connect(self._show_suggestion)
        w.learner.progress.connect(self._on_progress)
        w.learner.ready.connect(self._on_ready)
        w.saved_changed.connect(self._show_saved)
        w.opening_changed.connect(self.status.show_opening)
        w.message.connect(lambda text, level, action: self.banner.show_message(text, Level(level), action))
        w.retract.connect(self.banner.dismiss)

        c = self.canvas
        c.edited.connect(self._commit)
        c.stroke_in_progress.connect(self._hold_still)
        c.frame_step.connect(self.step)
        c.annotated_step.connect(self.step_annotated)
        c.levels_changed.connect(lambda *_: self._view_timer.start())
        c.hover.connect(self.status.show_hover)
        c.brush_radius_changed.connect(self.tools.show_radius)

        t = self.tools
        t.tool_chosen.connect(c.set_tool)
        t.class_chosen.connect(c.set_active_class)
        t.radius_chosen.connect(c.set_brush_radius)
        t.behind_changed.connect(c.set_behind)
        t.scribbles_changed.connect(self._set_scribbles)
        t.from_prediction_changed.connect(self._set_corrections)
        t.hidden_classes_changed.connect(c.set_hidden_classes)
        t.show_radius(c.brush_radius())

        self.learning.cancelled.connect(w.learner.cancel)
        self.learning.resumed.connect(w.learner.resume)
        self.learning.accepted.connect(self.accept_prediction)
        self.learning.encoders_wanted.connect(self.show_encoders)
        hints = [self.keymap.hint(name) for name in ("suggested_frame", "suggested_cine")]
        self.learning.suggestion.setToolTip("\n".join(hints))
        self.learning.suggestion.frame_wanted.connect(self.go_to_suggested_frame)
        self.learning.suggestion.cine_wanted.connect(self.go_to_suggested_cine)
        self.learning.uncertainty_wanted.connect(self.show_uncertainty)
        self.player_bar.frame_wanted.connect(self.show_frame)
        self.player_bar.step_wanted.connect(self.step)
        self.cine_list.chosen.connect(self.choose)

    # The current cine

    @property
    def current(self) -> OpenedCine | None:
        """The cine on the table."""
        return self.workspace.current

    def _show_current(self) -> None:
        opened = self.current
        self.canvas.finish_stroke()
        self.canvas.set_label_set(self.workspace.label_set)
        self.tools.set_label_set(self.workspace.label_set)
        self.canvas.set_active_class(self.tools.active_class())
        self.cine_list.show_cines(self.workspace.cines, opened)
        self.status.show_cine(None if opened is None else opened.cine)
        self.player_bar.set_cine(None if opened is None else opened.cine)
        if opened is None:
            self.canvas.set_frame(None)
            self.learning.show_nothing()
            self._show_suggestion()
            self.status.show_engine("no cine open")
            self._enable()
            return
        cine = opened.cine
        # The picture first: this frame was decoded when the file was opened or is decoded here, alone.
        self._show_picture(opened.frame)
        self.canvas.reset_view()
        view = self.workspace.view()
        state = view.get("canvas", {}).get(str(opened.id))
        if state:
            self.canvas.restore_view(state)
        order = sorted(range(cine.n_frames), key=lambda f: (f - opened.frame) % cine.n_frames)
        cine.source.prefetch(order, None)
        self.player_bar.watch_decoding(cine)
        self._show_labels()
        self._enable()
        self.canvas.setFocus()

    def show_frame(self, frame: int) -> None:
        """Go to a frame of the current cine."""
        opened = self.current
        if opened is None:
            return
        frame = min(max(frame, 0), opened.cine.n_frames - 1)
        self.canvas.finish_stroke()
        self.workspace.look(frame)
        self._show_picture(frame)
        self._show_overlay()
        self._say_suggestion()
        self._view_timer.start()

    def _show_picture(self, frame: int) -> None:
        opened = self.current
        if opened is None:
            return
        try:
            image = opened.cine.frame(frame)
        except CineError as error:
            image = np.zeros((opened.cine.height, opened.cine.width), np.uint8)
            self.banner.show_message(str(error), Level.ERROR)
        self.canvas.set_frame(image, key=FrameKey(opened, frame))
        self.player_bar.set_current(frame)

    def _show_labels(self) -> None:
        """Bring overlay, timeline and buttons up to date with annotations and predictions."""
        opened = self.current
        if opened is None:
            return
        self._show_overlay()
        self.player_bar.timeline.set_annotated(opened.recorder.annotated.annotated_frames)
        confidence = {f: p.confidence for f, p in opened.predictions.items()}
        self.player_bar.timeline.set_predictions(confidence, opened.stale)
        self.cine_list.show_cines(self.workspace.cines, opened)
        self._show_suggestion()
        self._enable()

    def _show_overlay(self) -> None:
        opened = self.current
        if opened is None:
            return
        frame = opened.frame
        shown = opened.shown_prediction(frame)
        self.canvas.set_labels(opened.recorder.annotated.label(frame), shown)
        if not self.canvas.is_stroke_in_progress():
            wanted = self._want_corrections and not self._scribbles
            self._corrects = wanted and opened.can_correct(frame)
            self.canvas.set_start_from_prediction(self._corrects)
        self.canvas.set_doubt(opened.doubt(frame) if self._doubts_shown else None)
        prediction = opened.predictions.get(frame)
        can_accept = shown is not None and bool(shown.any())
        if prediction is None:
            text = "no prediction on this frame yet"
        elif not can_accept and opened.recorder.annotated.label(frame) is not None:
            text = "this frame is drawn by hand"  # of what is not shown, confidence says nothing
        else:
            stale = ", before your last stroke" if frame in opened.stale else ""
            draft = not opened.recorder.annotated.annotated_frames
            whose = "draft, not learnt from this cine: check it; " if draft else ""
            text = f"{whose}expected Dice here {prediction.confidence:.2f}{stale}"
        self.learning.show_confidence(text, can_accept)
        self.actions_by_id["accept_prediction"].setEnabled(can_accept)

    @property
    def _suggested(self) -> tuple[int | None, OpenedCine | None]:
        """The frame and the cine to outline next."""
        opened, suggestions = self.current, self.workspace.suggestions
        if opened is None:
            return None, None
        return suggestions.frame(opened), suggestions.cine(opened, self.workspace.cines)

    def _show_suggestion(self) -> None:
        """Bring marks, sentence and actions up to date with what is worth outlining next."""
        frame, cine = self._suggested
        self.player_bar.timeline.set_suggested(frame)
        self.cine_list.set_suggested(cine)
        self.actions_by_id["suggested_frame"].setEnabled(frame is not None)
        self.actions_by_id["suggested_cine"].setEnabled(cine is not None)
        self._say_suggestion()

    def _say_suggestion(self) -> None:
        opened = self.current
        if opened is None or not self.workspace.suggestions.holds(opened):
            self.learning.suggestion.say("")
            return
        frame, cine = self._suggested
        name = None if cine is None else cine.cine.path.name
        outlined = bool(opened.recorder.annotated.annotated_frames)
        self.learning.suggestion.say(sentence_for(frame, opened.frame, name, outlined=outlined))

    def _enable(self) -> None:
        opened = self.current
        annotated = None if opened is None else opened.recorder.annotated
        table = self.actions_by_id
        table["undo"].setEnabled(annotated is not None and annotated.can_undo)
        table["redo"].setEnabled(annotated is not None and annotated.can_redo)
        table["save_project_as"].setEnabled(self.workspace.project is not None)

    # What the user does

    def _hold_still(self, drawing: bool) -> None:
        """Nobody can draw on a moving picture."""
        if drawing:
            self.player_bar.player.pause()
            self._show_masks(True)  # nor draw or accept what cannot be seen

    def _commit(self, edit: Edit) -> None:
        key: FrameKey = edit.key  # type: ignore[assignment]
        commit = self.workspace.correct if self._corrects else self.workspace.draw
        commit(key.opened, key.frame, edit.after, STROKES[edit.kind])

    def step(self, by: int) -> None:
        """Some frames on or back; at the ends a loop goes round."""
        if self.current is not None:
            n = self.current.cine.n_frames
            frame = self.current.frame + by
            if self.player_bar.player.loop() and abs(by) == 1:
                frame %= n
            self.player_bar.player.pause()
            self.show_frame(frame)

    def step_annotated(self, by: int) -> None:
        """To the next or previous annotated frame."""
        if self.current is None:
            return
        here = self.current.frame
        annotated = self.current.recorder.annotated.annotated_frames
        wanted = [f for f in annotated if (f > here if by > 0 else f < here)]
        if wanted:
            self.player_bar.player.pause()
            self.show_frame(wanted[0] if by > 0 else wanted[-1])

    def go_to_suggested_frame(self) -> None:
        """To the frame worth outlining next, where there is one."""
        frame, _ = self._suggested
        if frame is not None:
            self.player_bar.player.pause()
            self.show_frame(frame)

    def go_to_suggested_cine(self) -> None:
        """To the cine worth outlining next, where there is one."""
        _, cine = self._suggested
        if cine is not None:
            self.choose(cine)

    def choose(self, opened: OpenedCine) -> None:
        """Put another cine on the table; the zoom of the one that goes is kept."""
        self.canvas.finish_stroke()
        self._save_view()
        self.workspace.show(opened)

    def step_cine(self, by: int) -> None:
        """To the next or previous cine of the list."""
        cines = self.workspace.cines
        if self.current is not None and len(cines) > 1:
            self.choose(cines[(cines.index(self.current) + by) % len(cines)])

    def undo(self) -> None:
        """Take back the newest stroke and go to its frame."""
        self._history(self.workspace.undo)

    def redo(self) -> None:
        """Draw the stroke again and go to its frame."""
        self._history(self.workspace.redo)

    def _history(self, step: Any) -> None:
        self.canvas.finish_stroke()
        frame = step()
        if frame is not None:
            self.player_bar.player.pause()
            self.show_frame(frame)

    def accept_prediction(self) -> None:
        """Make the prediction on this frame an annotation."""
        if self.current is not None:
            self.canvas.finish_stroke()
            self._show_masks(True)
            self.workspace.accept(self.current.frame)

    def clear_frame(self) -> None:
        """Take everything drawn off this frame."""
        if self.current is not None:
            self.canvas.cancel_stroke()
            self.workspace.clear(self.current.frame)

    def _set_corrections(self, on: bool) -> None:
        self._want_corrections = on
        self._show_overlay()

    def _set_scribbles(self, on: bool) -> None:
        self._scribbles = on
        self.canvas.set_scribbles(on)
        self._show_overlay()

    def toggle_masks(self) -> None:
        """Show or hide both layers; the status line says so while they are hidden."""
        self._show_masks(not self._masks_shown)

    def toggle_uncertainty(self) -> None:
        """Show or hide where the prediction may be wrong."""
        self.show_uncertainty(not self._doubts_shown)

    def show_uncertainty(self, shown: bool) -> None:
        """Show where the prediction may be wrong, or not; remembered."""
        self._doubts_shown = shown
        self.actions_by_id["toggle_uncertainty"].setChecked(shown)
        self.learning.show_uncertainty(shown)
        self._show_overlay()
        self._fetch_doubts()

    def _fetch_doubts(self) -> None:
        """No project keeps doubts: those about a cine that is opened again are worked out when wanted."""
        progress = self.workspace.learner.last_progress
        if self._doubts_shown and self.current is not None and progress and progress.stage in RESTING:
            self.workspace.learner.redraw(self.current)

    def _show_masks(self, shown: bool) -> None:
        self._masks_shown = shown
        self.canvas.set_layers_visible(shown, shown)
        keys = ", ".join(self.keymap["toggle_masks"].keys)
        self.status.show_hidden("" if shown else f"masks hidden ({keys})" if keys else "masks hidden")

    def _folder(self) -> str:
        """Where one looks for cines first: beside the one on the table."""
        return "" if self.current is None else str(self.current.cine.path.parent)

    def open_files(self) -> None:
        """Ask for cines."""
        names, _ = QFileDialog.getOpenFileNames(self, "Open cines", self._folder(), FILTER)
        self.workspace.open_paths([Path(name) for name in names])

    def open_folder(self) -> None:
        """Ask for a folder of cines."""
        name = QFileDialog.getExistingDirectory(self, "Open a folder of cines", self._folder())
        if name:
            self.workspace.open_paths([Path(name)])

    def open_project(self) -> None:
        """Ask for a project."""
        name, _ = QFileDialog.getOpenFileName(self, "Open a project", "", "Apical projects (*.apical)")
        if name:
            self.canvas.finish_stroke()
            self.workspace.open_project(Path(name))

    def save_project_as(self) -> None:
        """Ask where the project shall go on."""
        dialog = QFileDialog(self, "Save the project as", "", "Apical projects (*.apical)")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        # The dialog asks before it overwrites: it must know the whole name, not the one without its end.
        dialog.setDefaultSuffix("apical")
        if dialog.exec():
            self.canvas.finish_stroke()
            self.workspace.save_as(Path(dialog.selectedFiles()[0]))
        dialog.deleteLater()

    def show_shortcuts(self) -> None:
        """Show the sheet of keys."""
        sheet = self.findChild(ShortcutSheet) or ShortcutSheet(self.keymap, self)
        sheet.show()
        sheet.raise_()
        sheet.activateWindow()

    def show_pretraining(self) -> None:
        """Pre-train an encoder on the user's cines; the dialog stays open beside the work."""
        dialog = self.findChild(PretrainingDialog) or PretrainingDialog(self.workspace, self)
        dialog.show()
        dialog.raise_()
        dialog.activateWindow()

    def show_encoders(self) -> None:
        """Show all encoders, to choose, compare and import; the dialog stays open beside the work."""
        dialog = self.findChild(EncodersDialog) or EncodersDialog(self.workspace, self)
        dialog.show()
        dialog.raise_()
        dialog.activateWindow()

    def about(self) -> None:
        """Say what this is, and what it is not for."""
        self.banner.show_message(
            "Apical draws cardiac structures from a few outlined frames. Research use only: not a medical "
            "device, not for diagnosis. Everything stays on this machine.",
            Level.INFO,
        )

    # The engine

    def _on_progress(self, progress: Progress) -> None:
        self.learning.show_progress(progress)
        self.status.show_engine(describe(progress))
        self._fetch_doubts()

    def _on_ready(self, ready: Ready) -> None:
        try:
            card = encoders.find(ready.encoder)
        except CoreError:
            card = None
        self.learning.show_encoder(ready, card)

    def _show_saved(self) -> None:
        self.status.show_saved(self.workspace.pending)

    # Window

    def _save_view(self) -> None:
        opened = self.current
        if opened is None or self.workspace.project is None:
            return
        view = self.workspace.view()
        kept = {**view.get("canvas", {}), str(opened.id): self.canvas.view_state()}
        self.workspace.save_view({**view, "canvas": kept})

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        self.canvas.finish_stroke()
        self.workspace.open_paths(paths)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.canvas.finish_stroke()
        self.player_bar.player.pause()
        self._save_view()
        settings = _settings()
        if settings is not None:
            settings.setValue("geometry", self.saveGeometry())
            settings.setValue("uncertainty", self._doubts_shown)
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
            ("Save elsewhere", self.save_project_as),
        )
        return False
