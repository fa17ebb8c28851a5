"""The program, drawing simulated strokes until it is killed; started by test_kill.py."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtWidgets import QApplication

from app.ui.application import application
from app.ui.main_window import MainWindow
from app.ui.qt_dispatcher import QtDispatcher
from app.workspace.workspace import Workspace
from tests.ui.user_input import UserInput

STROKES_PER_FRAME = 3


def draw_stroke(user: UserInput, number: int) -> None:
    """Draw a stroke whose position, frame and structure depend on its number."""
    x, y = 60 + 11 * (number % 17), 50 + 13 * (number % 11)
    user.keys(str(1 + number % 3))
    user.drag([(x, y), (x + 12, y + 4), (x + 20, y)])
    if number % STROKES_PER_FRAME == STROKES_PER_FRAME - 1:
        user.keys("Right")


def main(path: Path) -> None:
    application()
    workspace = Workspace(QtDispatcher())
    window = MainWindow(workspace)
    window.show()
    workspace.open_paths([path])
    while window.visible_cine is None:
        QApplication.processEvents()
    user = UserInput(window)
    user.keys("B")
    for number in range(100_000):
        draw_stroke(user, number)
        # Printed once the stroke is visible.
        sys.stdout.write(f"{number + 1}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
