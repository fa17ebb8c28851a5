"""Open the window on cines, a folder of them or a project."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands import system_libraries
from app.commands.report import Report
from app.domain.errors import ApicalError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the paths to open."""
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="cine, folder of cines, or project"
    )


def run(args: argparse.Namespace) -> Report:
    """Show the window until it is closed."""
    return open_window(args.paths)


def open_window(paths: list[Path], *, demo: bool = False, screenshot: Path | None = None) -> Report:
    """Run the window.

    Parameters
    ----------
    paths : list of Path
        Cines, folders of cines, or a project.
    demo : bool
        Open the demo cine.
    screenshot : Path, optional
        Render the window to this file without a display.

    Returns
    -------
    Report

    Raises
    ------
    ApicalError
        There is no display, or the system lacks a library: Qt itself would abort the process.
    """
    if screenshot is None and (problem := system_libraries.display_problem()):
        raise ApicalError(problem)
    kind = system_libraries.OFFSCREEN if screenshot else system_libraries.window_kind()
    absent = [need for need in system_libraries.missing(kind) if ".so" in need.what]
    if absent:
        command = system_libraries.install_command(absent) or "your package manager"
        names = ", ".join(need.what for need in absent)
        raise ApicalError(
            f"This system lacks libraries of the window ({names}); install them with: {command}"
        )
    try:
        from app.ui.application import run as run_application
    except ImportError as error:
        if (error.name or "PySide6").partition(".")[0] not in {"PySide6", "shiboken6", "pyqtgraph"}:
            raise
        raise ApicalError(
            f"The library of the window does not load ({error}); run `apical doctor`, "
            "or install Apical again."
        ) from error
    return Report(code=run_application(paths, demo=demo, screenshot=screenshot))
