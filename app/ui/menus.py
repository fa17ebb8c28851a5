"""Menu bar of the main window."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QMenuBar

SEPARATOR = "-"
MENUS: Mapping[str, tuple[str, ...]] = {
    "&File": ("open_files", "open_folder", "open_project", SEPARATOR, "save_project_as", SEPARATOR, "quit"),
    "&Edit": ("undo", "redo", SEPARATOR, "accept_prediction", "clear_frame", "mark_empty", "remove_islands"),
    "&Frames": (
        "play_pause",
        SEPARATOR,
        "frame_prev",
        "frame_next",
        "annotated_prev",
        "annotated_next",
        SEPARATOR,
        "suggested_frame",
        "suggested_cine",
    ),
    "&View": ("toggle_masks", "toggle_uncertainty", "reset_view"),
    "&Measure": (
        "mark_ed",
        "mark_es",
        "remove_mark",
        SEPARATOR,
        "reset_landmarks",
        "calibrate",
        SEPARATOR,
        "copy_measurements",
    ),
    "&Learning": ("cancel_learning", "resume_learning", SEPARATOR, "encoders", "pretrain"),
    "&Help": ("shortcuts", "about"),
}


def build_menus(bar: QMenuBar, actions: Mapping[str, QAction]) -> dict[str, QMenu]:
    """Add the menus to a menu bar, and return them by title without '&'."""
    menus: dict[str, QMenu] = {}
    for title, ids in MENUS.items():
        menu = menus[title.replace("&", "")] = bar.addMenu(title)
        for name in ids:
            if name == SEPARATOR:
                menu.addSeparator()
            else:
                menu.addAction(actions[name])
    return menus
