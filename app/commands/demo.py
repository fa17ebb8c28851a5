"""Open the window on the demo cine with starter labels."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from app.commands.report import Report
from app.commands.window import open_window
from app.domain.errors import ApicalError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--screenshot`."""
    parser.add_argument(
        "--screenshot",
        type=Path,
        metavar="FILE.png",
        help="render the finished preview without a display, save it as an image and exit",
    )


def run(args: argparse.Namespace) -> Report:
    """Show the demo, or save its image."""
    screenshot: Path | None = args.screenshot
    if screenshot is None:
        return open_window([], demo=True)
    if screenshot.suffix.lower() != ".png":
        raise ApicalError(f"{screenshot.name} must end in .png; images are written as PNG.")
    folder = screenshot.absolute().parent
    if screenshot.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ApicalError(f"{screenshot} cannot be written; choose a file in a writable folder.")
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    return open_window([], demo=True, screenshot=screenshot)
