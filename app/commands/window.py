"""Open the window on cines, a folder of them or a project."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands import system_libraries
from app.commands.report import Report
from app.domain.errors import ApicalError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Paths to open."""
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="cine, folder of cines, or project"
    )


def run(args: argparse.Namespace) -> Report:
    """Show the window until it is closed."""
    return open_window(args.paths)


def open_window(paths: list[Path], *, demo: bool = False, screenshot: Path | None = None) -> Report:
    """Run the window, or say in one sentence why there can be none.

    Raises
    ------
    ApicalError
        No display, or the system lacks a library: Qt itself would end the process.
    """
    if screenshot is None and (problem := system_libraries.display_problem()):
        raise ApicalError(problem)
    kind = system_libraries.OFFSCREEN if screenshot else system_libraries.window_kind()
    absent = [need for need in system_libraries.missing(kind) if ".so" in need.what]
    if absent:
        command = system_libraries.install_command(absent) or "your package manager"
        names = ", ".join(need.what for need in absent)
        raise ApicalError(f"The window needs what this system lacks ({names}); get it with: {command}")
    try:
        from app.ui.application import run as run_application
    except ImportError as error:
        if (error.name or "PySide6").partition(".")[0] not in {"PySide6", "shiboken6", "pyqtgraph"}:
            raise
        raise ApicalError(
            f"The window's library does not load ({error}); run `apical doctor`, or install Apical again."
        ) from error
    return Report(code=run_application(paths, demo=demo, screenshot=screenshot))
