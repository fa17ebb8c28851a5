"""Every action of the key map as a QAction of the window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction

from app.ui import theme
from app.ui.keymap import Keymap
from vjepa_core.resources import resource_path

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow


class ActionTable:
    """Makes the actions, gives them their keys and ties them to the window."""

    def __init__(self, window: MainWindow, keymap: Keymap) -> None:
        self.actions: dict[str, QAction] = {}
        calls = self._calls(window)
        for entry in keymap:
            if entry.id not in calls:
                continue
            action = QAction(entry.text, window)
            action.setObjectName(entry.id)
            action.setShortcuts(keymap.sequences(entry.id))
            action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
            if resource_path("icons", f"{entry.id}.svg").exists():
                action.setIcon(theme.icon(entry.id))
            action.triggered.connect(partial(_run, calls[entry.id]))
            window.addAction(action)
            self.actions[entry.id] = action

    @staticmethod
    def _calls(w: MainWindow) -> dict[str, Callable[[], object]]:
        tools, player = w.tools, w.player_bar.player
        calls: dict[str, Callable[[], object]] = {
            "open_files": w.files.open_files,
            "open_folder": w.files.open_folder,
            "open_project": w.files.open_project,
            "save_project_as": w.files.save_project_as,
            "quit": w.close,
            "undo": w.editing.undo,
            "redo": w.editing.redo,
            "accept_prediction": w.editing.accept_prediction,
            "clear_frame": w.editing.clear_frame,
            "mark_empty": w.editing.mark_empty,
            "remove_islands": w.editing.remove_islands,
            "frame_prev": partial(w.navigation.step, -1),
            "frame_next": partial(w.navigation.step, 1),
            "frame_prev_10": partial(w.navigation.step, -10),
            "frame_next_10": partial(w.navigation.step, 10),
            "annotated_prev": partial(w.navigation.step_annotated, -1),
            "annotated_next": partial(w.navigation.step_annotated, 1),
            "suggested_frame": w.navigation.go_to_suggested_frame,
            "suggested_cine": w.navigation.go_to_suggested_cine,
            "frame_first": lambda: w.player_bar.frame_wanted.emit(0),
            "frame_last": lambda: w.player_bar.frame_wanted.emit(1 << 30),
            "play_pause": player.toggle,
            "cine_prev": partial(w.navigation.step_cine, -1),
            "cine_next": partial(w.navigation.step_cine, 1),
            "brush_smaller": partial(w.canvas.step_brush_radius, -1),
            "brush_larger": partial(w.canvas.step_brush_radius, 1),
            "draw_behind": tools.toggle_behind,
            "toggle_masks": w.layers.toggle_masks,
            "toggle_uncertainty": w.layers.toggle_uncertainty,
            "reset_view": w.canvas.reset_view,
            "cancel_learning": w.workspace.learner.cancel,
            "resume_learning": w.workspace.learner.resume,
            "encoders": w.show_encoders,
            "pretrain": w.show_pretraining,
            "shortcuts": w.show_shortcuts,
            "about": w.about,
        }
        for tool in ("brush", "eraser", "polygon", "pan"):
            calls[f"tool_{tool}"] = partial(tools.choose_tool, tool)
        for place in range(1, 10):
            calls[f"class_{place}"] = partial(tools.choose_class_at, place)
        return calls


def _run(call: Callable[[], object], _checked: bool = False) -> None:
    call()
