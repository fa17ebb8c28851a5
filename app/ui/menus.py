"""Which actions the menus hold, and in which order."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenuBar

LINE = "-"
MENUS: Mapping[str, tuple[str, ...]] = {
    "&File": ("open_files", "open_folder", "open_project", LINE, "save_project_as", LINE, "quit"),
    "&Edit": ("undo", "redo", LINE, "accept_prediction", "clear_frame", "mark_empty", "remove_islands"),
    "&Frames": (
        "play_pause",
        LINE,
        "frame_prev",
        "frame_next",
        "annotated_prev",
        "annotated_next",
        LINE,
        "suggested_frame",
        "suggested_cine",
    ),
    "&View": ("toggle_masks", "toggle_uncertainty", "reset_view"),
    "&Learning": ("cancel_learning", "resume_learning", LINE, "encoders", "pretrain"),
    "&Help": ("shortcuts", "about"),
}


def build_menus(bar: QMenuBar, actions: Mapping[str, QAction]) -> None:
    """Fill a window's menu bar."""
    for title, ids in MENUS.items():
        menu = bar.addMenu(title)
        for name in ids:
            if name == LINE:
                menu.addSeparator()
            else:
                menu.addAction(actions[name])
